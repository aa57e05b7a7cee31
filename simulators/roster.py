"""The lists that belong to a stream: which homes and sensors there are (``homes.csv``), and whom to tell.

The columns are those of the project's own files, so that what is simulated can be run without writing anything by
hand. The telephone numbers are of those that North America keeps free for films and books (555-0100 to 0199): they
ring nowhere.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from sensor_guard.model import DAY, HOUR, KIND_OF_QUANTITY, MINUTE, Reading, Span
from simulators.homes import SENSORS

DEFAULT_SITE = "demo"
_SHORTEST: Span = 15 * MINUTE


@dataclass(frozen=True, slots=True)
class SensorRow:
    """One row of ``homes.csv``; the fields are its columns, in their order."""

    site: str
    building: str
    home: str
    label: str
    kind: str
    sensor: str
    topic: str = ""
    convention: str = "own"
    expect_every: str = ""
    meter: str = ""
    interval: str = ""

    @property
    def address(self) -> str:
        """The topic that the sensor publishes on: its own, or the project's convention."""
        return self.topic or topic_of(self.site, self.home, self.sensor)


def topic_of(site: str, home: str, sensor: str) -> str:
    """Give the topic of our own convention."""
    return f"guard/{site}/{home}/{sensor}"


def said_every(sensor_id: str) -> Span:
    """Say how often a sensor of a simulated home speaks, at least.

    Raises:
        ValueError: no simulated home has such a sensor.
    """
    for sensor in SENSORS:
        if sensor.sensor_id == sensor_id:
            return sensor.every
    raise ValueError(f"no sensor {sensor_id}; a home has {', '.join(sensor.sensor_id for sensor in SENSORS)}")


def observed_for(sensor_id: str) -> Span:
    """Say how long a sensor may be silent by the ``homes.csv`` that is written for it: twice ``expect_every``."""
    return 2 * max(2 * said_every(sensor_id), _SHORTEST)


def rows_of(
    home_id: str,
    *,
    site: str = DEFAULT_SITE,
    building: str = "b1",
    label: str = "",
    at_least: Span = _SHORTEST,
) -> Iterator[SensorRow]:
    """List the seven sensors of a simulated home; each is expected half as often as it speaks.

    ``at_least``: the shortest ``expect_every`` that is written.
    """
    for sensor in SENSORS:
        every = write_span(max(2 * sensor.every, at_least))
        yield SensorRow(site, building, home_id, label or home_id, sensor.kind, sensor.sensor_id, expect_every=every)


def rows_seen(
    readings: Iterable[Reading],
    *,
    expect_every: Mapping[str, Span],
    site: str = DEFAULT_SITE,
    building: str = "b1",
    label: str = "",
) -> list[SensorRow]:
    """List the sensors that a recording holds. ``expect_every`` by sensor_id; missing: the kind's default."""
    seen: dict[tuple[str, str], str] = {}
    for reading in readings:
        kind = KIND_OF_QUANTITY.get(reading.quantity)
        if kind is not None:
            seen.setdefault((reading.home_id, reading.sensor_id), kind)
    return [
        SensorRow(
            site,
            building,
            home_id,
            label or home_id,
            kind,
            sensor_id,
            expect_every=write_span(expect_every[sensor_id]) if sensor_id in expect_every else "",
        )
        for (home_id, sensor_id), kind in sorted(seen.items())
    ]


def write_homes(path: Path, rows: Iterable[SensorRow]) -> int:
    """Write ``homes.csv``; give the number of rows."""
    columns = [field.name for field in fields(SensorRow)]
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([getattr(row, column) for column in columns])
            count += 1
    return count


def read_topics(path: Path) -> dict[tuple[str, str], str]:
    """Read from ``homes.csv`` which topic each (home, sensor) publishes on.

    Raises:
        ValueError: the file has not the columns site, home and sensor.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {"site", "home", "sensor"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: the columns {', '.join(sorted(missing))} are missing")
        return {
            (row["home"], row["sensor"]): row.get("topic") or topic_of(row["site"], row["home"], row["sensor"])
            for row in reader
        }


def write_contacts(path: Path, home_ids: Iterable[str]) -> None:
    """Write a ``contacts.yaml`` in which every home has a worker, a family, a supervisor and a maintainer."""
    people = [
        ("worker-1", "李社工", "worker", "all"),
        ("supervisor-1", "陈主任", "supervisor", "all"),
        ("maintainer-1", "周工", "maintainer", "all"),
        *((f"family-{home_id}", "家属", "family", f"home:{home_id}") for home_id in home_ids),
    ]
    lines = ["# An example. These numbers ring nowhere: put in your own.", "contacts:"]
    for number, (contact_id, name, role, covers) in enumerate(people):
        lines += [
            f"  - id: {contact_id}",
            f"    name: {name}",
            f'    phone: "{_unused_phone(number)}"',
            "    language: zh",
            f"    role: {role}",
            f"    covers: [{_quoted(covers)}]",
        ]
    path.touch(mode=0o640)  # names and numbers are not for everybody
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_span(span: Span) -> str:
    """Write a span as people do: 15m, 4h, 2d."""
    for unit, letter in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if span % unit == 0:
            return f"{span // unit}{letter}"
    return f"{span // 1_000}s"


def _unused_phone(number: int) -> str:
    """Give one of the thousand 555-01xx numbers of ten cities."""
    cities = (202, 206, 212, 213, 303, 305, 312, 404, 415, 512)
    city, line = divmod(number % 1_000, 100)
    return f"+1{cities[city]}55501{line:02d}"


def _quoted(covers: str) -> str:
    return covers if covers == "all" else f'"{covers}"'
