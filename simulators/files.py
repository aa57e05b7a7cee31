"""Streams as replay files: CSV or JSON Lines, gzipped where the name ends in ``.gz``, with the truth beside them.

Columns: ``at`` (ISO 8601 with zone: when the device measured), ``home_id``, ``sensor_id``, ``quantity``, ``value``.
Rows stand in the order of arrival. The same stream gives the same bytes on every machine.
"""

import csv
import gzip
import io
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from sensor_guard.clock import format_at, parse_at
from sensor_guard.model import DEVICE_TIME, Reading
from simulators.incidents import TruthRecord
from simulators.stream import Stream

COLUMNS = ("at", "home_id", "sensor_id", "quantity", "value")
SUFFIXES = (".csv", ".jsonl", ".csv.gz", ".jsonl.gz")


def write_replay(path: Path, readings: Iterable[Reading]) -> int:
    """Write a stream; give the number of readings.

    Raises:
        ValueError: the name says no format.
    """
    as_csv = _is_csv(path)
    count = 0
    with _open_for_writing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        if as_csv:
            writer.writerow(COLUMNS)
        for reading in readings:
            count += 1
            at = format_at(reading.observed_at)
            value = int(reading.value) if reading.value.is_integer() else reading.value
            row = (at, reading.home_id, reading.sensor_id, str(reading.quantity), value)
            if as_csv:
                writer.writerow(row)
            else:
                file.write(json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False) + "\n")
    return count


def read_replay(path: Path) -> Stream:
    """Read a replay file back, row by row, in the order of the file.

    Raises:
        ValueError: a row cannot be read; the message says which.
    """
    as_csv = _is_csv(path)
    with _open_for_reading(path) as file:
        rows: Iterable[dict[str, str]]
        if as_csv:
            reader = csv.DictReader(file)
            if missing := set(COLUMNS) - set(reader.fieldnames or ()):
                raise ValueError(f"{path}: the columns {', '.join(sorted(missing))} are missing")
            rows = reader
        else:
            rows = (json.loads(line) for line in file if line.strip())
        done = 0
        try:
            for row in rows:
                yield _reading(row)
                done += 1
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: row {done + 1}: {error}") from error


def truth_path(path: Path) -> Path:
    """Say where the truth of a replay file lies: ``<name>.truth.jsonl`` beside it."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix):
            return path.with_name(path.name.removesuffix(suffix) + ".truth.jsonl")
    raise ValueError(_no_format(path))


def write_truth(path: Path, records: Iterable[TruthRecord]) -> int:
    """Write what happened, one line each, in order of time; give their number."""
    lines = [record.as_json() for record in sorted(records, key=lambda one: (one.begins_at, one.home_id, one.incident))]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return len(lines)


def _reading(row: dict[str, str]) -> Reading:
    value = float(row["value"])
    if not math.isfinite(value):
        raise ValueError(f"{row['value']!r} is no finite number")
    at = parse_at(row["at"])
    return Reading(row["home_id"], row["sensor_id"], row["quantity"], value, at, at, -1, DEVICE_TIME)


def _is_csv(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    if not name.endswith((".csv", ".jsonl")):
        raise ValueError(_no_format(path))
    return name.endswith(".csv")


def _no_format(path: Path) -> str:
    return f"{path}: the name must end in one of {', '.join(SUFFIXES)}"


@contextmanager
def _open_for_writing(path: Path) -> Iterator[TextIO]:
    if not path.name.endswith(".gz"):
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    # No name and no time in the header: the same stream gives the same bytes.
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
    ):
        yield text


@contextmanager
def _open_for_reading(path: Path) -> Iterator[TextIO]:
    if path.name.endswith(".gz"):
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
