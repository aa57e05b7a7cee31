"""The clock is set while the disk takes nothing: afterwards all is as after a step without a stall."""

import pytest

from sensor_guard.journal import JournalIOError
from sensor_guard.model import HOUR, MINUTE, SECOND, Command, CommandKind, Drained, Fault
from sensor_guard.testing import START
from tests.core.line import FailingJournal
from tests.time.test_steps import LOW, is_on_time
from tests.time.world import EPOCH, Connected, World

IO = JournalIOError("the disk does not write")
SHORT, LONG = 5, 30 * 60
OFFSETS = (2 * HOUR, -2 * HOUR, 30 * 24 * HOUR, -30 * 24 * HOUR)


class Told(Connected):
    """As soon as it is asked, all has been handed over."""

    def __init__(self, world):
        self.world = world

    def drain_again(self):
        self.world.inbox.put(Drained(self.world.clock.now()))


class Stalling(World):
    """A world whose disk can be taken away for some seconds; ``happens``: second of the stall -> what happens then."""

    def on(self, **more):
        super().on(**more)
        self.journal = self.core.journal = FailingJournal(self.journal)
        self.line.standing.subscriber = Told(self)
        self.line._pause = self._pause
        self.second = 0

    def stalls(self, seconds, happens, event):
        """Turn once with ``event``; the disk takes it only after so many seconds."""
        self.journal.error, self.second, self.heals, self.happens = IO, 0, seconds, happens
        self.turn(event)
        while self.inbox.depth():
            self.turn(*self.inbox.take(0))

    def _pause(self, _seconds):
        self.second += 1
        self.true += SECOND
        for happens in self.happens.get(self.second, ()):
            happens()
        if self.second >= self.heals:
            self.journal.error = None
        return False

    def sets(self, offset):
        """Somebody sets the clock; nobody turns for it."""

        def step():
            self.offset += offset

        return step


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = []

    def build(*rules):
        made.append(Stalling(tmp_path, monkeypatch, *rules))
        return made[0]

    yield build
    made[0].journal.close()


@pytest.mark.parametrize("lasts", [SHORT, 8 * 60])
@pytest.mark.parametrize("offset", OFFSETS)
def test_a_hold_is_as_long_as_ever(world, offset, lasts):
    box = world(LOW)
    box.reads(6 * HOUR)
    box.stalls(lasts, {3: [box.sets(offset)]}, box.message("h1/power_w", 3))
    box.reads(7 * HOUR)

    assert is_on_time(box, late=lasts * SECOND), box.raised_at


@pytest.mark.parametrize("offset", OFFSETS)
def test_two_steps_in_one_stall_are_two_steps(world, offset):
    box = world(LOW)
    box.reads(6 * HOUR)
    box.stalls(20, {3: [box.sets(offset)], 5: [box.sets(offset // 2)]}, box.message("h1/power_w", 3))
    box.reads(7 * HOUR)

    assert is_on_time(box, late=20 * SECOND), box.raised_at


def test_a_step_is_no_pause_of_the_loop(world):
    """Five seconds of a stall and two hours of the clock are five seconds."""
    box = world(LOW)
    box.reads(HOUR)
    box.stalls(SHORT, {3: [box.sets(2 * HOUR)]}, box.message("h1/power_w", 3))
    box.turn()

    assert box.core.engine.drained
    assert box.core.engine.now == box.clock.now()


@pytest.mark.parametrize("lasts", [SHORT, LONG])
def test_a_reading_that_waited_through_the_step_came_when_it_came(world, lasts):
    """Used in the stall, before the clock was set two hours ahead: twelve hours begin there, not two hours before."""
    box = world(LOW)
    box.reads(11 * HOUR)
    used = []

    def uses():
        used.append(box.true)
        box.inbox.put(box.message("h1/power_w", 1800))

    box.stalls(lasts, {2: [uses], 4: [box.sets(2 * HOUR)]}, box.message("h1/power_w", 3))
    box.reads(13 * HOUR)

    assert is_on_time(box, used[0], late=lasts * SECOND + 5 * MINUTE), (used, box.raised_at)
    assert all(at > START + 2 * HOUR for at in received(box, 1800.0))


def received(box, value):
    return [row[0] for row in box.journal.reader._rows("SELECT received_at FROM readings WHERE value = ?", (value,))]


def test_the_calendar_and_the_sender_follow_a_step_in_a_stall(world):
    box = world(LOW)
    followed = []
    box.line.on_step.append(followed.append)
    box.stalls(SHORT, {3: [box.sets(2 * HOUR)]}, box.message("h1/power_w", 3))
    box.turn()

    assert followed == [2 * HOUR]


def test_the_sender_follows_a_step_at_once_though_the_disk_refuses_the_word_of_it(world):
    """Set back by two hours it would hold every call for help until the old time of its last one has come again."""
    box = world(LOW)
    followed = []
    box.line.on_step.append(lambda by: followed.append((by, box.second)))
    box.sets(-2 * HOUR)()
    box.stalls(SHORT, {}, box.message("h1/power_w", 3))

    assert followed == [(-2 * HOUR, 0)]


def test_a_clock_that_is_put_right_in_a_stall_is_known_afterwards_and_said_once(world):
    box = world(LOW, "clock_unsynchronised")
    box.off()
    box.boot(EPOCH)
    box.on()
    assert not box.core.engine.clock_known
    fed, feed = [], box.core.engine.feed

    def watched(inputs, now):
        fed.extend(type(item).__name__ for _, item in inputs)
        return feed(inputs, now)

    box.core.engine.feed = watched
    box.synchronised = True
    box.stalls(SHORT, {2: [box.sets(-EPOCH)]}, box.message("h1/power_w", 3))
    box.turn()

    assert box.core.engine.clock_known
    assert fed.count("ClockStepped") == fed.count("ClockKnown") == 1


def test_a_clock_that_goes_back_before_our_time_in_a_stall_is_doubted(world):
    box = world(LOW, "clock_unsynchronised")
    box.synchronised = False
    box.stalls(60, {2: [box.sets(EPOCH)]}, box.message("h1/power_w", 3))

    assert not box.core.engine.clock_known
    assert box.core.has_fault("clock_unsynchronised")
    told = box.journal.reader._rows("SELECT body FROM events WHERE kind = 'fault'", ())
    assert sum("clock_unsynchronised" in str(row[0]) for row in told) == 1


@pytest.mark.parametrize("offset", [2 * HOUR, -2 * HOUR])
def test_a_test_in_a_home_lasts_as_long_as_it_was_to_though_the_clock_is_set_in_a_stall(world, offset):
    """The copy on which a stall decides follows the step with every home, also those that it takes in later."""
    box = world("panic")
    sent = []
    box.line.standing.worker = Sender(sent)
    box.turn(command(box, CommandKind.TEST_MODE, until=box.clock.now() + HOUR))
    cry = {10: [lambda: box.inbox.put(urgent(box, "h1/panic", 1), urgent=True)]}
    box.stalls(60, {3: [box.sets(offset)]} | cry, Fault("influxdb_offline", active=False, at=box.clock.now()))

    assert [text.home_id for text in sent] == []


@pytest.mark.parametrize("offset", [2 * HOUR, -2 * HOUR])
def test_a_step_that_the_engine_has_taken_since_is_not_taken_twice_by_who_is_copied_then(world, offset):
    """At first no transaction can be begun; from the 15th second on it is begun, fed, and not committed."""
    box = world("panic")
    sent = []
    box.line.standing.worker = Sender(sent)
    box.turn(command(box, CommandKind.TEST_MODE, until=box.clock.now() + HOUR))
    box.sets(offset)()
    box.journal.early = True
    happens = {
        15: [lambda: setattr(box.journal, "early", False)],
        20: [lambda: box.inbox.put(urgent(box, "h1/panic", 1), urgent=True)],
    }
    box.stalls(60, happens, Fault("influxdb_offline", active=False, at=box.clock.now()))

    assert [text.home_id for text in sent] == []


@pytest.mark.parametrize("offset", [2 * HOUR, -2 * HOUR])
def test_the_copy_and_the_engine_come_to_the_same_texts(world, offset):
    box = world("panic")
    sent = []
    box.line.standing.worker = Sender(sent)
    cry = {10: [lambda: box.inbox.put(urgent(box, "h1/panic", 1), urgent=True)]}
    box.stalls(60, {3: [box.sets(offset)]} | cry, Fault("influxdb_offline", active=False, at=box.clock.now()))

    rows = box.journal.reader._rows("SELECT notification_id, recipient_id FROM outbox ORDER BY rowid", ())
    assert [(text.notification_id, text.recipient_id) for text in sent] == rows != []


def test_a_clock_that_somebody_sets_by_hand_in_a_stall_is_believed(world):
    """It stood three hours behind the journal at the start; nobody keeps it, but somebody has looked at it now."""
    box = world(LOW)
    box.synchronised = False
    box.reads(5 * MINUTE)
    box.off()
    box.boot(-3 * HOUR)
    box.on()
    assert not box.core.engine.clock_known
    box.stalls(SHORT, {2: [box.sets(HOUR)]}, box.message("h1/power_w", 3))
    box.turn()

    assert box.core.engine.clock_known


def test_an_absence_ends_though_the_clock_falls_back_to_1970_in_a_stall(world):
    box = world(LOW)
    box.synchronised = False
    box.turn(command(box, CommandKind.AWAY, until=box.clock.now() + 2 * HOUR))
    box.stalls(SHORT, {2: [box.sets(EPOCH)]}, box.message("h1/power_w", 3))
    box.passes(HOUR)
    assert box.core.engine.homes["h1"].is_away
    box.passes(HOUR)

    assert not box.core.engine.homes["h1"].is_away


def command(box, kind, **more):
    return Command("c1", kind, "h1", "wang", box.clock.now(), **more)


def urgent(box, topic, value):
    return box.message(topic, value)._replace(urgent=True)


class Sender:
    """Takes every text and says nothing of it."""

    def __init__(self, sent):
        self.submit = sent.append

    def room(self, _now):
        return 100

    def takes_critical_only(self, _now):
        return False

    wants_backup = takes_critical_only

    def shift(self, offset):
        pass
