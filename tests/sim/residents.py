"""What devices publish in a world: simulated residents thinned to what a cheap world can afford, as real payloads.

Home h1 speaks our own convention with the device's time and its counter; h2 speaks Zigbee2MQTT, whose last_seen is the
bridge's clock; h3 speaks our own convention with no time at all.
"""

import json
import random
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sensor_guard.clock import format_at
from sensor_guard.model import DAY, HOUR, MINUTE, SECOND, Instant, Reading, Span
from simulators.homes import SENSORS, Home
from simulators.incidents import LASTS, Incident, IncidentKind

ZONE = ZoneInfo("Asia/Shanghai")
DATED, BRIDGED, UNDATED = "h1", "h2", "h3"
_KINDS = {sensor.sensor_id: str(sensor.kind) for sensor in SENSORS}
# quantity -> (least time between two equal words, between two different ones)
_THIN: dict[str, tuple[Span, Span]] = {
    "power_w": (110 * MINUTE, 110 * MINUTE),
    "flow_l_min": (110 * MINUTE, 0),
    "motion": (4 * HOUR, 0),
    "door_open": (4 * HOUR, 0),
    "smoke": (0, 0),
    "panic": (0, 0),
    "battery_pct": (0, 0),
}
_LULL: dict[str, Span] = {"motion": 90 * MINUTE, "door_open": 60 * MINUTE, "flow_l_min": 90 * MINUTE}
"""After a resident's activity so long no further one is told, if it is short: a world needs some, not all."""


BURST_EVERY: Span = 30 * MINUTE


def _gathered(at: Instant) -> Instant:
    """Let what is said within half an hour be said within two seconds: a turn for each word would cost too much."""
    return at - at % BURST_EVERY + at % (2 * SECOND)


@dataclass(frozen=True, slots=True)
class Word:
    """One message of a device. ``quantity``, ``value``: what must be read out of it, None where it is garbage."""

    uid: int
    at: Instant
    delay: Span
    home_id: str
    sensor_id: str
    quantity: str | None
    value: float
    seq: int = -1
    topic: str = ""
    garbage: bytes = b""


def homes_csv() -> str:
    """The list of homes, as an operator would write it."""
    rows = ["site,building,home,label,kind,sensor,topic,convention,expect_every,meter,interval"]
    expect = {"power": "130m", "water": "130m", "door": "8h", "motion": "8h", "smoke": "25h", "panic": "25h"}
    for home_id in (DATED, BRIDGED, UNDATED):
        for sensor_id, kind in _KINDS.items():
            bridged = home_id == BRIDGED
            topic = f"zigbee2mqtt/{home_id}_{sensor_id}" if bridged else ""
            row = ["s1", "b1", home_id, f"{home_id[1]}号楼", kind, sensor_id, topic, "zigbee2mqtt" if bridged else ""]
            rows.append(",".join([*row, expect[kind], "", ""]))
    return "\n".join(rows) + "\n"


def incidents_of(seed: int, home_id: str, start: Instant, days: int) -> tuple[Incident, ...]:
    """One or two things that happen to a resident, never at the same time."""
    rng = random.Random(f"{seed}:{home_id}:incidents")
    found: list[Incident] = []
    at = start + DAY // 2
    while len(found) < 3:
        at += rng.randrange(6 * HOUR // SECOND, 40 * HOUR // SECOND) * SECOND
        kind = rng.choice(list(IncidentKind))
        lasts = min(LASTS[kind], round(rng.uniform(0.4, 1.1) * LASTS[kind]), 30 * HOUR)
        if at + lasts + 6 * HOUR > start + days * DAY:
            break
        found.append(Incident.of(kind, home_id, at, lasts))
        at += lasts + 2 * HOUR
    return tuple(found)


def words(seed: int, home_ids: tuple[str, ...], start: Instant, days: int) -> list[Word]:
    """Everything that devices publish, in the order in which it is said."""
    rng = random.Random(f"{seed}:words")
    said: list[tuple[Instant, str, str, str, float]] = []
    for home_id in home_ids:
        home = Home(home_id, seed * 7 + int(home_id[1]), ZONE, incidents_of(seed, home_id, start, days))
        said.extend(_thinned(home.readings(start + 1, start + days * DAY), rng))
    said = sorted((_gathered(at), *rest) for at, *rest in said)
    seqs: dict[tuple[str, str], int] = {}
    found = []
    taken: set[tuple[str, str, Instant]] = set()
    for at, home_id, sensor_id, quantity, value in said:
        while (home_id, sensor_id, at) in taken:
            at += 1  # noqa: PLW2901 - two words of one device never bear the same time
        taken.add((home_id, sensor_id, at))
        seq = seqs[home_id, sensor_id] = seqs.get((home_id, sensor_id), -1) + 1
        delay = (
            rng.choice((400, 1_900))
            if quantity in ("smoke", "panic")
            else 4_000 - at % BURST_EVERY + rng.choice((0, 0, 0, 400))
        )
        if home_id == UNDATED:
            # In the order in which it was said: by its numbers alone it could not be put right.
            delay = 400 if quantity in ("smoke", "panic") else 4_000 - at % BURST_EVERY
        found.append(Word(len(found), at, delay, home_id, sensor_id, quantity, value, seq, _topic(home_id, sensor_id)))
    return found


def payload(word: Word, device_now: Instant) -> bytes:
    """Write a word as its device does; ``device_now``: what the device's clock said when it spoke."""
    if word.quantity is None:
        return word.garbage
    if word.home_id == BRIDGED:
        return json.dumps(_zigbee(word) | {"last_seen": _stamp(device_now), "linkquality": 90}).encode()
    body: dict[str, object] = {word.quantity: word.value, "seq": word.seq}
    if word.home_id == DATED:
        body["ts"] = device_now if word.seq % 3 else _stamp(device_now)
    return json.dumps(body).encode()


def read_as(word: Word) -> tuple[str, float]:
    """What must be read out of a word: Zigbee2MQTT's button never says 0, and its flow is in m3/h."""
    assert word.quantity is not None
    if word.home_id == BRIDGED:
        if word.quantity == "panic" and word.value == 0:
            return "link", 1.0
        if word.quantity == "flow_l_min":
            return "flow_l_min", round(word.value * 0.06, 5) * 1_000.0 / 60.0
    return word.quantity, word.value


def _topic(home_id: str, sensor_id: str) -> str:
    return f"zigbee2mqtt/{home_id}_{sensor_id}" if home_id == BRIDGED else f"guard/s1/{home_id}/{sensor_id}"


def _stamp(at: Instant) -> str:
    return format_at(at)[:-1] + f".{at % 1_000:03}Z"


def _zigbee(word: Word) -> dict[str, object]:
    value = word.value
    match word.quantity:
        case "door_open":
            return {"contact": value == 0}
        case "smoke":
            return {"smoke": value == 1}
        case "motion":
            return {"occupancy": value == 1}
        case "panic":
            return {"action": "emergency" if value == 1 else None}
        case "flow_l_min":
            return {"flow": round(value * 0.06, 5)}
        case "power_w":
            return {"power": value}
        case _:
            return {"battery": value}


def _thinned(readings: object, rng: random.Random) -> list[tuple[Instant, str, str, str, float]]:
    last: dict[tuple[str, str], tuple[Instant, float]] = {}
    active_at: dict[str, Instant] = {}
    muffled: set[str] = set()
    kept = []
    reading: Reading
    for reading in readings:  # type: ignore[attr-defined]
        key = (reading.sensor_id, reading.quantity)
        at, before = last.get(key, (-DAY, -1.0))
        same, other = _THIN[reading.quantity]
        gap = reading.observed_at - at
        if gap < (same if reading.value == before else other):
            continue
        lull = _LULL.get(reading.quantity, 0)
        if lull and reading.value > 0 and reading.observed_at - active_at.get(reading.sensor_id, -DAY) < lull:
            muffled.add(reading.sensor_id)
            continue
        if lull and reading.value == 0 and reading.sensor_id in muffled:
            muffled.discard(reading.sensor_id)
            if before == 0:
                continue
        if lull and reading.value > 0:
            active_at[reading.sensor_id] = reading.observed_at
        if reading.quantity == "battery_pct" and rng.random() < 0.5:
            continue
        last[key] = (reading.observed_at, reading.value)
        kept.append((reading.observed_at, reading.home_id, reading.sensor_id, str(reading.quantity), reading.value))
    return kept
