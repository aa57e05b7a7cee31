"""What keeps the process as small as it was: for years, on a box with little memory."""

import contextlib
import ctypes
import gc

COLLECT_AFTER = (20_000, 20, 50)
"""When the collector of cyclic garbage looks by itself: a batch makes thousands of tuples that are gone with it, and no
cycles. With Python's own 700 it took a third of the time of a reading."""
TIDY_EVERY = 600.0
"""Seconds from one full collection to the next. Failed connections leave cycles, a few a minute in bad times; by itself
the collector comes to the old ones only after twenty million objects, on a quiet box never."""
STANDS_ABOVE = 50_000
"""So many objects that are new and stay are counted among what stands, and not looked at again: homes that have woken
since the start. 20,000 of them would stop the loop for 0.12 s each time. What becomes a cycle after that is kept."""

_M_ARENA_MAX = -8  # <malloc.h> of glibc


def use_one_arena() -> None:
    """Let all threads take memory from one pool; before the first thread starts.

    glibc gives each thread a pool of its own, up to eight for each processor, and each keeps what its busiest minute
    needed. Only one thread of Python's runs at a time: there is nothing to be won by that. Elsewhere: nothing is done.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def collect_rarely() -> None:
    """Let the collector look seldom from now on, and never again at what stands now: it stays."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    gc.enable()


class Tidy:
    """Collects cyclic garbage now and then; called after every turn of the loop."""

    def __init__(self, monotonic: float) -> None:
        self._at = monotonic

    def look(self, monotonic: float) -> bool:
        """Say whether it collected this time. Some milliseconds, but for the first time after many homes woke."""
        if monotonic - self._at < TIDY_EVERY:
            return False
        self._at = monotonic
        gc.collect()
        if len(gc.get_objects()) > STANDS_ABOVE:
            gc.freeze()
        return True
