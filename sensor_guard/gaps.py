"""Numbers that a device has counted and we have never seen: readings that are lost, told as the fault ``device_gap``.

Fed by ``core`` with what is new on disk, in its order, copies left out. A number that is passed over is a hole; a late
reading fills it; what is still a hole after the lateness is missing, for good, and is told once. Around that:

reboot    The count begins anew. Known by a number that was there before, from a device whose own clock says that it is
          later, or, without a clock, by two such numbers in a row. The old count is kept beside the new one, for what
          of it still comes late: what lies between the two by the device's clock goes on with the old count, or is
          one of the first of the new. Without a clock a number that fits both counts for both: rather no word of a
          loss around a reboot than a loss that is none.
wrap      After 2^8, 2^16 or 2^32 comes 0. Known by a number that close behind the limit is followed by one close to 0.
blind     What fell into a stretch that was already told as not observed is counted and not told again.
bursts    One fault for all devices, at most every ``FOLD``; it ends when nothing was missing for ``QUIET``.

No clock: ``now`` is an argument. As many devices are remembered as are configured; nobody else's readings come here.
"""

from collections import deque
from collections.abc import Iterable, Set
from typing import NamedTuple

from sensor_guard.model import DEVICE_TIME, HOUR, MINUTE, SECOND, Fault, Instant, Reading, Span

FAULT = "device_gap"
LATE_AT_LEAST: Span = MINUTE
"""So long a hole may be filled, however short the lateness is."""
FOLD: Span = 30 * MINUTE
QUIET: Span = 60 * MINUTE
JUMP_LIMIT = 10_000
"""Of a longer gap so many are counted: a device that counts by leaps has lost nothing."""
FORMER_FOR: Span = HOUR
"""So long after a reboot the old count is kept for readings that come late."""
HOLES_LIMIT = 32
"""Holes of one device; beyond it the oldest counts as missing at once."""
_STRETCHES = 16  # blind stretches that are remembered, the newest
_NAMED = 4  # devices that a fault's detail names
# Width of the count -> how close to its end and its beginning two numbers must be to count as neighbours; and how many
# may be missing between them the first time, when the device might as well have been switched off and on.
_WIDTHS = ((1 << 8, 16), (1 << 16, 64), (1 << 32, 64))
_FIRST_WRAP = 3

Device = tuple[str, str]
"""home_id, sensor_id."""


class Missing(NamedTuple):
    """How many numbers of one device turned out to be missing, and whether that was told otherwise already."""

    device: Device
    numbers: int
    is_blind: bool


class Hole:
    """Numbers ``first`` to ``last`` were passed over when ``since`` was received; before it came ``before``."""

    __slots__ = ("before", "first", "last", "since")

    def __init__(self, first: int, last: int, before: Instant, since: Instant) -> None:
        self.first, self.last, self.before, self.since = first, last, before, since


class Count:
    """One run of a device's counter, from a start to the next reboot. ``top``: the highest number, unwrapped.

    ``began_at``, ``observed_at``: the device's time of its first and of its last reading; ``early``: numbers around
    the reboot that may still come, and are not missed if they do not.
    """

    __slots__ = ("began_at", "early", "heard_at", "holes", "observed_at", "offset", "top", "width")

    def __init__(self, reading: Reading, heard: Set[int] = frozenset()) -> None:
        self.top = max(heard, default=reading.seq)
        self.early: frozenset[int] = (
            frozenset(range(max(0, self.top - 2 * HOLES_LIMIT), self.top)) - heard if heard else frozenset()
        )
        self.began_at = reading.observed_at
        self.offset = self.width = 0
        self.heard_at, self.observed_at = reading.received_at, reading.observed_at
        self.holes: tuple[Hole, ...] = ()  # one for all of the many that have none

    def place(self, seq: int) -> int:
        """Unwrap a number: where it stands in this run."""
        number, top = self.offset + seq, self.top - self.offset
        if number > self.top:
            if self.width and seq > top + self.width // 2:
                return number - self.width  # from before the wrap
            return number
        for width, near in _WIDTHS:
            if width - near <= top < width and seq < near and self.width in (0, width):
                between = width - top - 1 + seq
                if self.width or between <= _FIRST_WRAP:
                    return number + width
        return number

    def rise(self, number: int, reading: Reading) -> None:
        """Take a number above the top, and what it passes over."""
        first = self.top + 1
        if number > first:
            hole = Hole(max(first, number - JUMP_LIMIT), number - 1, self.heard_at, reading.received_at)
            self.holes = (*self.holes, hole)
        wrapped = number - reading.seq - self.offset
        if wrapped:
            self.offset += wrapped
            self.width = wrapped
        self.top = number
        self.heard_at = reading.received_at
        self.observed_at = max(self.observed_at, reading.observed_at)

    def heard(self) -> list[int]:
        """Give the newest numbers that came, the highest last."""
        newest = range(max(0, self.top - HOLES_LIMIT + 1), self.top + 1)
        return [number for number in newest if number not in self.early and not self.misses(number)]

    def misses(self, number: int) -> bool:
        """Say whether a number was passed over."""
        return any(hole.first <= number <= hole.last for hole in self.holes)

    def fill(self, number: int) -> bool:
        """Take a number that was passed over; False if it was not."""
        for place, hole in enumerate(self.holes):
            if hole.first <= number <= hole.last:
                rest = []
                if number > hole.first:
                    rest.append(Hole(hole.first, number - 1, hole.before, hole.since))
                if number < hole.last:
                    rest.append(Hole(number + 1, hole.last, hole.before, hole.since))
                self.holes = (*self.holes[:place], *rest, *self.holes[place + 1 :])
                return True
        return False


class Track:
    """What is known of one device."""

    __slots__ = ("behind", "count", "former", "last_at", "last_seq")

    def __init__(self, reading: Reading) -> None:
        self.count = Count(reading)
        self.former: Count | None = None
        self.last_seq, self.last_at = reading.seq, reading.received_at
        self.behind: tuple[int, ...] = ()  # the last numbers that were there before, since the last one that was not

    def counts(self) -> Iterable[Count]:
        """Give the run and the one before it."""
        return (self.count,) if self.former is None else (self.former, self.count)

    def saw(self, reading: Reading) -> None:
        """Take a new reading."""
        seq = reading.seq
        if seq == self.last_seq and reading.received_at == self.last_at:
            return  # another quantity of the same message
        self.last_seq, self.last_at = seq, reading.received_at
        count, former = self.count, self.former
        has_time = bool(reading.flags & DEVICE_TIME)
        if former is not None:
            if not former.holes and reading.received_at - former.heard_at > FORMER_FOR:
                self.former = None
            elif (self._is_before if has_time else self._is_of_former)(former, reading):
                return
        number = count.place(seq)
        if number > count.top:
            count.rise(number, reading)
            self.behind = ()
        elif has_time and reading.observed_at > count.observed_at:
            self._reboot(reading)
        elif number in count.early:
            count.early -= {number}
        elif not count.fill(number):
            if not has_time and self.behind and seq == self.behind[-1] + 1:
                # Those that came before it, in whatever order, are of the new count too.
                self._reboot(reading, {each for each in (*self.behind, seq) if abs(each - seq) <= HOLES_LIMIT})
            else:
                self.behind = (*self.behind, seq)[-HOLES_LIMIT:]

    def _reboot(self, reading: Reading, heard: Set[int] = frozenset()) -> None:
        if self.former is not None:  # two reboots within the lateness
            self.count.holes = (*self.former.holes, *self.count.holes)
        self.former, self.count = self.count, Count(reading, heard)
        self.behind = ()

    def _is_before(self, former: Count, reading: Reading) -> bool:
        """Put a reading from before the new count's first one where it belongs; the device's clock says when it was."""
        if reading.observed_at >= self.count.began_at:
            return False
        number = former.place(reading.seq)
        if number > former.top:
            former.rise(number, reading)
        elif not former.fill(number) and reading.observed_at > former.observed_at:
            self.count.began_at = reading.observed_at  # one of the first of the new count
        return True

    def _is_of_former(self, former: Count, reading: Reading) -> bool:
        """Put a late reading of the run before the reboot where it belongs, from a device without a clock."""
        count, number = self.count, former.place(reading.seq)
        is_former = former.fill(number)
        here = count.place(reading.seq)
        if here == count.top + 1 or count.misses(here):
            return False
        if is_former:
            return True
        if count.top < former.top < number <= former.top + _FIRST_WRAP:
            # It was no reboot, only old readings that came late. Or it was one after all: what came since counts then.
            former.rise(number, reading)
            self.behind = tuple(count.heard())
            self.count, self.former = former, None
            return True
        return False


class Gaps:
    """See the module."""

    def __init__(self) -> None:
        self.missing_count = 0
        """Numbers that were missing since the start, told or not."""
        self.is_told = False
        self._tracks: dict[Device, Track] = {}
        self._open: dict[Device, Track] = {}  # those with holes
        self._stretches: deque[tuple[Instant, Instant]] = deque(maxlen=_STRETCHES)
        self._untold: dict[Device, int] = {}
        self._told_at: Instant | None = None
        self._missed_at: Instant = 0
        self._looked_at: Instant = 0

    def saw(self, reading: Reading) -> None:
        """Take a reading that is new on disk. seq: 0 or more."""
        home_id, sensor_id, _, _, observed_at, received_at, seq, _ = reading
        device = (home_id, sensor_id)
        track = self._tracks.get(device)
        if track is None:
            self._tracks[device] = Track(reading)
            return
        count = track.count
        if seq + count.offset == count.top + 1 and track.former is None:
            # Nearly every reading.
            count.top += 1
            count.heard_at = track.last_at = received_at
            track.last_seq = seq
            if observed_at > count.observed_at:  # noqa: PLR1730 - cheaper than max()
                count.observed_at = observed_at
            return
        track.saw(reading)
        if any(each.holes for each in track.counts()):
            self._open[device] = track

    def blind(self, begun: Instant, ended: Instant) -> None:
        """Note a stretch that was told as not observed."""
        self._stretches.append((begun, ended))

    def shift(self, offset: Span) -> None:
        """Move every instant with the clock."""
        for track in self._tracks.values():
            for count in track.counts():
                count.heard_at += offset
                for hole in count.holes:
                    hole.before, hole.since = hole.before + offset, hole.since + offset
        self._stretches = deque(((a + offset, b + offset) for a, b in self._stretches), maxlen=_STRETCHES)
        self._told_at = None if self._told_at is None else self._told_at + offset
        self._missed_at += offset

    def keep(self, devices: Set[Device]) -> None:
        """Forget those that are no longer configured."""
        for device in self._tracks.keys() - devices:
            del self._tracks[device]
            self._open.pop(device, None)

    def restore(self, readings: Iterable[Reading], last: Iterable[Reading], until: Instant, lateness: Span) -> None:
        """Go on where the last process ended.

        Args:
            readings: the newest of the journal, in its order, from two latenesses ago on or more.
            last: what each device said last, for those of which ``readings`` has nothing.
            until: the ``now`` of the last batch: what was due by then has been told.
            lateness: as in ``settle``.
        """
        for reading in readings:
            if reading.seq >= 0:
                self.saw(reading)
        known = set(self._tracks)
        for reading in sorted(last, key=lambda each: each.received_at):
            device = (reading.home_id, reading.sensor_id)
            if reading.seq >= 0 and device not in known:
                self._tracks[device] = Track(reading)
        self._due(until, lateness)

    def settle(self, now: Instant, lateness: Span) -> list[Fault]:
        """Give the fault's beginning, once more or first, or its end; nothing most of the time."""
        if 0 <= now - self._looked_at < SECOND:
            return []  # under load there are many turns in a second
        self._looked_at = now
        for missing in self._due(now, lateness):
            self.missing_count += missing.numbers
            if not missing.is_blind:
                self._untold[missing.device] = self._untold.get(missing.device, 0) + missing.numbers
                self._missed_at = now
        if self._untold and (self._told_at is None or now - self._told_at >= FOLD):
            self._told_at, self.is_told = now, True
            detail = _detail(self._untold)
            self._untold.clear()
            return [Fault(FAULT, active=True, at=now, detail=detail)]
        if self.is_told and not self._untold and now - self._missed_at >= QUIET:
            self.is_told = False
            return [Fault(FAULT, active=False, at=now)]
        return []

    def remember(self, now: Instant) -> None:
        """The fault was told by the last process, and has not ended."""
        self.is_told, self._told_at, self._missed_at = True, now, now

    def _due(self, now: Instant, lateness: Span) -> list[Missing]:
        """Take the holes that nothing will fill any more."""
        if not self._open:
            return []
        limit = now - max(lateness, LATE_AT_LEAST)
        found: list[Missing] = []
        for device, track in list(self._open.items()):
            is_open = False
            for count in track.counts():
                while count.holes and (count.holes[0].since <= limit or len(count.holes) > HOLES_LIMIT):
                    hole, count.holes = count.holes[0], count.holes[1:]
                    is_blind = any(a <= hole.since and hole.before <= b for a, b in self._stretches)
                    found.append(Missing(device, hole.last - hole.first + 1, is_blind))
                is_open = is_open or bool(count.holes)
            if not is_open:
                del self._open[device]
        return found


def _detail(untold: dict[Device, int]) -> str:
    """Name the worst: "b3-301/meter 12, b3-302/hall 3 and 5 more". Ids only."""
    worst = sorted(untold, key=lambda device: (-untold[device], device))
    named = ", ".join(f"{home_id}/{sensor_id} {untold[home_id, sensor_id]}" for home_id, sensor_id in worst[:_NAMED])
    rest = len(worst) - _NAMED
    return f"{named} and {rest} more" if rest > 0 else named
