"""Recordings: our readings as CSV or JSON Lines, and captures of a broker by `mosquitto_sub -F %j`; gzipped or not.

A row that cannot be read is told with file, line, value and the way out, counted, and passed over.
"""

import csv
import gzip
import heapq
import io
import json
import marshal
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, TextIO, cast

from sensor_guard.clock import parse_at
from sensor_guard.errors import Problem, SensorGuardError
from sensor_guard.model import DAY, GATEWAY, ID_PATTERN, RANGES, Instant, Message, Quantity, Reading

COLUMNS = ("at", "home_id", "sensor_id", "quantity", "value")
_ID = re.compile(ID_PATTERN)
_SWITCHES = {Quantity.DOOR_OPEN, Quantity.SMOKE, Quantity.MOTION, Quantity.PANIC, Quantity.LINK}
KEEP_PROBLEMS = 20
"""Bad rows that are told one by one; the rest is counted."""
EARLIEST: Instant = 365 * DAY
LATEST: Instant = 130 * 365 * DAY
"""1971 to about 2099: a time outside is a device without a clock, and would drag the virtual clock there."""
SORT_ROWS = 100_000
"""Readings that are sorted in memory at a time, about 40 MB; what is more waits in temporary files."""
_CHUNK = 1_000


class RecordingError(SensorGuardError):
    """A file that is no recording at all; the message says what one looks like."""


@dataclass(slots=True)
class Tally:
    """What was read. ``problems``: the first bad rows; ``bad_count``: all of them; ``bytes_read``: for progress."""

    rows: int = 0
    bad_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    bytes_read: Callable[[], int] = lambda: 0

    def reject(self, file: Path, line: int, where: str, why: str, column: int = 1) -> None:
        """Count a bad row, and keep it if it is among the first."""
        self.bad_count += 1
        if len(self.problems) < KEEP_PROBLEMS:
            self.problems.append(Problem(str(file), line, column, where, why))


def read_recording(
    path: Path, tally: Tally, decode: Callable[[Message], list[Reading]] | None = None
) -> Iterator[Reading]:
    """Give the readings of a file in its order.

    Of a row, ``received_at`` is its ``at``; of a message of a capture the latest time seen so far in the file.

    Args:
        path: .csv, .jsonl (or .json, .ndjson), each also .gz; what is in it decides, not the name.
        tally: filled while reading.
        decode: reads the messages of a capture; a capture without it is refused.

    Raises:
        RecordingError: the file cannot be opened, or is none of the known forms.
    """
    try:
        with path.open("rb") as raw:
            tally.bytes_read = raw.tell
            head = raw.read(2)
            raw.seek(0)  # fails on a pipe: a recording is read twice
            stream = gzip.GzipFile(fileobj=raw) if head == b"\x1f\x8b" else raw
            text = io.TextIOWrapper(
                cast("io.BufferedReader", stream), encoding="utf-8-sig", newline="", errors="replace"
            )
            line, first = _first_line(text)
            if first.startswith("{"):
                yield from _json_lines(path, line, first, text, tally, decode)
            else:
                yield from _csv(path, line, first, text, tally)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise RecordingError(f"{path}: the gzip file is damaged or cut off ({error}); fetch it again") from error
    except OSError as error:
        why = error.strerror or f"{error}; a recording is a file, not a pipe"
        raise RecordingError(f"{path}: cannot be read ({why})") from error


def in_time_order(readings: Iterable[Reading], *, limit: int = SORT_ROWS) -> Iterator[Reading]:
    """Sort readings by ``received_at``, those of one instant as they came; ``limit``: how many in memory at a time."""
    source = iter(readings)
    run = sorted(islice(source, limit), key=_received_at)
    files: list[IO[bytes]] = []
    try:
        while len(run) == limit:
            files.append(_put_aside(run))
            run = sorted(islice(source, limit), key=_received_at)
        yield from heapq.merge(*(_taken_back(file) for file in files), run, key=_received_at)
    finally:
        for file in files:
            file.close()


def _received_at(reading: Reading) -> Instant:
    return reading.received_at


def _put_aside(run: list[Reading]) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by in_time_order
    for start in range(0, len(run), _CHUNK):
        marshal.dump([tuple(reading) for reading in run[start : start + _CHUNK]], file)
    file.seek(0)
    return file


def _taken_back(file: IO[bytes]) -> Iterator[Reading]:
    while True:
        try:
            chunk = marshal.load(file)  # noqa: S302 - written by ourselves a moment ago, into a file without a name
        except EOFError:
            return
        yield from map(Reading._make, chunk)


def _first_line(text: TextIO) -> tuple[int, str]:
    """Give the first line that is not blank, without the space around it, and its number."""
    for line, content in enumerate(text, start=1):
        if content.strip():
            return line, content.strip()
    return 1, ""


def _csv(path: Path, header: int, first: str, text: TextIO, tally: Tally) -> Iterator[Reading]:
    names = [name.strip() for name in _cells(first)]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        found = f"found {first[:60]!r}" if first else "the file is empty"
        raise RecordingError(
            f"{path}:{header}: is no recording: the first line must name the columns {','.join(COLUMNS)};"
            f" {', '.join(missing)} is not there ({found})"
        )
    places = [names.index(name) for name in COLUMNS]
    width = max(places) + 1
    for line, content in enumerate(text, start=header + 1):
        if not content.strip():
            continue
        try:
            row = _cells(content)
        except csv.Error as error:
            tally.reject(path, line, "", str(error))
            continue
        if len(row) < width:
            tally.reject(path, line, "", f"has {len(row)} columns, not {len(names)}")
            continue
        try:
            reading = _parsed([row[place].strip() for place in places])
        except _BadRowError as error:
            place = places[COLUMNS.index(error.where)]
            tally.reject(path, line, error.where, str(error), _column_of_cell(content, place))
            continue
        tally.rows += 1
        yield reading


def _cells(content: str) -> list[str]:
    """Split one line: a reading has no line breaks in it, and a stray quote spoils its own row only."""
    if '"' not in content:
        return content.rstrip("\r\n").split(",")
    return next(csv.reader([content]))


def _column_of_cell(content: str, place: int) -> int:
    """Say in which column of its line the cell with this place begins, counted from 1."""
    is_quoted, cell = False, 0
    for column, character in enumerate(content, start=1):
        if cell == place:
            return column
        if character == '"':
            is_quoted = not is_quoted
        elif character == "," and not is_quoted:
            cell += 1
    return len(content.rstrip("\r\n")) + 1  # an empty cell at the end of the file


def _column_of_key(content: str, name: str) -> int:
    """Say in which column of its line a key of a JSON object stands, 1 where it is not found."""
    return max(0, content.find(f'"{name}"')) + 1


def _json_lines(
    path: Path,
    line: int,
    first: str,
    text: TextIO,
    tally: Tally,
    decode: Callable[[Message], list[Reading]] | None,
) -> Iterator[Reading]:
    latest: Instant = EARLIEST
    content = first
    while content:
        if content.strip():
            for reading in _json_row(path, line, content, latest, tally, decode):
                latest = max(latest, reading.received_at)
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
    except json.JSONDecodeError as error:
        column = min(error.pos, len(content.rstrip())) + 1
        tally.reject(path, line, "", f"is not JSON ({error.msg})", column)
        return []
    except (ValueError, RecursionError) as error:
        tally.reject(path, line, "", f"is not JSON ({error})")
        return []
    if not isinstance(row, dict):
        tally.reject(path, line, "", "is not a JSON object")
        return []
    missing = [name for name in COLUMNS if name not in row]
    if missing and "topic" in row:
        try:
            return _capture_row(path, line, row, latest, tally, decode)
        except _BadRowError as error:
            tally.reject(path, line, error.where, str(error), _column_of_key(content, error.where))
            return []
    if missing:
        tally.reject(path, line, missing[0], f"is not there; a row has {', '.join(COLUMNS)}")
        return []
    try:
        reading = _parsed([row[name] for name in COLUMNS])
    except _BadRowError as error:
        tally.reject(path, line, error.where, str(error), _column_of_key(content, error.where))
        return []
    tally.rows += 1
    return [reading]


class _BadRowError(Exception):
    def __init__(self, where: str, why: str) -> None:
        super().__init__(why)
        self.where = where


def _parsed(cells: list[Any]) -> Reading:
    at_text, home_id, sensor_id, quantity, value_text = cells
    at = _instant("at", at_text)
    span = RANGES.get(quantity) if isinstance(quantity, str) else None
    if span is None:
        raise _BadRowError("quantity", f"{quantity!r} is none of {', '.join(RANGES)}")
    try:
        value = float("" if isinstance(value_text, bool) else value_text)
    except (TypeError, ValueError, OverflowError) as error:
        raise _BadRowError("value", f"{str(value_text)[:60]!r} is not a number") from error
    if not span[0] <= value <= span[1]:
        raise _BadRowError("value", f"{value_text!r} is outside {span[0]:g} to {span[1]:g} for {quantity}")
    if quantity in _SWITCHES and value not in {0.0, 1.0}:
        raise _BadRowError("value", f"{value_text!r} is neither 0 nor 1, as {quantity} is")
    for name, text in (("home_id", home_id), ("sensor_id", sensor_id)):
        if not _ID.fullmatch(str(text)):
            raise _BadRowError(name, f"{text!r} is no id; ids are 1 to 64 letters, digits, _ and -")
    if home_id == GATEWAY:
        raise _BadRowError("home_id", f"{GATEWAY} is the box itself, not a home")
    return Reading(str(home_id), str(sensor_id), quantity, value, at, at)


def _instant(name: str, text: object) -> Instant:
    try:
        at = parse_at(str(text))
    except (ValueError, OverflowError) as error:
        raise _BadRowError(name, str(error)) from error
    if not EARLIEST <= at <= LATEST:
        raise _BadRowError(name, f"{text!r} is no time of a recording, which lies between 1971 and 2099")
    return at


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
    payload = row.get("payload", "")
    body = payload if isinstance(payload, str) else json.dumps(payload)
    at = _instant("tst", row.get("tst", ""))
    qos, packet_id = (_whole(row, name) for name in ("qos", "mid"))
    message = Message(
        topic=str(row["topic"]),
        payload=body.encode("utf-8", errors="replace"),
        qos=qos,
        retained=bool(row.get("retain")),
        duplicate=False,
        packet_id=packet_id,
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


def _whole(row: dict[str, Any], name: str) -> int:
    number = row.get(name) or 0
    if not isinstance(number, int):
        raise _BadRowError(name, f"{number!r} is not a whole number")
    return number
