"""Rows, a journal that holds them, and a mirror's loop on a virtual clock."""

import random
from bisect import bisect_right
from contextlib import contextmanager
from typing import NamedTuple

from sensor_guard.clock import parse_at
from sensor_guard.model import SECOND, Reading, Transition
from sensor_guard.sinks.client import InfluxConnection
from sensor_guard.sinks.influx import InfluxSink
from sensor_guard.sinks.mirror import Mirror
from sensor_guard.sinks.protocol import AlarmEvent

NOON = parse_at("2026-03-01T12:00:00Z")
UNSTORABLE_AT = 10**13  # the year 2286: a time in ns that no InfluxDB can hold, refused with 400


def reading(seq, value=1.5, *, home="home-1", sensor="kitchen_power", quantity="power_w", at=None):
    at = NOON + seq * SECOND if at is None else at
    return seq, Reading(home, sensor, quantity, value, at, at)


def readings(count, *, homes=20):
    """``count`` rows with seq 1 to count, of several homes; every seventh shares its ms with the one before."""
    return [
        reading(seq, seq / 8, home=f"home-{seq % homes}", at=NOON + (seq - (seq % 7 == 0)) * SECOND)
        for seq in range(1, count + 1)
    ]


def alarm_event(seq, event="opened", *, text="", at=None, home="home-1"):
    at = NOON + seq * SECOND if at is None else at
    return seq, AlarmEvent(f"{home}.smoke.20260301T120000Z", home, "smoke", event, "critical", at, text)


class Step(NamedTuple):
    """A step of an alarm as the journal gives it."""

    transition: Transition
    severity: str


def step(seq, before="false", after="true", reason="raised", *, home="home-1"):
    alarm_id = f"{home}.smoke.20260301T120000Z"
    return seq, Step(
        Transition(alarm_id, "condition", before, after, NOON + seq * SECOND, reason, "li", "Mrs Wang"), "critical"
    )


class Journal:
    """The rows, the cursor, the dead letters and the faults, as the daemon's engine thread would keep them."""

    def __init__(self, rows=()):
        self.rows = list(rows)
        self.cursor = 0
        self.letters = []
        self.faults = []
        self.writes = []  # what was written, in order: ("cursor", 7), ("letter", 7)

    def rows_after(self, cursor, limit):
        start = bisect_right(self.rows, cursor, key=lambda row: row[0])
        return self.rows[start : start + limit]

    def head(self):
        return self.rows[-1][0] if self.rows else 0

    def save_cursor(self, cursor):
        self.cursor = cursor
        self.writes.append(("cursor", cursor))

    def bury(self, letter):
        self.letters.append(letter)
        self.writes.append(("letter", letter.seq))

    def mirror(self, sink, **settings):
        """Start a mirror from the stored cursor, as after a start of the daemon."""
        return Mirror(
            sink,
            self,
            cursor=self.cursor,
            save_cursor=self.save_cursor,
            bury=self.bury,
            report=self.faults.append,
            jitter=random.Random(7),
            **settings,
        )

    @property
    def fault_states(self):
        return [fault.active for fault in self.faults]


class Loop:
    """Calls ``step`` and lets the virtual clock pass for as long as it says."""

    def __init__(self, mirror, now=NOON):
        self.mirror = mirror
        self.now = now
        self.steps = 0

    def step(self):
        delay = self.mirror.step(self.now)
        self.now += round(delay * SECOND)
        self.steps += 1
        return delay

    def until_current(self, *, at_most=1_000):
        for _ in range(at_most):
            self.step()
            if self.mirror.status(self.now).state == "current":
                return self
        raise AssertionError(f"not current after {at_most} steps: {self.mirror.status(self.now)}")


@contextmanager
def influx_sink(url, bucket, *, token="secret", timeout=10 * SECOND):
    with connection(url, bucket, token=token, timeout=timeout) as opened:
        yield InfluxSink(opened)


@contextmanager
def connection(url, bucket, *, token="secret", timeout=10 * SECOND):
    read_token = token if callable(token) else lambda: token
    opened = InfluxConnection(url=url, org="community", bucket=bucket, timeout=timeout, read_token=read_token)
    try:
        yield opened
    finally:
        opened.close()


def keys_of(rows):
    """The keys under which InfluxDB holds readings: tags and time."""
    return {
        (noun.home_id, noun.quantity, noun.sensor_id, noun.observed_at * 1_000_000 + seq % 1_000_000)
        for seq, noun in rows
        if isinstance(noun, Reading)
    }


def keys_in(influxd, database):
    """The keys that are really in the database, read past shim and client; the canary's left out."""
    series = influxd.execute("SELECT * FROM reading WHERE \"home\" != 'gateway'", database)
    found = [dict(zip(each["columns"], row, strict=True)) for each in series for row in each["values"]]
    keys = [(row["home"], row["quantity"], row["sensor"], row["time"]) for row in found]
    assert len(keys) == len(set(keys))
    return set(keys)
