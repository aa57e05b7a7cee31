"""The one door to the engine's thread: messages, commands, reports, faults; the urgent lane first.

Other threads put, only the engine's thread takes. Everything is handed over in the order in which it came within
its lane. A batch is what has arrived, never a wait for N messages; the bulk lane alone may linger, so that a cheap
disk is not written once per message.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from sensor_guard.config import WrittenPlan
from sensor_guard.model import (
    ClockKnown,
    ClockStepped,
    Command,
    DeliveryReport,
    Drained,
    Fault,
    Input,
    Instant,
    LinkLost,
    LinkUp,
    Message,
    NotificationState,
    Span,
)

BATCH_LIMIT = 500
"""Most events of one batch, the receive maximum of the bulk connection."""
COMPANY = 10
"""Messages from which on a commit is cheap enough for a lane that has stopped growing."""
QUIET = 0.005
"""Real seconds without a new message after which it has."""
_SLICES = 10  # a linger ends after so many looks
BEST_EFFORT_LIMIT = 10_000
"""QoS 0 ignores the receive maximum: beyond this many waiting, the newest QoS 0 message is dropped and counted."""


@dataclass(slots=True)
class NewPlan:
    """Another configuration, to be put in force: in the journal it is a PlanChanged.

    ``taken`` is called on the engine's thread when it is on disk: the other parts follow.
    """

    written: WrittenPlan
    taken: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Request:
    """An input that somebody waits for: ``reply`` is called on the engine's thread after the commit.

    ``event`` is the input, or a question: a callable that the engine's thread calls without changing anything.
    ``reply`` gets None when the input was taken, else the text of the refusal; for a question, its answer.
    """

    event: Input | NewPlan | Callable[[], object]
    reply: Callable[[object], None]


@dataclass(slots=True)
class Work:
    """Something for the engine's thread to write that decides nothing: a sink's cursor, say.

    ``apply`` is called with the journal's open batch.
    """

    apply: Callable[..., object]


@dataclass(slots=True)
class Probe:
    """Proves that the loop turns, and may ask how it stands. Nothing of it is written.

    ``reply`` is called on the engine's thread when the turn that it came with is over, with the answer to ``question``.
    """

    reply: Callable[[object], None]
    question: Callable[[], object] | None = None


Event: TypeAlias = (
    Message
    | Request
    | Command
    | DeliveryReport
    | LinkLost
    | LinkUp
    | Drained
    | Fault
    | ClockStepped
    | ClockKnown
    | NewPlan
    | Work
    | Probe
)
"""What may be put."""
_SMALL = (Probe, Request, Command, DeliveryReport, Fault, NewPlan, Work)
"""What is no reading, and says nothing of where the readings stand."""
_TAKEN = (NotificationState.ACCEPTED, NotificationState.DELIVERED)


class Inbox:
    """Two lanes and a wake-up. ``linger``: longest wait in real seconds of a bulk message for company."""

    def __init__(self, *, linger: float = 0.25, linger_count: int = BATCH_LIMIT // 2) -> None:
        self._linger = linger
        self._linger_count = linger_count
        self._window = 0
        self._turning_points = {COMPANY, linger_count}
        self._urgent: deque[Event] = deque()
        self._bulk: deque[Event] = deque()
        self._condition = threading.Condition()
        self._closed = False
        self._passed_over = False
        self.dropped_count = 0

    def put(self, event: Event, *, urgent: bool = False) -> bool:
        """Hand over an event; False if it was a QoS 0 message too many and has been dropped."""
        with self._condition:
            if urgent:
                self._urgent.append(event)
                self._condition.notify()
                return True
            waiting = len(self._bulk)
            if waiting >= BEST_EFFORT_LIMIT and isinstance(event, Message) and event.qos == 0:
                self.dropped_count += 1
                return False
            self._bulk.append(event)
            if waiting == 0 or waiting + 1 in self._turning_points:
                self._condition.notify()
            return True

    def take(self, timeout: float) -> list[Event]:
        """Take what has arrived: the urgent lane alone if it holds anything, else up to 500 of the bulk lane.

        Waits at most ``timeout`` real seconds for the first event; an empty list means that time is up, or that
        ``close`` or ``wake`` was called. A bulk lane that was passed over once is taken with the next call, behind
        whatever is urgent then: however many people ask, readings are never starved.
        """
        with self._condition:
            if not self._urgent and not self._bulk and not self._closed:
                self._condition.wait(timeout)
            if not self._urgent and self._bulk and not self._passed_over and len(self._bulk) < self._linger_count:
                self._keep_company()
            taken = list(self._urgent)
            self._urgent.clear()
            if taken and self._bulk and not self._passed_over:
                self._passed_over = True
                return taken
            self._passed_over = False
            if len(self._bulk) <= BATCH_LIMIT:
                taken.extend(self._bulk)
                self._bulk.clear()
            else:
                taken.extend([self._bulk.popleft() for _ in range(BATCH_LIMIT)])
            return taken

    def take_urgent(self) -> list[Event]:
        """Take the urgent lane, without waiting: while the disk takes nothing, only these may join what waits."""
        with self._condition:
            taken = list(self._urgent)
            self._urgent.clear()
            return taken

    def take_small(self, timeout: float) -> list[Event]:
        """Take the urgent lane and what is no reading, while there is no room for readings.

        Messages and what is said of the connection stay, in their order: what is not taken is not acknowledged, so
        the broker keeps it and sends no more than its receive maximum.
        """
        with self._condition:
            if not self._urgent and not any(isinstance(event, _SMALL) for event in self._bulk) and not self._closed:
                self._condition.wait(timeout)
            taken = list(self._urgent)
            self._urgent.clear()
            taken += [event for event in self._bulk if isinstance(event, _SMALL)]
            kept = [event for event in self._bulk if not isinstance(event, _SMALL)]
            self._bulk.clear()
            self._bulk.extend(kept)
            return taken

    def take_retries(self, notification_ids: Collection[str], now: Instant) -> list[DeliveryReport]:
        """Take the reports by which one of these texts is to be tried again, if that is due now."""
        with self._condition:
            kept: list[Event] = []
            taken: list[DeliveryReport] = []
            for event in self._bulk:
                if (
                    isinstance(event, DeliveryReport)
                    and event.state == NotificationState.PENDING
                    and event.notification_id in notification_ids
                    and (event.retry_at or 0) <= now
                ):
                    taken.append(event)
                else:
                    kept.append(event)
            if taken:
                self._bulk.clear()
                self._bulk.extend(kept)
            return taken

    def set_back(self, offset: Span) -> None:
        """The clock was set back, by a negative ``offset``: what is to be tried again waits no longer for that."""
        with self._condition:
            moved = set_back(self._bulk, offset)
            self._bulk.clear()
            self._bulk.extend(moved)

    def taken_texts(self) -> set[str]:
        """Name the texts that the provider has taken, or the person has, by the reports that wait here."""
        with self._condition:
            return {
                event.notification_id
                for event in self._bulk
                if isinstance(event, DeliveryReport) and event.state in _TAKEN
            }

    def forget_drained(self) -> None:
        """Take out every word that all has been handed over: readings were left where they were since it was said."""
        with self._condition:
            kept = [event for event in self._bulk if not isinstance(event, Drained)]
            self._bulk.clear()
            self._bulk.extend(kept)

    def _keep_company(self) -> None:
        """Let a message wait for others: until an urgent event, the half-full lane or the end of the linger.

        A broker whose window is smaller than half our lane says nothing more until it is acknowledged: to linger then
        is to stand still (20 messages a quarter of a second with mosquitto's own setting). So a lane that has stopped
        growing is taken, and where it stopped is remembered: that is the window.
        """
        grown = 0
        slice_ = self._linger / _SLICES
        for _ in range(_SLICES):
            waiting = len(self._bulk)
            if self._urgent or self._closed or waiting >= self._linger_count or waiting == self._window:
                return
            if waiting < COMPANY:
                self._condition.wait(slice_)
            elif waiting > grown:
                grown = waiting
                self._condition.wait(min(slice_, QUIET))
            else:
                self._window = waiting
                self._turning_points = {COMPANY, self._linger_count, waiting}
                return

    def wake(self) -> None:
        """End a wait in ``take`` early."""
        with self._condition:
            self._condition.notify()

    def close(self) -> None:
        """No more waiting: ``take`` returns at once with what is left."""
        with self._condition:
            self._closed = True
            self._condition.notify()

    def depth(self) -> int:
        """Count what waits."""
        return len(self._urgent) + len(self._bulk)


def set_back(events: Iterable[Event], offset: Span) -> list[Event]:
    """Give events with the times of their reports as they are after a step of the clock."""
    return [
        replace(event, at=event.at + offset, retry_at=event.retry_at + offset)
        if isinstance(event, DeliveryReport) and event.retry_at is not None
        else event
        for event in events
    ]
