"""Reading the files in a process of its own, so that a daemon that watches over thousands of homes goes on meanwhile.

``start`` begins it. The child checks everything, keeps what is right in the folder of the last good configuration
(without making it the current one), and says in one line of JSON what has come of it: nobody but the parent can write
into that pipe, and no name or number passes through it.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensor_guard.config.last_good import FilesChangingError, Hashes, LastGood, hashes_of
from sensor_guard.config.whole import Config, load
from sensor_guard.errors import ConfigError, Problem

TRIES = 3
"""So often the files are read again when somebody is just writing them."""

# The path goes by argument: a `-m` would put the working folder in front of it, where anybody may have put anything.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from sensor_guard.config.child import main; main(sys.argv[2], sys.argv[3])"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What has come of it: the name of the kept folder, or problems, or a failure that is not the files' fault."""

    kept: str = ""
    problems: tuple[Problem, ...] = ()
    failure: str = ""


def start(config: Path, last_good: Path) -> subprocess.Popen[bytes]:
    """Begin to read; see ``answer_of``."""
    arguments = [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path), str(config), str(last_good)]
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)  # noqa: S603 - our own


def answer_of(said: bytes, code: int) -> Answer:
    """Make an answer of what a child has said, and of its exit code."""
    if code != 0:
        return Answer(failure=f"the process that reads the files ended with {code}")
    try:
        # Any: JSON of our own child.
        row: dict[str, Any] = json.loads(said)
        problems = tuple(Problem(*problem) for problem in row["problems"])
        return Answer(row["kept"], problems, row["failure"])
    except (ValueError, LookupError, TypeError) as error:
        return Answer(failure=f"the process that reads the files said nothing of use ({error})")


def read(config: Path, last_good: Path) -> Answer:
    """Check the files and keep what is right."""
    folder = LastGood(last_good)
    answer = Answer(failure="the files are being written; try again when that is done")
    for _ in range(TRIES):
        hashes = hashes_of(config)
        current = folder.current()
        if current is not None and current.is_of(config) and current.has(hashes):
            return Answer(current.name)
        try:
            loaded = load(config)
        except ConfigError as error:
            return Answer(problems=tuple(error.problems))
        if hashes is not None:
            answer = keep(last_good, loaded, hashes)
            if answer.kept:
                break
    return answer


def keep(last_good: Path, config: Config, hashes: Hashes) -> Answer:
    """Keep the files of a configuration that is right."""
    try:
        return Answer(LastGood(last_good).store(config, hashes).name)
    except FilesChangingError as error:
        return Answer(failure=f"{error} is being written; try again when that is done")
    except OSError as error:
        return Answer(failure=f"{last_good}: {error.strerror or error}: the files are right, and cannot be kept")


def main(config: str, last_good: str) -> None:
    """Be the child: one that comes after everything else on this machine."""
    os.nice(5)
    answer = read(Path(config), Path(last_good))
    problems = [[p.file, p.line, p.column, p.where, p.message] for p in answer.problems]
    row = {"kept": answer.kept, "problems": problems, "failure": answer.failure}
    sys.stdout.write(json.dumps(row))
