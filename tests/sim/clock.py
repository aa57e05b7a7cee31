"""The box's clock in a world whose true time nobody can bend: what CLOCK_BOOTTIME, CLOCK_MONOTONIC and the wall say."""

from sensor_guard.clock import STEP_LIMIT
from sensor_guard.model import Instant, Span


class SimClock:
    """``true``: what time it is. Behaves as ``sensor_guard.clock.SystemClock`` does on a box whose wall clock is set.

    ``now()`` runs with the true time and follows a step of the wall clock only when ``stepped`` is called.
    """

    factor = 1.0

    def __init__(self, start: Instant) -> None:
        self.start = self.true = start
        self.wall_offset: Span = 0
        self.followed: Span = 0

    def now(self) -> Instant:
        return self.true + self.followed

    def monotonic(self) -> float:
        return (self.true - self.start) / 1_000 + 1_000.0

    def stepped(self) -> Span:
        offset, self.followed = self.wall_offset - self.followed, self.wall_offset
        return offset if abs(offset) > STEP_LIMIT else 0

    def wall(self) -> Instant:
        """What the wall clock of the box says, whether the daemon has followed it or not."""
        return self.true + self.wall_offset

    def reborn(self) -> None:
        """A new process looks at the wall clock for the first time."""
        self.followed = self.wall_offset
