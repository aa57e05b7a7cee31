"""The loop on virtual time, on a real journal, with a disk that fails when it is told to."""

from contextlib import contextmanager

from sensor_guard.core import Core
from sensor_guard.health import Counters, Heartbeats
from sensor_guard.inbox import Inbox, Request
from sensor_guard.journal import Journal
from sensor_guard.line import Line
from sensor_guard.model import Command, DeliveryReport, Drained, Message
from sensor_guard.standing import Standing
from sensor_guard.testing import VirtualClock
from tests.core.conftest import FakeReader, at


class FailingJournal:
    """The real journal; ``error`` is what every commit meets while it is set.

    ``early``: as the transaction begins (read-only, busy); else as it is committed (full, I/O), after everything.
    """

    def __init__(self, journal):
        self._journal = journal
        self.error = None
        self.early = False

    def __getattr__(self, name):
        return getattr(self._journal, name)

    @contextmanager
    def batch(self, now):
        if self.error and self.early:
            raise self.error
        with self._journal.batch(now) as batch:
            yield batch
            if self.error:
                raise self.error


class FakeWorker:
    """Takes any number of texts and sends them at once."""

    def __init__(self, inbox, clock):
        self.inbox, self.clock = inbox, clock
        self.sent = []
        self.shifts = []
        self.reports = True

    def room(self, _now):
        return 100

    def room_at(self, now):
        return now

    critical_room_at = room_at

    def takes_critical_only(self, _now):
        return False

    def wants_backup(self, _now):
        return False

    def back_up(self, notifications):
        """There is no second way here."""

    def submit(self, notification):
        self.sent.append(notification)
        if self.reports:
            self.inbox.put(DeliveryReport(notification.notification_id, "delivered", self.clock.now(), "", "SM1"))

    def shift(self, offset):
        self.shifts.append(offset)

    def told(self):
        return [(text.notification_id, text.recipient_id) for text in self.sent]


class FakeSubscriber:
    """Remembers what was acknowledged; all has been handed over as soon as it is asked."""

    def __init__(self, inbox, clock):
        self.inbox, self.clock = inbox, clock
        self.acked = []
        self.drains = 0

    def ack(self, messages):
        self.acked += [(message.topic, message.packet_id) for message in messages]

    def drain_again(self):
        self.drains += 1
        self.inbox.put(Drained(self.clock.now()))


class Bench:
    """``meanwhile``: second of the stall -> what happens then; ``heals``: the second from which the disk works."""

    def __init__(self, path, the_plan, *, room=None, now=None):
        self.clock = VirtualClock(at() if now is None else now)
        self.inbox = Inbox(linger=0)
        self.journal = FailingJournal(Journal.open(path))
        self.core = Core(self.journal, the_plan, FakeReader(), channel="console")
        self.core.restore(self.clock.now())
        self.counters = Counters()
        self.standing = Standing(self.core, self.clock, self.inbox, self.counters, Heartbeats(), home_count=1)
        self.worker = self.standing.worker = FakeWorker(self.inbox, self.clock)
        self.subscriber = self.standing.subscriber = FakeSubscriber(self.inbox, self.clock)
        self.room = room and room(self)
        self.line = Line(self.core, self.standing, self.clock, pause=self.pause, room=self.room)
        self.answers = []
        self.packet = 0
        self.second = 0
        self.meanwhile = {}
        self.heals = None

    def fails(self, error, *, early=False, heals, meanwhile=None):
        self.journal.error, self.journal.early = error, early
        self.second, self.heals, self.meanwhile = 0, heals, meanwhile or {}

    def pause(self, seconds):
        assert seconds == 1.0
        self.second += 1
        self.clock.passes("1s")
        for happens in (self.meanwhile.get(self.second),):
            if happens:
                happens()
        if self.heals is None:
            return True
        if self.second >= self.heals:
            self.journal.error = None
        return False

    def message(self, topic, value, *, urgent=False, packet_id=None):
        self.packet += 1
        packet = self.packet if packet_id is None else packet_id
        return Message(topic, str(value).encode(), 1, False, False, packet, 0, self.clock.now(), urgent=urgent)

    def says(self, topic, value):
        """A message arrives: smoke and panic over the urgent connection."""
        urgent = topic.split("/")[1] in ("panic", "smoke")
        self.inbox.put(self.message(topic, value, urgent=urgent), urgent=urgent)

    def asks(self, kind, target, **more):
        command = Command(f"c{self.packet}", kind, target, "wang", self.clock.now(), **more)
        self.packet += 1
        self.inbox.put(Request(command, self.answers.append), urgent=True)

    def turn(self):
        # Never a wait: time passes only where a test says so.
        is_tight = self.room is not None and self.room.is_tight
        events = self.inbox.take_small(0) if is_tight else self.inbox.take(0)
        return self.line.step(events)

    def turns(self):
        """Until nothing is left to be taken."""
        while self.inbox.depth():
            assert self.turn()

    def turns_once(self):
        """What can be taken now is taken; readings may stay where they are."""
        before = -1
        while self.inbox.depth() not in (0, before):
            before = self.inbox.depth()
            assert self.turn()
        assert self.turn()

    def outbox(self):
        return self.journal.reader._rows(
            "SELECT notification_id, recipient_id, state, attempts FROM outbox ORDER BY rowid", ()
        )

    def alarms(self):
        return sorted((a.alarm_id, str(a.condition), str(a.response)) for a in self.journal.reader.alarms())

    def off(self):
        self.journal.close()
