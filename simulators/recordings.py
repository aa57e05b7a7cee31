"""Real recordings, made by others, as streams of readings. What is dropped is counted with its reason, never silent.

Each converter streams file by file, merges by time, and keeps nothing but what is under way. ``docs/simulators.md``
has the choices that the recordings leave open (units, zones, which end of an interval a time means) with their
evidence.
"""

import csv
import gzip
import heapq
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

from sensor_guard.clock import parse_at
from sensor_guard.model import DAY, DEVICE_TIME, MINUTE, RANGES, SECOND, Instant, Quantity, Reading, Span
from simulators.stream import Stream, merged

EARLIEST: Instant = parse_at("2000-01-01T00:00:00Z")
"""No recording here is older: an earlier stamp is a clock that was not set (1970)."""


class Dropped(StrEnum):
    """Why a row did not become a reading."""

    UNREADABLE = "unreadable"  # not the columns or numbers of its file
    CLOCK_NOT_SET = "clock_not_set"  # stamped before 2000
    BACKWARDS = "backwards"  # earlier than the row before it
    NEGATIVE = "negative"  # water does not run backwards
    OUT_OF_RANGE = "out_of_range"  # beyond model.RANGES: a misread counter
    NO_VOLUME = "no_volume"  # a flush or wash of 0 litres
    NO_QUANTITY = "no_quantity"  # a kind of sensor that the program has no quantity for
    NO_SUCH_TIME = "no_such_time"  # a local time that the zone skips in spring


@dataclass(slots=True)
class Report:
    """What a conversion did, by sensor: rows read, rows dropped by reason, ends of a draw put in."""

    rows: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, Dropped]] = field(default_factory=Counter)
    ends_added: Counter[str] = field(default_factory=Counter)

    def lines(self) -> Iterator[str]:
        """Put it in words, a line each."""
        for sensor, count in sorted(self.rows.items()):
            reasons = [f"{n} {reason}" for (name, reason), n in sorted(self.dropped.items()) if name == sensor]
            ends = f", {self.ends_added[sensor]} ends of a draw added" if self.ends_added[sensor] else ""
            yield f"{sensor}: {count} rows, dropped: {', '.join(reasons) or 'none'}{ends}"


@dataclass(frozen=True, slots=True)
class Recording:
    """One collection of files. ``expect_every``: for ``homes.csv``, where the kind's default would be wrong."""

    name: str
    files: str  # a glob for what the collection consists of
    open: Callable[[Path, Report], Stream]
    expect_every: dict[str, Span]


# --- WEUSEDTO: water at the fixtures of one flat in Naples ---

_ML_S_TO_L_MIN = 60 / 1_000
_L_S_TO_L_MIN = 60.0
_DRAW_GAP: Span = 5 * SECOND  # a running tap gives a row each second or two; a longer gap means that it was closed
_DRAW_END: Span = 2 * SECOND
_RATES = {"wholehouse": _L_S_TO_L_MIN}
_VOLUMES = ("toilet", "dishwasher")


def weusedto(folder: Path, report: Report, *, home_id: str = "weusedto") -> Stream:
    """Read WEUSEDTO's ``feed*.csv[.gz]``: flow_l_min of each fixture, as sensors of one home.

    Taps, shower and washing machine: rows in mL/s; whole house: L/s, a mean over the time since the row before;
    toilet and dishwasher: litres of one use with its begin and end, made into a mean flow.

    Raises:
        ValueError: the folder holds no such file.
    """
    streams = []
    for path in _files(folder, "feed*.csv*"):
        sensor_id = _fixture(path)
        draws = sensor_id in _VOLUMES
        reader = _volumes if draws else _flows
        streams.append(reader(path, sensor_id, home_id, report))
    return merged(streams)


def _flows(path: Path, sensor_id: str, home_id: str, report: Report) -> Stream:
    factor = _RATES.get(sensor_id, _ML_S_TO_L_MIN)
    open_since: Instant | None = None  # the last row that said water runs, where rows stand for a second
    for at, (raw,) in _stamped_rows(path, 2, sensor_id, report):
        value = round(raw * factor, 4)
        if value < 0:
            report.dropped[sensor_id, Dropped.NEGATIVE] += 1
            continue
        if value > RANGES[Quantity.FLOW_L_MIN][1]:
            report.dropped[sensor_id, Dropped.OUT_OF_RANGE] += 1
            continue
        if open_since is not None and at - open_since > _DRAW_GAP:
            report.ends_added[sensor_id] += 1
            yield _reading(home_id, sensor_id, Quantity.FLOW_L_MIN, 0.0, open_since + _DRAW_END)
        open_since = at if value > 0 and factor == _ML_S_TO_L_MIN else None
        yield _reading(home_id, sensor_id, Quantity.FLOW_L_MIN, value, at)
    if open_since is not None:
        report.ends_added[sensor_id] += 1
        yield _reading(home_id, sensor_id, Quantity.FLOW_L_MIN, 0.0, open_since + _DRAW_END)


def _volumes(path: Path, sensor_id: str, home_id: str, report: Report) -> Stream:
    """Make (begin, litres, end) into a flow that rises and falls; two that overlap add up."""
    ends: list[tuple[Instant, float]] = []
    flow = 0.0

    def fall(until: Instant) -> Stream:
        nonlocal flow
        while ends and ends[0][0] <= until:
            at, rate = heapq.heappop(ends)
            flow = round(flow - rate, 4) if ends else 0.0
            yield _reading(home_id, sensor_id, Quantity.FLOW_L_MIN, flow, at)

    for at, (litres, end_s) in _stamped_rows(path, 3, sensor_id, report):
        lasts = round(end_s * SECOND) - at
        if litres <= 0:
            report.dropped[sensor_id, Dropped.NO_VOLUME] += 1
        elif lasts <= 0:
            report.dropped[sensor_id, Dropped.UNREADABLE] += 1
        else:
            yield from fall(at)
            rate = round(litres / (lasts / MINUTE), 4)
            heapq.heappush(ends, (at + lasts, rate))
            flow = round(flow + rate, 4)
            yield _reading(home_id, sensor_id, Quantity.FLOW_L_MIN, flow, at)
    while ends:
        yield from fall(ends[0][0])


def _stamped_rows(path: Path, columns: int, sensor_id: str, report: Report) -> Iterator[tuple[Instant, list[float]]]:
    """Give rows of unix seconds and numbers, forwards in time; commas or spaces, with or without a header."""
    before = EARLIEST
    with _text(path) as file:
        for number, line in enumerate(file):
            words = re.split(r"[,\s]+", line.strip())
            if number == 0 and words[0].strip('"') == "Time":
                continue
            report.rows[sensor_id] += 1
            try:
                numbers = [float(word) for word in words]
                at = round(numbers[0] * SECOND)
            except (ValueError, OverflowError):
                numbers, at = [], 0
            if len(numbers) != columns or not all(map(math.isfinite, numbers)):
                report.dropped[sensor_id, Dropped.UNREADABLE] += 1
            elif at < EARLIEST:
                report.dropped[sensor_id, Dropped.CLOCK_NOT_SET] += 1
            elif at < before:
                report.dropped[sensor_id, Dropped.BACKWARDS] += 1
            else:
                before = at
                yield at, numbers[1:]


def _fixture(path: Path) -> str:
    """``feed_Kitchenfaucet.MYD.csv.gz`` -> kitchenfaucet; ``feed_Dishwasher30.MYD.csv`` -> dishwasher."""
    name = re.sub(r"^feed[._]", "", path.name).split(".")[0]
    return name.lower().rstrip("0123456789")


# --- SGSC: half-hourly electricity of Australian homes ---

SGSC_ZONE = timezone(timedelta(hours=10))
"""Eastern standard time all year: the recorded days have no missing hour in October and no double one in April, the
residents' habits shift by an hour against the stamps at both, and the trial said so of its meters."""


def sgsc(folder: Path, report: Report, *, zone: tzinfo = SGSC_ZONE) -> Stream:
    """Read ``customer_*.csv[.gz]``: kWh of half an hour become its mean power_w, stamped at the half hour's end.

    ``reading_datetime`` is taken as that end, as meters in that market label their intervals.

    Raises:
        ValueError: the folder holds no such file.
    """
    return merged(_energy(path, zone, report) for path in _files(folder, "customer_*.csv*"))


def _energy(path: Path, zone: tzinfo, report: Report) -> Stream:
    home_id = "sgsc-" + path.name.removeprefix("customer_").split(".")[0]
    before = EARLIEST
    with _text(path) as file:
        for row in csv.DictReader(file):
            report.rows[home_id] += 1
            try:
                at = _local(row["reading_datetime"], zone)
                value = round(float(row["general_supply_kwh"]) * 2_000, 3)
            except (KeyError, TypeError, ValueError):
                report.dropped[home_id, Dropped.UNREADABLE] += 1
                continue
            if at is None:
                report.dropped[home_id, Dropped.NO_SUCH_TIME] += 1
            elif value < 0:
                report.dropped[home_id, Dropped.NEGATIVE] += 1
            elif not value <= RANGES[Quantity.POWER_W][1]:
                report.dropped[home_id, Dropped.OUT_OF_RANGE] += 1
            elif at < before:
                report.dropped[home_id, Dropped.BACKWARDS] += 1
            else:
                before = at
                yield _reading(home_id, "power", Quantity.POWER_W, value, at)


# --- Ordonez A: movements and doors of one home in Spain ---

ORDONEZ_ZONE = ZoneInfo("Europe/Madrid")
_EDGE_QUANTITIES = {"PIR": Quantity.MOTION, "Magnetic": Quantity.DOOR_OPEN}


def ordonez(folder: Path, report: Report, *, home_id: str = "ordonez-a", zone: tzinfo = ORDONEZ_ZONE) -> Stream:
    """Read ``OrdonezA_Sensors.txt[.gz]``: PIR become motion, magnetic contacts door_open; 1 at begin, 0 at end.

    Pressure, flush and electric contacts have no quantity here and are counted. Four of the contacts are on
    furniture (cupboard, fridge, cabinet); only ``maindoor`` is a door to the world.

    Raises:
        ValueError: the folder holds no such file.
    """
    readings: list[Reading] = []  # a few hundred rows; they end in another order than they begin
    for path in _files(folder, "Ordonez*_Sensors.txt*"):
        with _text(path) as file:
            for number, line in enumerate(file):
                if number < 2 or not line.strip():  # a header and its underline
                    continue
                readings.extend(_contact(line, home_id, zone, report))
    return iter(sorted(readings, key=lambda one: one.observed_at))


def _contact(line: str, home_id: str, zone: tzinfo, report: Report) -> list[Reading]:
    words = [word.strip() for word in line.split("\t") if word.strip()]
    sensor_id = words[2].lower() if len(words) == 5 else "unknown"
    report.rows[sensor_id] += 1
    try:
        begins_at, ends_at = (_local(word, zone) for word in words[:2])
    except ValueError:
        begins_at = ends_at = 0
    if len(words) != 5 or begins_at == 0:
        report.dropped[sensor_id, Dropped.UNREADABLE] += 1
        return []
    if begins_at is None or ends_at is None:
        report.dropped[sensor_id, Dropped.NO_SUCH_TIME] += 1
        return []
    quantity = _EDGE_QUANTITIES.get(words[3])
    if quantity is None:
        report.dropped[sensor_id, Dropped.NO_QUANTITY] += 1
        return []
    if ends_at < begins_at:
        report.dropped[sensor_id, Dropped.BACKWARDS] += 1
        return []
    return [_reading(home_id, sensor_id, quantity, value, at) for value, at in ((1.0, begins_at), (0.0, ends_at))]


RECORDINGS: dict[str, Recording] = {
    one.name: one
    for one in (
        Recording(
            "weusedto",
            "feed*.csv*",
            weusedto,
            # Taps speak at least every 302 s; these two only when they are used.
            {
                **dict.fromkeys(
                    ("washbasin", "bidet", "kitchenfaucet", "shower", "washingmachine", "wholehouse"), 15 * MINUTE
                ),
                **dict.fromkeys(_VOLUMES, 7 * DAY),
            },
        ),
        Recording("sgsc", "customer_*.csv*", sgsc, {"power": 60 * MINUTE}),
        Recording("ordonez", "Ordonez*_Sensors.txt*", ordonez, {}),
    )
}


def _reading(home_id: str, sensor_id: str, quantity: Quantity, value: float, at: Instant) -> Reading:
    return Reading(home_id, sensor_id, quantity, value, at, at, -1, DEVICE_TIME)


def _local(text: str, zone: tzinfo) -> Instant | None:
    """Read a wall-clock time; None if the zone skips it. Of a time that comes twice, the first is meant."""
    moment = datetime.fromisoformat(text.strip()).replace(tzinfo=zone)
    at = round(moment.timestamp() * 1_000)
    exists = datetime.fromtimestamp(at / 1_000, zone).replace(tzinfo=None) == moment.replace(tzinfo=None)
    return at if exists else None


def _files(folder: Path, pattern: str) -> list[Path]:
    paths = sorted(path for path in folder.glob(pattern) if path.suffix in {".csv", ".gz", ".txt"})
    if not paths:
        raise ValueError(f"{folder}: no file {pattern} in it; give the folder that the recording was unpacked to")
    return paths


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8", errors="replace") as text:
            yield text
    else:
        with path.open(encoding="utf-8", errors="replace") as text:
            yield text
