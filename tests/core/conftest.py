"""A core on a real journal, fed by hand."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from sensor_guard.core import Core
from sensor_guard.engine.plan import HomePlan, Plan
from sensor_guard.inbox import Request
from sensor_guard.journal import Journal
from sensor_guard.journal.errors import JournalFullError
from sensor_guard.model import (
    DEVICE_TIME,
    GATEWAY,
    KIND_OF_QUANTITY,
    Command,
    DeliveryReport,
    Message,
    Quarantined,
    Reading,
)
from sensor_guard.testing import START, default_ladders, one_sensor_of_each_kind, span
from tests.spec.conftest import GATEWAY_RULES, RULES


def plan(*home_ids: str, rules=None) -> Plan:
    homes = [
        HomePlan(h, "site1", "b1", tuple(one_sensor_of_each_kind()), default_ladders()) for h in home_ids or ("h1",)
    ]
    chosen = RULES + GATEWAY_RULES if rules is None else [r for r in RULES + GATEWAY_RULES if r.rule_id in rules]
    return Plan(tuple(chosen), (*homes, HomePlan(GATEWAY, "", "", (), default_ladders())), lateness=0)


def at(offset="0s") -> int:
    return START + span(offset)


class FakeReader:
    """Topics are home/quantity, payloads a number; "bad" cannot be read."""

    def route(self, message: Message) -> list[Reading] | Quarantined:
        if message.payload == b"bad":
            return Quarantined(message.topic, message.payload, "bad_json", "", message.received_at)
        home_id, quantity, *flags = message.topic.split("/")
        kind = str(KIND_OF_QUANTITY[quantity])
        observed = message.received_at
        return [
            Reading(
                home_id, kind, quantity, float(message.payload), observed, observed, flags=DEVICE_TIME if flags else 0
            )
        ]


class FailingJournal:
    """The real journal; the next ``failing`` commits find the disk full, after everything was written."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.failing = 0

    def __getattr__(self, name):
        return getattr(self._journal, name)

    @contextmanager
    def batch(self, now):
        with self._journal.batch(now) as batch:
            yield batch
            if self.failing:
                self.failing -= 1
                raise JournalFullError("no space is left on the disk")


class Box:
    """A core that can be switched off and on; ``step`` is one turn of the loop."""

    def __init__(self, path: Path, the_plan: Plan, *, channel: str = "console") -> None:
        self.path, self.plan, self.channel = path, the_plan, channel
        self.packet = 0
        self.answers: list[object] = []
        self.on(at())

    def on(self, now: int, **options) -> int:
        self.journal = FailingJournal(Journal.open(self.path))
        self.core = Core(self.journal, self.plan, FakeReader(), channel=self.channel)
        return self.core.restore(now, **options)

    def off(self) -> None:
        self.journal.close()

    def message(self, topic, value, now, *, duplicate=False, packet_id=None, qos=1) -> Message:
        if packet_id is None:
            self.packet = packet_id = self.packet + 1
        return Message(topic, str(value).encode(), qos, False, duplicate, packet_id, 0, now)

    def step(self, offset, *events, room=0):
        now = offset if isinstance(offset, int) else at(offset)
        turn = self.core.turn(events, now)
        self.core.commit(turn, room=room)
        return self.finish(turn)

    def finish(self, turn):
        for reply, answer in turn.answers:
            reply(answer)
        return turn

    def says(self, offset, topic, value, **more):
        return self.step(offset, self.message(topic, value, at(offset), **more))

    def asks(self, offset, kind, target, **more):
        """A command of a person; what he is told."""
        command = Command(f"c{len(self.answers)}", kind, target, "wang", at(offset), **more)
        self.step(offset, Request(command, self.answers.append))
        return self.answers[-1]

    def reports(self, offset, notification, state, **more):
        return self.reports_at(at(offset), notification, state, **more)

    def reports_at(self, now, notification, state, **more):
        return self.step(now, DeliveryReport(notification.notification_id, state, now, **more))

    # -- what is on disk

    def alarms(self) -> list[tuple[str, str, str]]:
        return sorted((a.alarm_id, str(a.condition), str(a.response)) for a in self.journal.reader.alarms())

    def trail(self) -> list[tuple]:
        rows = self.journal.reader._rows("SELECT * FROM trail ORDER BY rowid", ())
        return [tuple(row) for row in rows]

    def outbox(self) -> list[tuple]:
        return [
            tuple(row)
            for row in self.journal.reader._rows(
                "SELECT notification_id, state, recipient_id, attempts FROM outbox ORDER BY rowid", ()
            )
        ]


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path / "journal.db", plan())
    yield made
    assert made.journal.check(full=True) == []
    made.off()
