"""A small configuration that is right, to be made wrong."""

from pathlib import Path

import pytest

from sensor_guard.config import Config, load
from sensor_guard.errors import ConfigError

RIGHT = {
    "config.yaml": """gateway: box1
timezone: Asia/Shanghai
homes: homes.csv
contacts: contacts.yaml
rules: rules/
notifiers: {order: [console], console: {}}
ladders:
  welfare: {steps: [{to: [worker], after: 0m}]}
  technical: {steps: [{to: [maintainer], after: 0m}]}
""",
    "homes.csv": """site,building,home,label,kind,sensor,topic,convention,expect_every,meter,interval
s1,b1,h1,3-301,power,p1,,,,,
""",
    "contacts.yaml": """contacts:
  - {id: wang, name: 王芳, phone: "+8613800000001", role: worker}
  - {id: sun, name: 孙工, phone: "+8613800000002", role: maintainer}
""",
    "rules/r.yaml": """rules:
  - id: low
    name: {en: Low}
    when: {kind: power, below: 5 W, for: 12h}
    severity: warning
    ladder: welfare
    message: {zh: "{home} 低", en: "{home} low"}
tests:
  - name: half a day
    rule: low
    given: [{at: "0h", power_w: 3, every: 5m, until: "13h"}]
    then: [{at: "12h", alarms: [active]}]
""",
}


class Folder:
    """The files of a configuration, in the working folder of the test."""

    def write(self, name: str, content: str | bytes) -> "Folder":
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o640)
        return self

    def edit(self, name: str, old: str, new: str) -> "Folder":
        text = Path(name).read_text(encoding="utf-8")
        assert old in text
        return self.write(name, text.replace(old, new, 1))

    def load(self) -> Config:
        return load(Path("config.yaml"))

    def problems(self) -> list[str]:
        try:
            self.load()
        except ConfigError as error:
            return [str(problem) for problem in error.problems]
        return []

    def warnings(self) -> list[str]:
        return [str(warning) for warning in self.load().warnings]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    files = Folder()
    for name, content in RIGHT.items():
        files.write(name, content)
    return files
