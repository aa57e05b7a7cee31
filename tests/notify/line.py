"""What stands around the worker in the daemon, made small: a clock, an outbox that keeps its table, names and words."""

import random
from dataclasses import dataclass, field, replace
from itertools import count
from zoneinfo import ZoneInfo

from sensor_guard.clock import parse_at
from sensor_guard.config.settings import TwilioSettings
from sensor_guard.journal.outbox import next_state
from sensor_guard.model import (
    HOUR,
    DeliveryReport,
    Fault,
    Notification,
    NotificationKind,
    NotificationState,
    Severity,
)
from sensor_guard.notify.limits import Limits, urgency
from sensor_guard.notify.protocol import Notifier
from sensor_guard.notify.twilio import TwilioNotifier
from sensor_guard.notify.worker import SmsWorker
from tests.fakes.twilio import ACCOUNT_SID, AUTH_TOKEN, SENDER, FakeTwilio

START = parse_at("2026-03-02T08:15:00+08:00")
CODE_LETTERS = "CDFGHJKMNPQRTVWXY34679"
WIDE = Limits(per_second=50, burst=50, per_day=10_000, per_day_critical=10_000, waiting=50)
"""Limits that are not what a test is about."""


@dataclass
class Clock:
    at: int = START

    def now(self) -> int:
        return self.at


@dataclass
class Person:
    name: str = "王芳"
    phone: str = "+8613800000001"
    language: str = "zh"


@dataclass
class Names:
    """A directory. People are made on demand: contact ``p7`` has a number that ends in 7."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))
    people: dict[str, Person] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    labels: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)

    def contact(self, contact_id: str, /) -> Person | None:
        if contact_id in self.gone or not contact_id:
            return None
        number = int("".join(filter(str.isdecimal, contact_id)) or "0")
        return self.people.setdefault(contact_id, Person(f"人{number}", f"+8613800{number:06}"))

    def label(self, home_id: str, /) -> str:
        return self.labels.get(home_id, "3号楼301")

    def name(self, rule_id: str, language: str, /) -> str:
        return self.rules.get(rule_id, {"zh": "用电过低", "en": "Electricity low"}[language])

    def message(self, rule_id: str, language: str, /) -> str:
        words = {
            "zh": "{home} 用电低于5W已{held}，请上门查看",
            "en": "{home}: power below 5 W for {held}. Go and look.",
        }
        return self.messages.get(rule_id, words[language])


def params(**more: object) -> tuple[tuple[str, str], ...]:
    held = {"since_ms": START - 12 * HOUR, "held_ms": 12 * HOUR, "observed_ms": 12 * HOUR, "blind_ms": 0, "count": 1}
    return tuple(sorted((key, str(value)) for key, value in {**held, **more}.items()))


def code_of(number: int) -> str:
    letters = []
    for _ in range(4):
        number, letter = divmod(number, len(CODE_LETTERS))
        letters.append(CODE_LETTERS[letter])
    return "".join(letters)


_numbers = count(1)


def text(
    recipient: str = "p1",
    *,
    kind: str = NotificationKind.ALARM,
    severity: str = Severity.WARNING,
    due_at: int = START,
    **more: object,
) -> Notification:
    """Make a notification with an id and a code of its own, as the outbox would hand it out first."""
    number = next(_numbers)
    alarm_id = f"h{number}.electricity_low.20260302T001500Z"
    given = {"params": params(), "code": code_of(number), "alarm_at": due_at, **more}
    return Notification(
        f"{alarm_id}.1", alarm_id, f"h{number}", "electricity_low", kind, severity, 0, recipient, due_at, **given
    )


def settings(twilio: FakeTwilio, **more: object) -> TwilioSettings:
    written = {
        "account_sid": ACCOUNT_SID,
        "from": SENDER,
        "validity": "10m",
        "timeout": "1s",
        "base_url": twilio.url,
        **more,
    }
    return TwilioSettings.model_validate({key: value for key, value in written.items() if value is not None})


def notifier(twilio: FakeTwilio, **more: object) -> TwilioNotifier:
    return TwilioNotifier(settings(twilio, **more), lambda: AUTH_TOKEN)


class Line:
    """The worker between an outbox and a channel, on virtual time."""

    def __init__(self, channel: Notifier, clock: Clock, *, names: Names | None = None, limits: Limits = WIDE) -> None:
        self.clock = clock
        self.names = names or Names()
        self.rows: dict[str, Notification] = {}
        self.reports: list[DeliveryReport] = []
        self.faults: list[Fault] = []
        self.leases = 0
        self.channel = channel
        self.limits = limits
        self.worker = self.make_worker()

    def make_worker(self) -> SmsWorker:
        return SmsWorker(
            self.channel,
            self.names,
            report=self.take_report,
            tell=self.faults.append,
            limits=self.limits,
            jitter=random.Random(7),
        )

    def take_report(self, report: DeliveryReport) -> None:
        self.reports.append(report)
        row = self.rows[report.notification_id]
        after = next_state(row.state, report.state)
        assert after is not None, f"{row.state} -> {report.state} is no way of the outbox"
        due_at = report.retry_at if report.retry_at is not None else row.due_at
        receipt_id = None if after is NotificationState.PENDING else report.receipt_id or row.receipt_id
        self.rows[report.notification_id] = replace(row, state=after, due_at=due_at, receipt_id=receipt_id)

    def write(self, *notifications: Notification) -> None:
        for one in notifications:
            self.rows[one.notification_id] = one

    def lease(self) -> None:
        due = [row for row in self.rows.values() if row.state == NotificationState.PENDING]
        due = [row for row in due if row.due_at <= self.clock.at]
        due.sort(key=lambda row: (urgency(row), -row.alarm_at))
        if self.worker.takes_critical_only(self.clock.at):
            due = [row for row in due if row.severity == Severity.CRITICAL]
        for row in due[: self.worker.room(self.clock.at)]:
            leased = replace(
                row, state=NotificationState.SENDING, attempts=row.attempts + 1, attempted_at=self.clock.at
            )
            self.rows[row.notification_id] = leased
            self.leases += 1
            self.worker.submit(leased)

    def turn(self) -> None:
        """Do what can be done now, then let time pass until the next thing."""
        self.lease()
        wait = self.worker.step(self.clock.at)
        if wait == 0:
            return
        now = self.clock.at
        waiting = [
            (
                row.due_at,
                self.worker.critical_room_at if row.severity == Severity.CRITICAL else self.worker.room_at,
            )
            for row in self.rows.values()
            if row.state == NotificationState.PENDING
        ]
        nexts = [now + round(wait * 1_000), *(max(due, room_at(now)) for due, room_at in waiting)]
        self.clock.at = max(now + 1, min(nexts))

    def run(self, span: int) -> None:
        """Let this much time pass."""
        end = self.clock.at + span
        while self.clock.at < end:
            self.turn()
        self.clock.at = end

    def settle(self, limit: int = 24 * HOUR) -> None:
        """Go on until every text has been accepted, delivered or failed."""
        end = self.clock.at + limit
        ended = (NotificationState.ACCEPTED, NotificationState.DELIVERED, NotificationState.FAILED)
        while not all(row.state in ended for row in self.rows.values()):
            assert self.clock.at < end, "it does not come to an end"
            self.turn()

    def restart(self) -> None:
        """Kill the process: what was being sent is ambiguous, what is open is adopted by a new one."""
        for key, row in self.rows.items():
            if row.state == NotificationState.SENDING:
                self.rows[key] = replace(row, state=NotificationState.AMBIGUOUS)
        self.worker = self.make_worker()
        for row in self.rows.values():
            if row.state in (NotificationState.AMBIGUOUS, NotificationState.ACCEPTED):
                self.worker.adopt(row)

    def states(self) -> list[str]:
        return [str(row.state) for row in self.rows.values()]

    def told(self) -> list[tuple[str, str]]:
        return [(str(report.state), report.reason) for report in self.reports]

    def down(self) -> list[bool]:
        return [fault.active for fault in self.faults]
