"""The loop's body: what has arrived is stored and decided; then, and only then, acknowledged, sent and answered.

``app`` turns it with what the inbox gives; a simulation turns it with what its world gives. It starts no thread and
opens nothing: whoever makes it hands it the parts (``Standing``) and a way to wait.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from sensor_guard.clock import Clock, Synchrony
from sensor_guard.core import Core
from sensor_guard.inbox import Event, set_back
from sensor_guard.journal import JournalFullError, JournalUnavailableError
from sensor_guard.model import (
    ClockKnown,
    ClockStepped,
    Drained,
    Fault,
    Instant,
    LinkLost,
    LinkUp,
    Message,
    Span,
)
from sensor_guard.notify.backup import OFFER_LIMIT
from sensor_guard.room import Room
from sensor_guard.stall import Stall
from sensor_guard.standing import Standing
from sensor_guard.turn import Turn

WAIT_LIMIT = 1.0
"""Seconds that the loop sleeps at most, so that a step of the clock is noticed within one."""
RETRY_COMMIT = 1.0
"""Seconds between two tries of a commit that the disk refused."""

PAUSE_LIMIT = 10.0
"""Seconds without a turn after which what the engine knows is old: a suspend, a SIGSTOP, a disk that refused."""
CATCH_UP_FOR = 3.0
CATCH_UP_LIMIT = 60.0
"""Seconds in which what has waited meanwhile comes in, at least and at most, before anything is decided."""
CLOCK_FAULT = "clock_unsynchronised"
STEPS_LIMIT = 20
"""Steps of the clock that are remembered for what arrived before them; of more the oldest are forgotten."""

_REMEMBERED_FOR = 60.0  # seconds

log = structlog.get_logger(__name__)


class Line:
    """See the module.

    Args:
        core: journal and engine.
        standing: the parts, as far as there are any: who is acknowledged to, who sends.
        clock: ditto.
        pause: waits so many real seconds, or until the daemon is to stop: True then (``threading.Event.wait``).
        room: looks after the room on the disk; without it a full disk is only waited for.
        turned: called after every turn, and after every failed try of a commit: the loop lives.
        synchrony: whether the wall clock can be believed; always, where None.
    """

    def __init__(  # noqa: PLR0913 - all but three are named at the call
        self,
        core: Core,
        standing: Standing,
        clock: Clock,
        *,
        pause: Callable[[float], bool],
        turned: Callable[[], None] = lambda: None,
        room: Room | None = None,
        synchrony: Synchrony | None = None,
    ) -> None:
        self.core = core
        self.standing = standing
        self.clock = clock
        self.wakes: list[Callable[[], None]] = []
        """Called when something new is on disk: who copies all of it."""
        self.tellers: list[Callable[[], None]] = []
        """Called when there is something new to tell: a text, an alarm, a word of a person or of the box. Not for
        readings alone: each of these threads would look into the journal for nothing, while one is fed or told of."""
        self.on_step: list[Callable[[Span], None]] = []
        """Called after a step of the wall clock, before it is on disk: whoever counts by the wall clock."""
        self.room = room
        self._synchrony = synchrony
        self.notices_pauses = False
        """After a pause let what has waited come in first. Not for who lets time pass in large steps."""
        self._last_now: Instant | None = None
        # When the clock was set forward, by how much, and when that was by Clock.monotonic.
        self._steps: list[tuple[Instant, Span, float]] = []
        self._catches_up_since: float | None = None
        self._pause = pause
        self._stall = Stall(
            core, standing, clock, wake=self.wake_tellers, clock_news=self._meanwhile, restamp=self._restamped
        )
        self._turned = turned

    def take(self) -> list[Event]:
        """Wait for what arrives; without the readings while there is no room for them."""
        wait, inbox = self.wait(), self.standing.inbox
        return inbox.take_small(wait) if self.room is not None and self.room.is_tight else inbox.take(wait)

    def step(self, events: Sequence[Event]) -> bool:
        """Take one turn with what has arrived; False when the daemon was stopped before it was on disk.

        Raises:
            JournalCorruptError: the journal is damaged, whoever has found it.
        """
        offset, now = self._look_at_clock()
        if offset:
            self._follow(offset)
            if offset < 0:
                events = set_back(events, offset)
        if self.room is not None:
            events = [*events, *self._look_at_room(self.room, now)]
        news = [*self._pause_news(events, now - offset), *self._clock_news(offset, now)]
        if news:
            if not self._turn(self.core.turn(news, now)):
                return False
            now = self.clock.now()  # the disk may have refused it for hours, and the clock may have been set again
        self._last_now = now
        if not self._turn(self.core.turn(self._restamped(events), now)):
            return False
        self._turned()
        return True

    def _look_at_clock(self) -> tuple[Span, Instant]:
        """Say by how much the clock was set since the last look, and what time it is."""
        real = self.clock.monotonic()
        if self._synchrony is not None:
            self._synchrony.look(real)
        offset, now = self.clock.stepped(), self.clock.now()
        self._steps = [step for step in self._steps if real - step[2] <= _REMEMBERED_FOR]
        if offset > 0:
            self._steps = [*self._steps, (now, offset, real)][-STEPS_LIMIT:]
        elif offset:
            # By the clock of now that step was so much earlier: what comes from here on came after it.
            self._steps = [(at + offset, by, when) for at, by, when in self._steps]
        return offset, now

    def _follow(self, offset: Span) -> None:
        """Let whoever else counts by the wall clock follow a step."""
        if offset < 0:
            # Set ahead, a text that waits is tried at once: too soon, and never too late.
            self.standing.inbox.set_back(offset)
        if self.standing.worker is not None:
            self.standing.worker.shift(offset)
            self.wake_tellers()
        for follow in self.on_step:
            follow(offset)

    def _meanwhile(self, waiting: Sequence[Turn]) -> list[Event]:
        """Give what the engine has to know of the clock before anything that joins ``waiting`` in a stall."""
        real = self.clock.monotonic()
        # What arrived before a step may wait for as long as the stall lasts.
        self._steps = [(at, by, real) for at, by, _ in self._steps]
        offset, now = self._look_at_clock()
        news = self._clock_news(offset, now, waiting)
        if offset:
            self._follow(offset)
            if self._last_now is not None:
                self._last_now += offset
        return news

    def _look_at_room(self, room: Room, now: Instant) -> list[Event]:
        news: list[Event] = [*room.look(now)]
        counters = self.standing.counters
        was_held, counters.readings_held = counters.readings_held, room.is_tight
        if room.is_tight and not was_held:
            news.append(LinkLost(now))
        elif was_held and not room.is_tight:
            self.standing.take_all_again()
        return news

    def _pause_news(self, events: Sequence[Event], now: Instant) -> list[Event]:
        """After a pause stand still where it began, until what has waited in it is in. ``now``: before any step.

        Otherwise a deadline in the pause would fire that a reading, already in the socket, disproves.
        """
        last, real = self._last_now, self.clock.monotonic()
        if self.room is not None and self.room.is_tight:
            self._catches_up_since = None  # readings are left where they are: that story has an end of its own
            return []
        if self._catches_up_since is not None:
            if any(isinstance(event, LinkLost | LinkUp) for event in events) or not self.standing.is_connected():
                self._catches_up_since = None  # the connection did not survive it: its own story tells the rest
                return []
            lasted = real - self._catches_up_since
            if (lasted >= CATCH_UP_FOR and not events and not self.standing.inbox.depth()) or lasted >= CATCH_UP_LIMIT:
                self._catches_up_since = None
                return [Drained(now)]
            return []
        if not self.notices_pauses or last is None or now - last < PAUSE_LIMIT * 1_000 * self.clock.factor:
            return []
        log.warning("loop.paused", ms=now - last)
        if not self.core.engine.drained:
            return []
        self._catches_up_since = real
        return [LinkLost(last)]

    def _restamped(self, events: Sequence[Event]) -> Sequence[Event]:
        """Move the arrival of messages that came before the clock was set forward: they came now, not hours ago.

        Set back, they would have come in the future; the engine takes care of that for itself.
        """
        for at, by, _ in self._steps:
            events = [
                event._replace(received_at=event.received_at + by)
                if isinstance(event, Message) and event.received_at < at - by // 2
                else event
                for event in events
            ]
        return events

    def _clock_news(self, offset: Span, now: Instant, waiting: Sequence[Turn] = ()) -> list[Event]:
        """Give what the engine has to know of the clock, in the order in which it counts.

        waiting: turns that wait for the disk: what they say of it needs not be said again.
        """
        news: list[Event] = []
        if offset:
            log.warning("clock.stepped", offset_ms=offset)
            news.append(ClockStepped(now - offset, offset))
        if self._synchrony is None:
            return news
        was_known, was_wrong = self._told_of_clock(waiting)
        known = self._synchrony.is_known(now, stepped=bool(offset))
        if known != was_known:
            log.warning("clock.known" if known else "clock.doubted", now=now)
            # An absence ends by elapsed time while the clock cannot be believed, so it moves with the step that led
            # there; with the step that led out again too, and then is what was said.
            news.insert(len(news) if known else 0, ClockKnown(now if known else now - offset, known))
        is_wrong = not known or self._synchrony.is_overdue(self.clock.monotonic())
        if is_wrong != was_wrong:
            news.append(Fault(CLOCK_FAULT, is_wrong, now, "" if known else "rules with an hour of the day wait"))
        return news

    def _told_of_clock(self, waiting: Sequence[Turn]) -> tuple[bool, bool]:
        """Say whether the engine believes the clock and whether it knows of its fault, or will with what waits."""
        known, is_wrong = self.core.engine.clock_known, self.core.has_fault(CLOCK_FAULT)
        for item in (item for turn in waiting for item in turn.items):
            if isinstance(item, ClockKnown):
                known = item.known
            elif isinstance(item, Fault) and item.fault_id == CLOCK_FAULT:
                is_wrong = item.active
        return known, is_wrong

    def wait(self) -> float:
        """Say for how many real seconds there is nothing to do unless something arrives."""
        now, worker = self.clock.now(), self.standing.worker
        if worker is None:
            due = self.core.next_due(room_at=now)
        else:
            due = self.core.next_due(room_at=worker.room_at(now), critical_room_at=worker.critical_room_at(now))
        if due is None:
            return WAIT_LIMIT
        return min(WAIT_LIMIT, max(0.0, (due - now) / 1_000 / self.clock.factor))

    def end(self) -> None:
        """Write one last checkpoint, so that the next start replays nothing."""
        try:
            self.core.checkpoint_all(self.clock.now())
        except JournalUnavailableError as error:
            # Nothing is lost: the next start replays a little more.
            log.warning("checkpoint.failed", reason=str(error))

    def _turn(self, turn: Turn) -> bool:
        """Commit a turn, however long it takes, and only then acknowledge, send and answer.

        What is urgent and arrives meanwhile is committed behind it, each in its own turn. False only when the daemon
        is stopped before all of it is on disk: what is not was not acknowledged either, so the broker keeps it.
        """
        waiting = [turn]
        while waiting:
            if not self._commit(waiting):
                return False
            self._committed(waiting.pop(0))
            if self.core.damage is not None:
                raise self.core.damage  # the turn is on disk and acknowledged: the file is mended from here
            if not waiting:
                over = self._stall.settled(self.clock.now())
                waiting = [self.core.turn(over, self.clock.now())] if over else []
        return True

    def _committed(self, turn: Turn) -> None:
        worker, messages = self.standing.worker, turn.messages()
        for notification in turn.leased:
            assert worker is not None
            worker.submit(notification)
        is_wanted = False
        if worker is not None and worker.wants_backup(turn.now):
            with suppress(JournalUnavailableError):  # asked again with the next look
                worker.back_up(self.core.journal.critical_unsent(OFFER_LIMIT))
                is_wanted = True
        if is_wanted or turn.tells():
            self.wake_tellers()  # first: a call for help is out before anybody else is served
        if messages and self.standing.subscriber is not None:
            self.standing.subscriber.ack(messages)
        for reply, answer in turn.answers:
            reply(answer)
        if turn.items or turn.leased:
            for wake in self.wakes:
                wake()

    def wake_tellers(self) -> None:
        """Let those look who tell people. From any thread."""
        for wake in self.tellers:
            wake()

    def _commit(self, waiting: list[Turn]) -> bool:
        """Commit the first turn that waits until the disk takes it; False only when the daemon is stopped before."""
        counters, worker = self.standing.counters, self.standing.worker
        while True:
            turn = waiting[0]
            started = self.clock.monotonic()
            try:
                if worker is None:
                    self.core.commit(turn)
                else:
                    only = worker.takes_critical_only(turn.now)
                    self.core.commit(turn, room=worker.room(turn.now), critical_only=only)
            except JournalUnavailableError as error:
                if isinstance(error, JournalFullError) and self.room is not None and self.room.give_way(turn.now):
                    continue
                self._stall.begins(error)
                self._turned()  # a full disk is no reason to be restarted: nothing is lost while we wait
                if self._pause(RETRY_COMMIT):
                    return False
                self._stall.meanwhile(waiting)
                continue
            counters.commit_ms_max = max(counters.commit_ms_max, (self.clock.monotonic() - started) * 1_000)
            self._stall.ends()
            return True
