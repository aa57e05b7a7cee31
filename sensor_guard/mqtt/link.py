"""What the engine is told about the connection: lost, back, caught up, and whether anything may be missing.

No socket and no clock: ``now`` (ms, the engine's time) and ``real`` (seconds, for time-outs) are arguments, and what
is to be put into the inbox is returned. Theory of operation, for the bulk connection:

lost      LinkLost says since when nothing is known. A start of the program is the end of a gap as well.
learning  The broker has taken us. Until it has answered every SUBSCRIBE and said how long it has been up, and until the
          urgent connection is there, messages are held, at most ``HELD_LIMIT``. More of them means that a backlog
          stands in front of those answers, and that the answers wait behind our acknowledgements: then we go on
          without, and the gap counts as blind.
draining  LinkUp has gone out, then what was held. Our canary, published behind everything that waited in the session,
          is on its way.
drained   It came back, or 60 s have passed.

If the session was there, and the broker has lived through the whole gap, then whatever was published in it waits in the
session: nobody was blind. A broker that was restarted in between may have lost what it held in memory, and that is more
than what came in the gap: it had acknowledged readings which it had not handed over to us yet. So the blind stretch
begins where everything is proven to have been handed over: when the last canary or pulse that came back was published.
"""

from enum import StrEnum
from typing import TypeAlias

from sensor_guard.inbox import BEST_EFFORT_LIMIT
from sensor_guard.model import SECOND, Drained, Fault, Instant, LinkLost, LinkUp, Message

LEARN_WITHIN = 2.0
"""Real seconds for the broker's uptime, without which the gap counts as blind, and for the urgent connection."""
HELD_LIMIT = 1_000
"""Messages held that the broker wants acknowledged. Well below what a connection takes without acknowledging
(``connection.UNACKNOWLEDGED_LIMIT``): at that limit it reads no further, and what we wait for stands behind it. The
receive maximum should keep it far below, but mosquitto 2.0.11 sends far more to a session that has been cut off often.
"""
DRAIN_WITHIN = 60.0
"""Real seconds from the connection on for the canary."""
GRACE = 2.0
"""Real seconds that a connection may be gone before it is called offline. The rule itself holds for 60 s; this keeps a
start, and an accelerated clock whose 60 s are soon over, from raising it."""
DROPPED_FOR = 60.0
"""Real seconds after the last dropped message, when the fault counts as over."""

LinkEvent: TypeAlias = LinkLost | LinkUp | Drained | Message


class Stage(StrEnum):
    """See the module."""

    LOST = "lost"
    LEARNING = "learning"
    DRAINING = "draining"
    DRAINED = "drained"


class Link:
    """The bulk connection's story.

    ``lost_at``: since when nothing is known at the start of the program. ``proven_at``: everything that was published
    before has been handed over; None: likewise.
    """

    def __init__(self, lost_at: Instant, factor: float, proven_at: Instant | None = None) -> None:
        self.stage = Stage.LOST
        self._lost_at = lost_at
        self._proven_at = lost_at if proven_at is None else proven_at
        self._factor = factor
        self._session_present = False
        self._subscribed = False
        self.uptime: int | None = None
        """At least so many seconds has the broker been up; None: it has not said so on this connection."""
        self._connected_real = 0.0
        self._canary_back = False
        self._held: list[Message] = []
        self._held_unacknowledged = 0
        self.dropped_count = 0
        """QoS 0 messages that came while a flood of them was held already."""

    def begin(self) -> LinkLost:
        """Say since when nothing is known."""
        return LinkLost(self._lost_at)

    def connected(self, real: float, *, session_present: bool) -> None:
        """The broker has taken us."""
        self.stage = Stage.LEARNING
        self._session_present = session_present
        self._subscribed = self._canary_back = False
        self.uptime = None
        self._connected_real = real

    def subscribed(self) -> None:
        """Every SUBSCRIBE is answered."""
        self._subscribed = True

    def message(self, message: Message) -> list[LinkEvent]:
        """Hold a message, or pass it on."""
        if self.stage is not Stage.LEARNING:
            return [message]
        if message.qos == 0 and len(self._held) >= BEST_EFFORT_LIMIT:
            self.dropped_count += 1
        else:
            self._held.append(message)
            self._held_unacknowledged += message.qos > 0
        return []

    def canary(self) -> None:
        """Our canary is back: everything that waited before it has been handed over."""
        self._canary_back = True

    def tick(self, now: Instant, real: float, *, urgent_settled: bool, urgent_drained: bool) -> list[LinkEvent]:
        """See how far we are.

        Args:
            now: goes into the events.
            real: for the time-outs.
            urgent_settled: the urgent connection is subscribed, too, and knows what its session holds.
            urgent_drained: and has handed everything over.
        """
        events: list[LinkEvent] = []
        if self.stage is Stage.LEARNING:
            knows = self.uptime is not None and urgent_settled
            is_over = self._subscribed and (knows or real - self._connected_real >= LEARN_WITHIN)
            if is_over or self._held_unacknowledged >= HELD_LIMIT:
                events = [LinkUp(now, self._session_present, self._blind_from(now)), *self._release()]
                self.stage = Stage.DRAINING
        if self.stage is Stage.DRAINING:
            is_drained = self._canary_back and urgent_drained
            if is_drained or real - self._connected_real >= DRAIN_WITHIN:
                self.stage = Stage.DRAINED
                events.append(Drained(now))
        return events

    def again(self, real: float) -> None:
        """What waits in the broker was not taken for a while: a new canary will say when all of it has come."""
        if self.stage in (Stage.DRAINING, Stage.DRAINED):
            self.stage = Stage.DRAINING
            self._canary_back = False
            self._connected_real = real

    def lost(self, at: Instant, proven_at: Instant | None = None) -> list[LinkEvent]:
        """The connection is gone. What was held is passed on: it is real, and may not come again.

        proven_at: as of the whole link; None: nothing is proven, and nothing can be.
        """
        held = self._release()
        was, self.stage = self.stage, Stage.LOST
        if was in (Stage.DRAINING, Stage.DRAINED):
            self._lost_at = at
            self._proven_at = at if proven_at is None else proven_at
            return [*held, LinkLost(at)]
        return held  # never came up: nothing is known since before

    def _release(self) -> list[LinkEvent]:
        held: list[LinkEvent] = [*self._held]
        self._held.clear()
        self._held_unacknowledged = 0
        return held

    def _blind_from(self, now: Instant) -> Instant | None:
        lived = self.uptime is not None and self.uptime * SECOND * self._factor >= now - self._lost_at
        return None if self._session_present and lived else min(self._lost_at, self._proven_at)


class DropWatch:
    """Compares the broker's count of dropped messages with what it was; a smaller one is a new broker's.

    What it was before a start of ours is remembered by the broker itself, in a retained message.
    """

    def __init__(self) -> None:
        self.count: int | None = None
        self._known: int | None = None
        self._over_at: float | None = None

    def remembered(self, count: int | None) -> None:
        """The broker hands back what we knew at the last time; our own memory is newer."""
        if self._known is None:
            self._known = count

    def seen(self, count: int | None) -> None:
        """The broker says how many it has dropped since its start."""
        self.count = count if count is not None else self.count

    def settle(self, now: Instant, real: float) -> tuple[list[Fault], bool]:
        """Give the faults that begin or end, and whether the count is to be remembered anew."""
        faults: list[Fault] = []
        count, known = self.count, self._known
        if self._over_at is not None and real >= self._over_at and count == known:
            self._over_at = None
            faults.append(Fault("broker_dropped", active=False, at=now))
        if count is None or count == known:
            return faults, False
        self._known = count
        grown = 0 if known is None else (count - known if count > known else count)
        if grown > 0:
            self._over_at = real + DROPPED_FOR
            faults.append(Fault("broker_dropped", active=True, at=now, detail=f"{grown} messages"))
        return faults, True


class Outages:
    """Which connections are gone, as one fault ``broker_offline``. Not thread-safe: its owner holds a lock."""

    def __init__(self, *, is_told: bool = False) -> None:
        """``is_told``: the last process has told of the fault and not of its end, so its end is ours to tell."""
        self._gone: dict[str, tuple[Instant, float, str]] = {}
        self._is_told = is_told

    def gone(self, lane: str, at: Instant, real: float, reason: str) -> None:
        """A connection is not there, or not whole. Called again, only the reason is new."""
        since, since_real, _ = self._gone.get(lane, (at, real, ""))
        self._gone[lane] = (since, since_real, reason)

    def back(self, lane: str) -> None:
        """A connection is there again."""
        self._gone.pop(lane, None)

    def reasons(self) -> str:
        """Say which connections are gone, and why."""
        return "; ".join(f"{lane}: {reason}" for lane, (_, _, reason) in sorted(self._gone.items()))

    def settle(self, now: Instant, real: float) -> list[Fault]:
        """Give the fault's beginning or end."""
        if not self._gone:
            was, self._is_told = self._is_told, False
            return [Fault("broker_offline", active=False, at=now)] if was else []
        if self._is_told or real - min(since for _, since, _ in self._gone.values()) < GRACE:
            return []
        self._is_told = True
        at = min(at for at, _, _ in self._gone.values())
        return [Fault("broker_offline", active=True, at=at, detail=self.reasons())]
