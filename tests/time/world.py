"""A box with a wall clock that can be set, a machine that can be switched off, and the real loop, core and journal.

True time is what passes; the wall clock is true time and whatever somebody has done to it. CLOCK_BOOTTIME starts afresh
with the machine, not with the process. The loop turns when something arrives or is due, and at most a second late, as
the real one does.
"""

import random
from pathlib import Path

from sensor_guard.clock import Synchrony, SystemClock
from sensor_guard.core import Core
from sensor_guard.decode.times import AHEAD, observed_at
from sensor_guard.health import Counters, Heartbeats
from sensor_guard.inbox import Inbox
from sensor_guard.journal import Journal
from sensor_guard.line import Line
from sensor_guard.model import (
    DAY,
    HOUR,
    KIND_OF_QUANTITY,
    MINUTE,
    SECOND,
    Drained,
    LinkUp,
    Message,
    Reading,
    Span,
)
from sensor_guard.standing import Standing
from sensor_guard.testing import START
from tests.core.conftest import plan

EPOCH = -START
"""A wall clock that is off by this shows 1970."""


class Connected:
    """Stands where the MQTT subscriber stands; always connected."""

    def gauges(self):
        return {"mqtt_bulk_up": 1.0}

    def ack(self, messages):
        pass

    def healthy(self):
        return True


class World:
    """See the module. ``offset``: by how much the wall clock is wrong."""

    def __init__(self, folder: Path, monkeypatch, *rules: str, seed: int = 0) -> None:
        self.true = 0
        self.offset = 0
        self.booted = 0
        self.random = random.Random(seed)
        self.synchronised: bool | None = None
        self._folder, self._rules = folder, rules
        self._packet = 0
        monkeypatch.setattr("sensor_guard.clock._wall_ms", lambda: START + self.true + self.offset)
        monkeypatch.setattr("sensor_guard.clock._boot_ms", lambda: self.true - self.booted)
        monkeypatch.setattr("sensor_guard.clock._boot_id", lambda: str(self.booted))
        monkeypatch.setattr("sensor_guard.clock.time.monotonic", lambda: self.true / SECOND)
        self.raised_at: dict[str, int] = {}  # alarm_id -> true time at which it was on disk
        self.on()

    # -- the box

    def on(self, *, drained: bool = True) -> None:
        clock = SystemClock(self._folder / "clock.json")
        self.journal = Journal.open(self._folder / "journal.db")
        the_plan = plan("h1", rules=self._rules)
        self.core = Core(self.journal, the_plan, _Reader(), channel="console")
        synchrony = Synchrony(self.journal.last_now(), clock.monotonic(), read=lambda: self.synchronised)
        synchrony.look(clock.monotonic())
        self.core.restore(clock.now(), blind_start=True, clock_known=synchrony.is_known(clock.now()))
        counters, self.inbox = Counters(), Inbox()
        standing = Standing(self.core, clock, self.inbox, counters, Heartbeats(), 1, subscriber=Connected())
        self.line = Line(self.core, standing, clock, pause=lambda _s: False, synchrony=synchrony)
        self.line.notices_pauses = True
        self.clock = clock
        if drained:
            self.turn(LinkUp(clock.now(), session_present=True), Drained(clock.now()))

    def off(self) -> None:
        """The process ends without a word (kill -9)."""
        self.journal.close()

    def boot(self, wall_offset: Span) -> None:
        """The machine starts: CLOCK_BOOTTIME from 0, the wall clock where its battery (or none) has it."""
        self.booted, self.offset = self.true, wall_offset

    def step(self, offset: Span) -> None:
        """Somebody sets the wall clock; the loop notices within a second."""
        self.offset += offset
        self.passes(self.random.randint(1, SECOND))

    def right(self) -> None:
        """NTP puts it right."""
        self.synchronised = True
        self.step(-self.offset)

    # -- time and sensors

    def turn(self, *events) -> None:
        assert self.line.step(events)
        for alarm in self.journal.reader.alarms(open_only=True):
            self.raised_at.setdefault(alarm.alarm_id, self.true)

    def passes(self, span: Span) -> None:
        """Let time pass without a word from anybody; turns when something is due, half a second late at most."""
        end = self.true + span
        while self.true < end:
            due = self.core.next_due(room_at=1 << 60)
            ahead = span if due is None else max(1, due - self.clock.now())
            self.true = min(end, self.true + ahead)
            # An idle loop turns every second; what happens in those turns is nothing, so most are left out.
            self.line._last_now = self.clock.now()
            self.turn()

    def says(self, topic: str, value, *, at: int | None = None) -> None:
        self.turn(self.message(topic, value, at=at))

    def message(self, topic: str, value, *, at: int | None = None) -> Message:
        self._packet += 1
        payload = f"{value}@{at}" if at is not None else str(value)
        return Message(topic, payload.encode(), 1, False, False, self._packet, 0, self.clock.now())

    def reads(self, span: Span, *, power_w: float = 3.0, every: Span = 5 * MINUTE, device_time: bool = False) -> None:
        """The meter speaks every 5 min for so long, with a true time of its own or without one."""
        end = self.true + span
        while self.true < end:
            self.says("h1/power_w", power_w, at=START + self.true if device_time else None)
            self.passes(min(every, end - self.true))

    def rose(self, rule_id: str) -> list[int]:
        """Give the true times, in ms, at which alarms of this rule were on disk."""
        return sorted(at for alarm_id, at in self.raised_at.items() if f".{rule_id}." in alarm_id)


class _Reader:
    """Topics are home/quantity, payloads ``value`` or ``value@ms``."""

    def route(self, message):
        home_id, quantity = message.topic.split("/")
        value, _, said = message.payload.decode().partition("@")
        at, flags = observed_at(int(said) if said else None, message.received_at, AHEAD)
        kind = str(KIND_OF_QUANTITY[quantity])
        return [Reading(home_id, kind, quantity, float(value), at, message.received_at, flags=flags)]


STEPS = (2 * HOUR, -2 * HOUR, 30 * DAY, -30 * DAY, EPOCH, 3 * SECOND, -3 * SECOND, 40 * MINUTE, -90 * MINUTE)
