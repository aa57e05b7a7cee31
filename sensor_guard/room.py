"""Room on the disk: what is given up when it is full, in which order, and how it comes back without hands.

When a commit finds the disk full, the ballast goes first, because even removing rows needs room for a commit. Then the
rows go that a mirror has already, or that are old; the file does not shrink by that, but its pages are used again. If
enough of it is free then, the ballast is made anew from what is left of the disk, and everything goes on: the journal
is a ring. If not, readings stay with the broker, unacknowledged, and what the ballast has freed is for what people
live by: smoke, panic, commands, and what time brings. So no reading is ever taken while alarms have no room of
their own.
"""

import structlog

from sensor_guard.clock import Clock
from sensor_guard.core import Core
from sensor_guard.journal import Ballast, JournalUnavailableError
from sensor_guard.model import Fault, Instant

LOOK_EVERY = 10.0
"""Seconds between two looks at the disk."""
WARN_BELOW = 64_000_000
"""Bytes; with less than this (on a small disk a twentieth, at least two ballasts) somebody is told."""
WORK_ROOM = 4 << 20
"""Bytes that must be free, in the file or on the disk, before readings are taken again: some 40,000 of them."""
PRUNE_STEPS = 20
"""Steps of 5,000 rows at once: at most a second's work before the loop turns again."""

log = structlog.get_logger(__name__)


class Room:
    """See the module. Belongs to the loop's thread."""

    def __init__(self, core: Core, clock: Clock, ballast: Ballast) -> None:
        self._core = core
        self._clock = clock
        self._ballast = ballast
        self.is_tight = False
        """Readings are not taken: there is no ballast, so that what room there is belongs to alarms."""
        self.free = ballast.free()
        self._look_at = 0.0
        self._is_told: bool | None = None

    def look(self, now: Instant) -> list[Fault]:
        """See now and then how much room there is; the fault ``disk_full`` where it begins or ends."""
        monotonic = self._clock.monotonic()
        if monotonic < self._look_at:
            return []
        self._look_at = monotonic + LOOK_EVERY
        if self.is_tight:
            self._remove(now)
        was_tight, self.is_tight = self.is_tight, not self._make_ballast()
        if self.is_tight != was_tight:
            tell = log.error if self.is_tight else log.info
            tell("disk.tight" if self.is_tight else "disk.recovered", free_bytes=self._ballast.free())
        self.free = self._ballast.free()
        low = self.is_tight or self.free < self._warn_below()
        if self._is_told is None:
            self._is_told = self._core.has_fault("disk_full")
        if low == self._is_told:
            return []
        self._is_told = low
        return [Fault("disk_full", low, now, f"{self.free // 1_000_000} MB" if low else "")]

    def give_way(self, now: Instant) -> bool:
        """The disk was full at a commit: make room; False if there was nothing to give up any more."""
        released = self._ballast.release()
        if released:
            log.error("disk.full", free_bytes=self._ballast.free())
        self.is_tight = True
        self._look_at = 0.0  # with the next turn: is there enough for everything now?
        removed = self._remove(now)
        return released or removed

    def _remove(self, now: Instant) -> bool:
        """Remove what can be spared until there is room to work; was there anything?"""
        journal, removed = self._core.journal, 0
        try:
            for _ in range(PRUNE_STEPS):
                if journal.free_bytes() >= 2 * WORK_ROOM:
                    break
                pruned = journal.make_room(now)
                removed += pruned.inputs + pruned.quarantined
                if not pruned:
                    break
        except JournalUnavailableError as error:
            log.warning("disk.not_cleared", reason=error.reason)
        if removed:
            log.warning("disk.cleared", rows=removed)
        return bool(removed)

    def _make_ballast(self) -> bool:
        ballast = self._ballast
        try:
            if self._core.journal.free_bytes() >= WORK_ROOM:
                # Readings find room inside the file: whatever the disk has left may be ballast.
                return ballast.make(least=ballast.floor)
        except JournalUnavailableError:
            return ballast.is_there()
        # They will make the file longer: without room for that they would eat up the ballast, piece by piece.
        return ballast.make(least=ballast.size, spare=WORK_ROOM)

    def _warn_below(self) -> int:
        return min(WARN_BELOW, max(2 * self._ballast.size, self._ballast.total() // 20))
