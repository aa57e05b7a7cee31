"""Recordings: our readings as CSV or JSON Lines, and captures of a broker by `mosquitto_sub -F %j`; gzipped or not.

A row that cannot be read is told with file, line, value and the way out, counted, and passed over.
"""

import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

from sensor_guard.clock import parse_at
from sensor_guard.errors import Problem, SensorGuardError
from sensor_guard.model import ID_PATTERN, RANGES, Instant, Message, Reading

COLUMNS = ("at", "home_id", "sensor_id", "quantity", "value")
_ID = re.compile(ID_PATTERN)
KEEP_PROBLEMS = 20
"""Bad rows that are told one by one; the rest is counted."""


class RecordingError(SensorGuardError):
    """A file that is no recording at all; the message says what one looks like."""


@dataclass(slots=True)
class Tally:
    """What was read. ``problems``: the first bad rows; ``bad_count``: all of them; ``bytes_read``: for progress."""

    rows: int = 0
    bad_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    bytes_read: Callable[[], int] = lambda: 0

    def reject(self, file: Path, line: int, where: str, why: str) -> None:
        """Count a bad row, and keep it if it is among the first."""
        self.bad_count += 1
        if len(self.problems) < KEEP_PROBLEMS:
            self.problems.append(Problem(str(file), line, 1, where, why))


def read_recording(
    path: Path, tally: Tally, decode: Callable[[Message], list[Reading]] | None = None
) -> Iterator[Reading]:
    """Give the readings of a file in its order; ``received_at`` is the latest time seen so far in the file.

    Args:
        path: .csv, .jsonl (or .json, .ndjson), each also .gz; what is in it decides, not the name.
        tally: filled while reading.
        decode: reads the messages of a capture; a capture without it is refused.

    Raises:
        RecordingError: the file cannot be opened, or is none of the known forms.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror})") from error
    with raw:
        tally.bytes_read = raw.tell
        head = raw.read(2)
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if head == b"\x1f\x8b" else raw
        text = io.TextIOWrapper(cast("io.BufferedReader", stream), encoding="utf-8-sig", newline="", errors="replace")
        try:
            first = text.readline()
            if first.lstrip().startswith("{"):
                yield from _json_lines(path, first, text, tally, decode)
            else:
                yield from _csv(path, first, text, tally)
        except (gzip.BadGzipFile, EOFError) as error:
            raise RecordingError(f"{path}: the gzip file is damaged or cut off ({error}); fetch it again") from error


def _csv(path: Path, first: str, text: TextIO, tally: Tally) -> Iterator[Reading]:
    names = [name.strip() for name in first.rstrip("\r\n").split(",")]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise RecordingError(
            f"{path}:1: is no recording: the first line must name the columns {','.join(COLUMNS)};"
            f" {', '.join(missing)} is not there (found {first.strip()[:60]!r})"
        )
    places = [names.index(name) for name in COLUMNS]
    width = max(places) + 1
    latest: Instant = -(1 << 60)
    for line, row in enumerate(csv.reader(text), start=2):
        if not row:
            continue
        if len(row) < width:
            tally.reject(path, line, "", f"has {len(row)} columns, not {len(names)}")
            continue
        reading = _reading(path, line, [row[place] for place in places], latest, tally)
        if reading is not None:
            latest = reading.received_at
            yield reading


def _json_lines(
    path: Path, first: str, text: TextIO, tally: Tally, decode: Callable[[Message], list[Reading]] | None
) -> Iterator[Reading]:
    latest: Instant = -(1 << 60)
    line, content = 1, first
    while content:
        if content.strip():
            for reading in _json_row(path, line, content, latest, tally, decode):
                latest = reading.received_at
                yield reading
        line, content = line + 1, text.readline()


def _json_row(
    path: Path,
    line: int,
    content: str,
    latest: Instant,
    tally: Tally,
    decode: Callable[[Message], list[Reading]] | None,
) -> list[Reading]:
    try:
        row = json.loads(content)
    except ValueError as error:
        tally.reject(path, line, "", f"is not JSON ({error})")
        return []
    if not isinstance(row, dict):
        tally.reject(path, line, "", "is not a JSON object")
        return []
    if "topic" in row:
        return _capture_row(path, line, row, latest, tally, decode)
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        tally.reject(path, line, missing[0], f"is not there; a row has {', '.join(COLUMNS)}")
        return []
    reading = _reading(path, line, [row[name] for name in COLUMNS], latest, tally)
    return [] if reading is None else [reading]


class _BadRowError(Exception):
    def __init__(self, where: str, why: str) -> None:
        super().__init__(why)
        self.where = where


def _reading(path: Path, line: int, cells: list[Any], latest: Instant, tally: Tally) -> Reading | None:
    try:
        reading = _parsed(cells, latest)
    except _BadRowError as error:
        tally.reject(path, line, error.where, str(error))
        return None
    tally.rows += 1
    return reading


def _parsed(cells: list[Any], latest: Instant) -> Reading:
    at_text, home_id, sensor_id, quantity, value_text = cells
    try:
        at = parse_at(str(at_text))
    except ValueError as error:
        raise _BadRowError("at", str(error)) from error
    span = RANGES.get(quantity) if isinstance(quantity, str) else None
    if span is None:
        raise _BadRowError("quantity", f"{quantity!r} is none of {', '.join(RANGES)}")
    try:
        value = float(value_text)
    except (TypeError, ValueError) as error:
        raise _BadRowError("value", f"{value_text!r} is not a number") from error
    if isinstance(value_text, bool) or not span[0] <= value <= span[1]:
        raise _BadRowError("value", f"{value_text!r} is outside {span[0]:g} to {span[1]:g} for {quantity}")
    for name, text in (("home_id", home_id), ("sensor_id", sensor_id)):
        if not _ID.match(str(text)):
            raise _BadRowError(name, f"{text!r} is no id; ids are 1 to 64 letters, digits, _ and -")
    return Reading(str(home_id), str(sensor_id), quantity, value, at, max(at, latest))


def _capture_row(
    path: Path,
    line: int,
    row: dict[str, Any],
    latest: Instant,
    tally: Tally,
    decode: Callable[[Message], list[Reading]] | None,
) -> list[Reading]:
    if decode is None:
        raise RecordingError(f"{path}:{line}: is a capture of MQTT messages; it cannot be read here")
    try:
        at = parse_at(str(row.get("tst", "")))
    except ValueError as error:
        tally.reject(path, line, "tst", str(error))
        return []
    payload = row.get("payload", "")
    body = payload if isinstance(payload, str) else json.dumps(payload)
    message = Message(
        topic=str(row["topic"]),
        payload=body.encode("utf-8", errors="replace"),
        qos=int(row.get("qos") or 0),
        retained=bool(row.get("retain")),
        duplicate=False,
        packet_id=int(row.get("mid") or 0),
        generation=0,
        received_at=max(at, latest),
    )
    try:
        readings = decode(message)
    except SensorGuardError as error:
        tally.reject(path, line, message.topic, str(error))
        return []
    tally.rows += len(readings)
    return readings
