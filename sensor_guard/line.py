"""The loop's body: what has arrived is stored and decided; then, and only then, acknowledged, sent and answered.

``app`` turns it with what the inbox gives; a simulation turns it with what its world gives. It starts no thread and
opens nothing: whoever makes it hands it the parts (``Standing``) and a way to wait.
"""

from collections.abc import Callable, Sequence

import structlog

from sensor_guard.clock import Clock
from sensor_guard.core import Core, Turn
from sensor_guard.inbox import Event
from sensor_guard.journal import JournalFullError, JournalUnavailableError
from sensor_guard.model import ClockStepped, Instant, LinkLost
from sensor_guard.notify.backup import OFFER_LIMIT
from sensor_guard.room import Room
from sensor_guard.stall import Stall
from sensor_guard.standing import Standing

WAIT_LIMIT = 1.0
"""Seconds that the loop sleeps at most, so that a step of the clock is noticed within one."""
RETRY_COMMIT = 1.0
"""Seconds between two tries of a commit that the disk refused."""

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
    """

    def __init__(
        self,
        core: Core,
        standing: Standing,
        clock: Clock,
        *,
        pause: Callable[[float], bool],
        turned: Callable[[], None] = lambda: None,
        room: Room | None = None,
    ) -> None:
        self.core = core
        self.standing = standing
        self.clock = clock
        self.wakes: list[Callable[[], None]] = []
        """Called when something new is on disk: the workers that wait for it."""
        self.room = room
        self._pause = pause
        self._stall = Stall(core, standing, clock, wake=self._wake)
        self._turned = turned

    def take(self) -> list[Event]:
        """Wait for what arrives; without the readings while there is no room for them."""
        wait, inbox = self.wait(), self.standing.inbox
        return inbox.take_small(wait) if self.room is not None and self.room.is_tight else inbox.take(wait)

    def step(self, events: Sequence[Event]) -> bool:
        """Take one turn with what has arrived; False when the daemon was stopped before it was on disk."""
        offset, now = self.clock.stepped(), self.clock.now()
        if self.room is not None:
            events = [*events, *self._look_at_room(self.room, now)]
        if offset:
            log.warning("clock.stepped", offset_ms=offset)
            if not self._turn(self.core.turn([ClockStepped(now - offset, offset)], now)):
                return False
            if self.standing.worker is not None:
                self.standing.worker.shift(offset)
        if not self._turn(self.core.turn(events, now)):
            return False
        self._turned()
        return True

    def _look_at_room(self, room: Room, now: Instant) -> list[Event]:
        news: list[Event] = [*room.look(now)]
        counters = self.standing.counters
        was_held, counters.readings_held = counters.readings_held, room.is_tight
        if room.is_tight and not was_held:
            news.append(LinkLost(now))
        elif was_held and not room.is_tight:
            self.standing.take_all_again()
        return news

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
            if not waiting:
                over = self._stall.settled(self.clock.now())
                waiting = [self.core.turn(over, self.clock.now())] if over else []
        return True

    def _committed(self, turn: Turn) -> None:
        messages = turn.messages()
        if messages and self.standing.subscriber is not None:
            self.standing.subscriber.ack(messages)
        if turn.leased:
            assert self.standing.worker is not None
            for notification in turn.leased:
                self.standing.worker.submit(notification)
        if self.standing.worker is not None and self.standing.worker.wants_backup(turn.now):
            self.standing.worker.back_up(self.core.journal.critical_unsent(OFFER_LIMIT))
        for reply, answer in turn.answers:
            reply(answer)
        if turn.items or turn.leased:
            self._wake()

    def _wake(self) -> None:
        for wake in self.wakes:
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
