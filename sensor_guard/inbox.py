"""The one door to the engine's thread: messages, commands, reports, faults; the urgent lane first.

Other threads put, only the engine's thread takes. Everything is handed over in the order in which it came within
its lane. A batch is what has arrived, never a wait for N messages; the bulk lane alone may linger, so that a cheap
disk is not written once per message.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sensor_guard.model import (
    ClockStepped,
    Command,
    DeliveryReport,
    Drained,
    Fault,
    Input,
    LinkLost,
    LinkUp,
    Message,
    PlanChanged,
)

BATCH_LIMIT = 500
"""Most events of one batch, the receive maximum of the bulk connection."""
BEST_EFFORT_LIMIT = 10_000
"""QoS 0 ignores the receive maximum: beyond this many waiting, the newest QoS 0 message is dropped and counted."""


@dataclass(slots=True)
class Request:
    """An input that somebody waits for: ``reply`` is called on the engine's thread after the commit.

    ``event`` is the input, or a question: a callable that the engine's thread calls without changing anything.
    ``reply`` gets None when the input was taken, else the text of the refusal; for a question, its answer.
    """

    event: Input | Callable[[], object]
    reply: Callable[[object], None]


@dataclass(slots=True)
class Work:
    """Something for the engine's thread to write that decides nothing: a sink's cursor, say.

    ``apply`` is called with the journal's open batch.
    """

    apply: Callable[..., object]


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
    | PlanChanged
    | Work
)
"""What may be put."""


class Inbox:
    """Two lanes and a wake-up. ``linger``: longest wait in real seconds of a bulk message for company."""

    def __init__(self, *, linger: float = 0.25, linger_count: int = BATCH_LIMIT // 2) -> None:
        self._linger = linger
        self._linger_count = linger_count
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
            if len(self._bulk) >= BEST_EFFORT_LIMIT and isinstance(event, Message) and event.qos == 0:
                self.dropped_count += 1
                return False
            self._bulk.append(event)
            if len(self._bulk) == 1 or len(self._bulk) == self._linger_count:
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
                # An urgent event, the half-full lane or the end of the linger ends this wait.
                self._condition.wait_for(
                    lambda: self._urgent or self._closed or len(self._bulk) >= self._linger_count,
                    self._linger,
                )
            taken = list(self._urgent)
            self._urgent.clear()
            if taken and self._bulk and not self._passed_over:
                self._passed_over = True
                return taken
            self._passed_over = False
            taken.extend(self._bulk.popleft() for _ in range(min(BATCH_LIMIT, len(self._bulk))))
            return taken

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
