"""The configuration of every world: real files, read by the real reader."""

import os
import tempfile
from functools import cache
from pathlib import Path

from sensor_guard.config import Config, load, shipped_rules_directory
from tests.fakes.twilio import ACCOUNT_SID, SENDER
from tests.sim.residents import homes_csv

_CONFIG = """gateway: box1
timezone: Asia/Shanghai
homes: homes.csv
contacts: contacts.yaml
rules: {rules}
journal: {{path: {folder}/journal.db}}
sinks: {{influxdb: {{url: "http://127.0.0.1:8086", org: o, bucket: b}}}}
notifiers: {{order: [{order}], console: {{}}, twilio: {{account_sid: "{account}", from: "{sender}"}}}}
ladders:
  urgent: {{steps: [{{to: [worker, family], after: 0m}}, {{to: [supervisor], after: 3m}}], repeat_every: 6h,
            remind_unclosed: 4h}}
  welfare: {{steps: [{{to: [worker], after: 0m}}, {{to: [family], after: 15m}}, {{to: [supervisor], after: 45m}}],
             repeat_every: 12h, remind_unclosed: 12h}}
  technical: {{steps: [{{to: [maintainer], after: 0m}}], repeat_every: 24h, remind_unclosed: 7d}}
"""
_CONTACTS = """contacts:
  - {id: wang, name: 王芳, phone: "+8613800000001", role: worker}
  - {id: li, name: 李明, phone: "+8613800000002", role: family, covers: ["home:h1", "home:h2", "home:h3"]}
  - {id: zhao, name: 赵敏, phone: "+8613800000003", role: supervisor, language: en}
  - {id: sun, name: 孙工, phone: "+8613800000004", role: maintainer}
"""


def memory() -> Path | None:
    """Where worlds are written and forgotten: in memory, where the system has any; None: where others are."""
    place = Path("/dev/shm")
    return place if os.access(place, os.W_OK) else None


WITHIN: list[Path] = []
"""A folder that somebody else removes, for a process that is ended without a goodbye."""


@cache
def folder() -> Path:
    """A folder for this process."""
    return Path(tempfile.mkdtemp(prefix="sim-", dir=WITHIN[0] if WITHIN else memory()))


@cache
def config(order: str = "twilio") -> Config:
    """Read the files once a process. ``order``: of the channels."""
    where = folder()
    (where / "config.yaml").write_text(
        _CONFIG.format(rules=shipped_rules_directory(), folder=where, account=ACCOUNT_SID, sender=SENDER, order=order),
        encoding="utf-8",
    )
    (where / "homes.csv").write_text(homes_csv(), encoding="utf-8")
    contacts = where / "contacts.yaml"
    contacts.write_text(_CONTACTS, encoding="utf-8")
    contacts.chmod(0o640)
    return load(where / "config.yaml")
