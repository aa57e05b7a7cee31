# ruff: noqa: E501, PERF401 - lists of odd things are read across
"""Payloads, topics and times that nobody should send, made from those that real devices do send; all from one seed."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sensor_guard.config import TopicEntry
from sensor_guard.model import KINDS, SECOND, Instant, Message

START: Instant = 1_772_323_200_000
YEAR = 365 * 86_400_000
QUOTED = Path(__file__).parents[1] / "decode" / "quoted-payloads.jsonl"

HOMES = ("h1", "h2")
KEEPER = "h0"
"""The home whose known alarms must rise at their times, whatever is thrown at the others and at itself."""


def topics() -> dict[str, TopicEntry]:
    """Sensors of every kind in both conventions; the keeper's are our own."""
    found = {}
    for home_id in (KEEPER, *HOMES):
        for kind in KINDS:
            found[f"guard/s1/{home_id}/{kind}"] = TopicEntry("s1", home_id, str(kind), str(kind), "own")
            if home_id != KEEPER:
                found[f"zigbee2mqtt/{home_id} {kind}"] = TopicEntry(
                    "s1", home_id, f"z_{kind}", str(kind), "zigbee2mqtt"
                )
    found["zigbee2mqtt/h1 plug/power"] = TopicEntry("s1", "h1", "plug", "power", "zigbee2mqtt")
    return found


NUMBERS = ("0", "1", "-1", "-0", "0.0", "1e0", "5", "3.2", "1e308", "1e999", "-1e999", "1e-999", "NaN", "Infinity", "-Infinity",
           "9" * 5_000, "9" * 17, str(1 << 63), str((1 << 53) + 1), str(-(1 << 64)), "0x10", "01", "+1", ".5", "5.", "1_000",
           "true", "false", "null", '"1"', '"3.2"', '""', '"NaN"', "[]", "[1]", "{}", '{"a":1}', "1" + "0" * 300)  # fmt: skip
TEXTS = ("", "\\u0000", "\\ud800", "\\udfff\\ud800", "\\u202e", "\u202eevil", "\x7f", "家", "🜁" * 50, "a" * 3_000, "\\n\\r", "\u2028", "true", "emergency",
         "';DROP TABLE readings;--", "\\\\", '\\"', "%s%n", "../../etc/passwd")  # fmt: skip
FIELDS = ("power_w", "energy_wh", "flow_l_min", "volume_l", "door_open", "smoke", "motion", "panic", "battery_pct", "link", "seq",
          "ts", "site", "home", "sensor", "contact", "occupancy", "presence", "action", "flow", "water_consumed", "power", "energy",
          "battery", "last_seen", "linkquality", "state", "__proto__", "", "\\u0000", "power_w ", "POWER_W")  # fmt: skip
STRANGE_TOPICS = ("", "/", "guard", "guard/", "guard//h1/power", "guard/s1/h1/power/", "/guard/s1/h1/power", "guard/s1/h1/#", "guard/+/h1/power",
                  "$SYS/broker/uptime", "$share/x/guard/#", "guard/s1/h1/pow\0er", "guard/s1/h1/家", "guard/s1/" + "x" * 65_000, "guard/s1/h1/\u202e",
                  "guard/s1/h1/power\n", "zigbee2mqtt/h1 power/availability", "zigbee2mqtt/h1 smoke/availability", "zigbee2mqtt/bridge/state",
                  "\ufffd", "guard/s2/h1/power", "guard/s1/h9/power", "GUARD/s1/h1/power", "guard/s1/gateway/power", "guard/s1/h1/..",)  # fmt: skip


def corpus() -> list[bytes]:
    """What real devices have sent, and what our own convention allows."""
    rows = [json.loads(line)["payload"] for line in QUOTED.read_text(encoding="utf-8").splitlines()]
    found = [row.encode() if isinstance(row, str) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    for row in KINDS.values():
        for quantity in row.quantities:
            for value in ("0", "1", "3.2"):
                found.append(
                    f'{{"{quantity}": {value}, "battery_pct": 80, "seq": 7, "ts": "2026-03-01T00:00:00Z"}}'.encode()
                )
    found += [b'{"link": 0}', b'{"battery_pct": 9}', b"{}", b'{"state": "online"}', b"offline", b"12.05"]
    return found


def odd_time(rng: random.Random, now: Instant) -> str:  # noqa: PLR0911 - a list of ways
    """A time as JSON: anything that a clock, a firmware or an attacker may write."""
    at = now + rng.choice((0, 1, -1)) * rng.choice(
        (1, 999, SECOND, 119_999, 120_001, 3_600_000, 48 * 3_600_000, YEAR, 100 * YEAR)
    )
    at += rng.randrange(-SECOND, SECOND)
    choice = rng.randrange(16)
    if choice < 3:
        return str(at)
    if choice == 3:
        return str(at / 1_000)
    if choice == 4:
        return rng.choice(
            (
                "0",
                "-1",
                "-0.0",
                "1",
                "1e11",
                "99999999999.9",
                "1e308",
                "-1e308",
                "1e18",
                "253402300800000",
                str(1 << 53),
            )
        )
    if choice == 5:
        return rng.choice(
            (
                "true",
                "null",
                '""',
                "[]",
                "{}",
                '"now"',
                '"yesterday"',
                '"2026-13-01T00:00:00Z"',
                '"0000-00-00T00:00:00Z"',
            )
        )
    seconds, milliseconds = divmod(max(-62_000_000_000_000, min(at, 253_000_000_000_000)), 1_000)
    text = _civil(seconds)
    if choice == 6:
        return f'"{text}"'  # local, without a zone
    if choice == 7:
        return f'"{text}.{"1" * rng.choice((1, 3, 6, 7, 9, 30))}Z"'
    if choice == 8:
        return f'"{text[:-2]}60Z"'  # a leap second
    if choice == 9:
        return f'"{text}Z+0000"'
    if choice == 10:
        return f'"{text}{rng.choice(("+08:00", "-12:00", "+14:00", "+25:00", "+0800", "-00:00", "+08:00:30", "z", " Z", "Zulu"))}"'
    if choice == 11:
        return f'"{text[:10]}"'
    if choice == 12:
        return f'"{text[:10]}T24:00:00Z"'
    return f'"{text}.{milliseconds:03}Z"'


def _civil(seconds: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


class Mutator:
    """One stream of messages. ``message`` gives the next; the same seed gives the same stream."""

    def __init__(self, seed: int, known: list[str]) -> None:
        self._rng = random.Random(seed)
        self._corpus = corpus()
        self._known = known
        self._packet = 0

    def message(self, now: Instant) -> Message:
        rng = self._rng
        topic = rng.choice(self._known) if rng.random() < 0.93 else self._topic()
        body = self._payload(now)
        self._packet = self._packet % 65_535 + 1
        qos = 0 if rng.random() < 0.1 else 1
        return Message(topic, body[:4_097], qos, rng.random() < 0.05, rng.random() < 0.05, self._packet, 0, now)

    def _topic(self) -> str:
        rng = self._rng
        if rng.random() < 0.8:
            return rng.choice(STRANGE_TOPICS)
        known = rng.choice(self._known)
        place = rng.randrange(len(known) + 1)
        return (
            known[:place]
            + rng.choice(("/", "#", "+", "\0", "x", "家", "\ud7ff", " "))
            + known[place + rng.randrange(2) :]
        )

    def _payload(self, now: Instant) -> bytes:  # noqa: PLR0911 - a list of ways
        rng = self._rng
        choice = rng.randrange(12)
        if choice < 4:
            return self._fields(now)
        body = bytearray(rng.choice(self._corpus))
        if choice == 4:
            return bytes(body)
        if choice == 5:  # bits and bytes
            for _ in range(rng.randrange(1, 4)):
                if body:
                    body[rng.randrange(len(body))] = rng.randrange(256)
            return bytes(body)
        if choice == 6:  # cut, doubled, glued
            place = rng.randrange(len(body) + 1)
            return bytes(rng.choice((body[:place], body[place:], body * 2, body + rng.choice(self._corpus))))
        if choice == 7:
            return rng.choice(
                (b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\xaf", b"\x00", b"\x1b[31m")
            ) + bytes(body)
        if choice == 8:
            return rng.choice(
                (
                    b"[" * 4_000,
                    b'{"a":' * 800,
                    b"[" * 9 + b"]" * 9,
                    b'{"power_w":' + b"[" * 7 + b"]" * 7 + b"}",
                    b" " * 4_000,
                    b"x" * 5_000,
                    b"",
                )
            )
        if choice == 9:  # the same key twice, or twice in other letters
            return b"{" + bytes(body).strip()[1:-1] + b"," + bytes(body).strip()[1:-1] + b"}"
        if choice == 10:
            text = bytes(body).decode("utf-8", "replace")
            return text.encode(rng.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")))
        place = rng.randrange(len(body) + 1)
        return bytes(body[:place]) + rng.choice(NUMBERS).encode() + bytes(body[place:])

    def _fields(self, now: Instant) -> bytes:
        rng = self._rng
        pairs = []
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            name = rng.choice(FIELDS)
            if name in ("ts", "last_seen") or rng.random() < 0.1:
                value = odd_time(rng, now)
            elif rng.random() < 0.2:
                value = f'"{rng.choice(TEXTS)}"'
            else:
                value = rng.choice(NUMBERS)
            pairs.append(f'"{name}": {value}')
        return ("{" + rng.choice((", ", ",", ",\n", ",,")).join(pairs) + "}").encode("utf-8", "surrogatepass")
