"""The daemon's line without its threads: real journal, core, loop body and worker on virtual time.

Nothing is left out between a reading and the provider but the sockets of MQTT; a kill forgets everything that is not on
disk.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from sensor_guard.core import Core
from sensor_guard.engine.plan import Condition, Form, HomePlan, Ladder, Plan, Rule, Sensor, Step
from sensor_guard.health import Counters, Heartbeats
from sensor_guard.inbox import Inbox
from sensor_guard.journal import Journal
from sensor_guard.line import Line
from sensor_guard.model import (
    DAY,
    DEVICE_TIME,
    GATEWAY,
    KIND_OF_QUANTITY,
    MINUTE,
    Command,
    CommandKind,
    DeliveryReport,
    Fault,
    Message,
    Quarantined,
    Reading,
    Severity,
    Span,
)
from sensor_guard.notify.limits import Limits
from sensor_guard.notify.protocol import Notifier
from sensor_guard.notify.worker import SmsWorker
from sensor_guard.parts import take_over
from sensor_guard.standing import Standing
from sensor_guard.testing import VirtualClock
from tests.notify.line import START, Names

PANIC = Rule("panic", Condition(Form.IS, "panic"), Severity.CRITICAL, "urgent", latched=True)
DOOR = Rule("door", Condition(Form.IS, "door"), Severity.WARNING, "welfare", latched=True)
NEVER = 400 * DAY


def plan(
    home_count: int,
    *steps: Sequence[str],
    people: Callable[[int], Sequence[Sequence[str]]] | None = None,
    repeat_every: Span = NEVER,
) -> Plan:
    """Homes with a panic button and a door; who is told: ``steps``, ten minutes apart, or ``people`` of each home."""

    def ladders(home: int) -> tuple[tuple[str, Ladder], ...]:
        told = people(home) if people is not None else steps
        rungs = tuple(Step(place * 10 * MINUTE, tuple(who)) for place, who in enumerate(told))
        ladder = Ladder(rungs, repeat_every, NEVER)
        return (("welfare", ladder), ("urgent", ladder))

    sensors = (Sensor("panic", "panic", NEVER), Sensor("door", "door", NEVER))
    homes = [HomePlan(f"h{home}", "site1", "b1", sensors, ladders(home)) for home in range(home_count)]
    return Plan((PANIC, DOOR), (*homes, HomePlan(GATEWAY, "", "", (), ladders(0))), lateness=0)


class Decoder:
    """A topic is home/quantity, a payload a number."""

    def route(self, message: Message) -> list[Reading] | Quarantined:
        home_id, quantity = message.topic.split("/")
        at = message.received_at
        kind = str(KIND_OF_QUANTITY[quantity])
        return [Reading(home_id, kind, quantity, float(message.payload), at, at, flags=DEVICE_TIME)]


@dataclass
class Box:
    """``open_channel`` makes the channel anew at each start, as a new process would."""

    path: Path
    plan: Plan
    open_channel: Callable[[], Notifier]
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(START))
    names: Names = field(default_factory=Names)
    limits: Limits = field(default_factory=Limits)
    backup: Sequence[tuple[str, Notifier]] = ()

    def __post_init__(self) -> None:
        self._packets = count(1)
        self.faults: list[Fault] = []
        self.kills = 0
        self.start()

    def start(self) -> None:
        self.events: list[object] = []
        self.journal = Journal.open(self.path)
        # A kill loses nothing that was committed; that a power cut does not either is the journal's own test.
        self.journal._db.execute("PRAGMA synchronous = OFF")
        self.core = Core(self.journal, self.plan, Decoder(), channel="twilio")
        self.differences = self.core.restore(self.clock.now())
        self.worker = SmsWorker(
            self.open_channel(),
            self.names,
            report=self._take,
            tell=self._tell,
            limits=self.limits,
            jitter=random.Random(self.kills),
            backup=self.backup,
        )
        take_over(self.worker, self.journal, self.clock.now())
        standing = Standing(self.core, self.clock, Inbox(), Counters(), Heartbeats(), 1, worker=self.worker)
        self.line = Line(self.core, standing, self.clock, pause=lambda _seconds: True)

    def _take(self, report: DeliveryReport) -> None:
        self.events.append(report)

    def _tell(self, fault: Fault) -> None:
        self.faults.append(fault)
        self.events.append(fault)

    def kill(self) -> None:
        """End the process with whatever it was at, and start another."""
        self.journal.close()
        self.kills += 1
        self.start()

    def close(self) -> None:
        assert self.journal.check(full=True) == []
        self.journal.close()

    # -- what happens

    def commit(self, *events: object) -> None:
        """Take one turn of the loop: what has come in, and what the worker has said, is on disk; texts are leased."""
        taken, self.events = [*self.events, *events], []
        assert self.line.step(taken)

    def turn(self, until: int | None = None) -> None:
        """Take one turn of everything, then let time pass until the next thing."""
        self.commit()
        wait = self.worker.step(self.clock.now())
        if wait == 0 or self.events:
            return
        now, worker = self.clock.now(), self.worker
        due = self.core.next_due(room_at=worker.room_at(now), critical_room_at=worker.critical_room_at(now))
        nexts = [now + round(wait * 1_000), *([] if due is None else [due])]
        if self.backup:  # the loop looks every second
            nexts.append(now + 1_000)
        self.clock.at = max(now + 1, min([*nexts, *([] if until is None else [until])]))

    def run(self, duration: Span) -> None:
        end = self.clock.at + duration
        while self.clock.at < end:
            self.turn(end)

    def settle(self, limit: Span = 10 * DAY) -> None:
        """Go on until nothing waits and nothing is in doubt."""
        end = self.clock.at + limit
        while self.waiting() or self.events:
            assert self.clock.at < end, "it does not come to an end"
            for _ in range(20):
                self.turn()

    def cry(self, *homes: int, quantity: str = "panic") -> None:
        """Raise an alarm in each of these homes, all within one batch."""
        now = self.clock.now()
        self.commit(
            *(Message(f"h{home}/{quantity}", b"1", 1, False, False, next(self._packets), 0, now) for home in homes)
        )

    def answer(self, home: int, rule: str = "door", by: str = "p1") -> None:
        (alarm,) = [one for one in self.journal.reader.alarms(home_id=f"h{home}") if one.rule_id == rule]
        self.commit(Command(f"c{alarm.alarm_id}", CommandKind.ACKNOWLEDGE, alarm.alarm_id, by, self.clock.now()))

    # -- what is on disk

    def rows(self, sql: str, *values: object) -> list[tuple]:
        return self.journal.reader._rows(sql, values)

    def waiting(self) -> int:
        sql = "SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending', 'ambiguous')"
        return self.rows(sql)[0][0]

    def states(self, where: str = "kind <> 'digest'") -> dict[str, int]:
        return dict(self.rows(f"SELECT state, count(*) FROM outbox WHERE {where} GROUP BY state"))

    def codes(self, where: str = "1") -> list[str]:
        return [row[0] for row in self.rows(f"SELECT code FROM outbox WHERE {where} ORDER BY rowid")]


def tally(box: Box, bodies: Sequence[str]) -> tuple[int, int]:
    """Count texts of their own that nobody was sent, and those sent too often; a code names a text."""
    sent: dict[str, int] = {}
    for body in bodies:
        code = body[body.rindex("[") + 1 : body.rindex("]")]
        sent[code] = sent.get(code, 0) + 1
    wanted = box.codes("folded_into IS NULL AND state NOT IN ('cancelled', 'failed')")
    return sum(code not in sent for code in wanted), sum(sent.values()) - len(sent)
