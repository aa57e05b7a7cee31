"""The demo: six simulated homes and one home's recorded water meter, from a Sunday evening to a Monday morning.

One elder uses no electricity from 19:40 on, in the morning neither, until somebody comes at 09:20; another presses the
button at 21:30. The rest of them live as usual, and nothing may be said about them. At a factor of 720 the 17 hours
take 85 seconds.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from zoneinfo import ZoneInfo

from sensor_guard.clock import parse_at
from sensor_guard.model import DAY, HOUR, MINUTE, Instant, Reading, Span
from simulators.homes import Home, live
from simulators.incidents import Incident, IncidentKind, TruthRecord
from simulators.recordings import RECORDINGS, Report, weusedto
from simulators.roster import SensorRow, rows_of, rows_seen
from simulators.stream import Stream, between, merged, numbered, shifted

FACTOR = 720.0
"""Twelve hours in a minute."""
ZONE = ZoneInfo("Asia/Shanghai")
STARTS_AT: Instant = parse_at("2026-03-01T17:30:00+08:00")  # a Sunday, as in the recording
LASTS: Span = 17 * HOUR
ENDS_AT: Instant = STARTS_AT + LASTS

SITE = "demo"
RECORDED_HOME = "2-201"
QUIET_HOME = "1-102"
PRESSING_HOME = "2-102"
HOMES: dict[str, str] = {
    "1-101": "1号楼101室",
    QUIET_HOME: "1号楼102室",
    "1-201": "1号楼201室",
    "1-202": "1号楼202室",
    "2-101": "2号楼101室",
    PRESSING_HOME: "2号楼102室",
}
"""The simulated homes, and what people call them."""

QUIET_FROM: Instant = STARTS_AT + 2 * HOUR + 10 * MINUTE  # 19:40, at the kettle
QUIET_UNTIL: Instant = STARTS_AT + 15 * HOUR + 50 * MINUTE  # 09:20, somebody at the door
PRESSED_AT: Instant = STARTS_AT + 4 * HOUR  # 21:30

RECORDED = Path(__file__).parent / "data" / "weusedto"
SHIFT: Span = STARTS_AT - parse_at("2020-08-30T17:30:00+02:00")
"""The recording's Sunday evening in Naples becomes the demo's in Shanghai: the hours of the day stay what they were."""
_SEED = 20260301
_EXPECT_EVERY: Span = 2 * HOUR
"""At a factor of 720, 10 s: a machine that stalls for a moment, or a daemon started again, is not a blind home."""


def homes() -> list[Home]:
    """Give the six simulated homes with what happens in them."""
    incidents = (
        Incident(IncidentKind.POWER_LOW, QUIET_HOME, QUIET_FROM, QUIET_UNTIL),
        Incident(IncidentKind.PANIC, PRESSING_HOME, PRESSED_AT, PRESSED_AT),
    )
    return [Home(home_id, _SEED, ZONE, tuple(one for one in incidents if one.home_id == home_id)) for home_id in HOMES]


def readings() -> Stream:
    """Give the whole demo, sorted by time."""
    return numbered(merged([live(homes(), STARTS_AT, ENDS_AT), recorded()]))


def recorded() -> Stream:
    """Give the recorded water of one home, moved into the demo's night."""
    shifted_there = shifted(weusedto(RECORDED, Report(), home_id=RECORDED_HOME), SHIFT)
    fixtures = (one for one in shifted_there if one.sensor_id not in {"wholehouse", "washingmachine"})
    return between(fixtures, STARTS_AT, ENDS_AT)


def truth() -> list[TruthRecord]:
    """Say what should come of it: nothing but these."""
    return list(chain.from_iterable(home.truth(ENDS_AT) for home in homes()))


def rows() -> list[SensorRow]:
    """List homes and sensors of the demo, for ``homes.csv``."""

    def simulated() -> Iterator[SensorRow]:
        for home_id, label in HOMES.items():
            yield from rows_of(home_id, site=SITE, building=f"b{home_id[0]}", label=label, at_least=_EXPECT_EVERY)

    seen: list[Reading] = list(recorded())
    expect_every = {
        sensor_id: max(span, _EXPECT_EVERY) for sensor_id, span in RECORDINGS["weusedto"].expect_every.items()
    }
    real = rows_seen(seen, expect_every=expect_every, site=SITE, building="b2", label="2号楼201室")
    return [*simulated(), *real]


assert LASTS < DAY, "the recorded excerpt has no more to give"
