"""The daemon as a process of its own on a disk that takes nothing: ``python start_on_a_full_disk.py SCENE FOLDER``.

The folder is a small tmpfs. ``used``: a daemon has run there before; then another program fills it, or it is mounted
read-only, or (``file``) a file lies where the daemon wants a folder. What the daemon says is printed, and its exit
code in the last line.
"""

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cli.conftest import FILES
from tests.core.full_disk import fill

RUN = "from sensor_guard.cli.main import app; app()"
CRY = {"tst": "2026-03-01T00:00:00Z", "topic": "guard/s1/h1/panic", "qos": 1, "retain": 0, "payload": {"panic": 1}}


def start(config: Path, *, until: tuple[str, ...], says: dict | None = None) -> None:
    """Run the daemon until it says all of ``until`` in a line, or ends by itself."""
    command = [sys.executable, "-c", RUN, "run", "--config", str(config), "--messages", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as daemon:
        for line in daemon.stdout:
            sys.stdout.write(line)
            if says and "service.started" in line:
                daemon.stdin.write(json.dumps(says) + "\n")
                daemon.stdin.flush()
            if all(word in line for word in until):
                daemon.send_signal(signal.SIGTERM)
    sys.stdout.write(f"exit code {daemon.returncode}\n")


def main(scene: str, folder: Path) -> None:
    """Prepare the disk, and start."""
    with tempfile.TemporaryDirectory() as files:
        for name, content in FILES.items():
            path = Path(files, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(content.replace("{path: journal.db}", f"{{path: {folder}/journal.db}}"), encoding="utf-8")
            path.chmod(0o640)
        config = Path(files, "config.yaml")
        if "used" in scene:
            start(config, until=("alarm.raised", "disk_full"))
            sys.stdout.write("--- again\n")
        if "full" in scene:
            fill(folder)
            for size in (256, 1):  # to the last byte
                while True:
                    try:
                        with (folder / "stranger").open("ab", buffering=0) as file:
                            file.write(b"x" * size)
                    except OSError:
                        break
        elif "file" in scene:
            Path(files, "run").write_text("", encoding="utf-8")
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        start(config, until=("notification.delivered", "h1.panic"), says=CRY)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
