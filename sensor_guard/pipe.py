"""Messages by a pipe instead of a broker: `sensor-guard run --messages -`, for a machine without one and for testers.

Each line is what `mosquitto_sub -F %j` prints: {"topic": ..., "payload": ..., "qos": ..., "retain": ...}. There is no
session, so nothing can be acknowledged to anybody: a line is taken when it has been read.
"""

import json
from collections.abc import Callable, Iterable
from typing import TextIO

import structlog

from sensor_guard.clock import Clock
from sensor_guard.inbox import Inbox
from sensor_guard.model import Drained, LinkLost, LinkUp, Message

log = structlog.get_logger(__name__)


class PipeSubscriber:
    """Stands where the MQTT subscriber stands. The end of the pipe is a lost connection."""

    def __init__(self, lines: TextIO, inbox: Inbox, clock: Clock) -> None:
        self._lines = lines
        self._inbox = inbox
        self._clock = clock
        self._open = False

    def start(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        """Say that the line is up, and give the body of the thread that reads, with its name."""
        self._open = True
        now = self._clock.now()
        self._inbox.put(LinkUp(now, session_present=False))
        self._inbox.put(Drained(now))
        return (("pipe", self._read),)

    def drain_again(self) -> None:
        """Nothing waits anywhere but in the inbox."""
        self._inbox.put(Drained(self._clock.now()))

    def stop(self, within: float = 2.0) -> bool:
        """Nothing to close: the pipe is not ours."""
        del within
        self._open = False
        return True

    def gauges(self) -> dict[str, float]:
        """Say whether the other end is still there, in the word of the broker's connection."""
        return {"mqtt_bulk_up": float(self._open)}

    def ack(self, messages: Iterable[Message]) -> None:
        """Nobody waits for it."""

    def healthy(self) -> bool:
        """A pipe has no thread that could die unseen."""
        return True

    def canary_age(self, now: float) -> float | None:
        """Nothing comes back through a pipe."""
        del now
        return None

    def trouble(self) -> str:
        """Say that the other end is gone."""
        return "" if self._open else "the pipe has ended"

    def _read(self) -> None:
        for line in self._lines:
            message = self._message(line)
            if message is not None:
                self._inbox.put(message)
        self._open = False
        self._inbox.put(LinkLost(self._clock.now()))

    def _message(self, line: str) -> Message | None:
        try:
            row = json.loads(line)
            topic, payload = row["topic"], row["payload"]
            body = payload if isinstance(payload, str) else json.dumps(payload)
            retained = bool(row.get("retain"))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("message.unreadable", reason=str(error)[:80])
            return None
        return Message(str(topic), body.encode("utf-8", "replace"), 0, retained, False, 0, 1, self._clock.now())
