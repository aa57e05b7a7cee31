"""The process stays as small as it was."""

import gc
import weakref

from sensor_guard.memory import STANDS_ABOVE, TIDY_EVERY, Tidy


class Cycle:
    def __init__(self):
        self.me = self


def test_cycles_are_collected_now_and_then_and_not_after_every_turn():
    gc.collect()
    gc.disable()
    try:
        tidy = Tidy(100.0)
        left = weakref.ref(Cycle())
        assert not tidy.look(100.0 + TIDY_EVERY - 1)
        assert left() is not None
        assert tidy.look(100.0 + TIDY_EVERY)
        assert left() is None
        assert not tidy.look(100.0 + TIDY_EVERY + 1)
    finally:
        gc.enable()


def test_what_has_come_to_stay_is_not_looked_at_again():
    gc.collect()
    gc.disable()
    try:
        few = gc.get_freeze_count()
        Tidy(0.0).look(TIDY_EVERY)
        stays = [[] for _ in range(STANDS_ABOVE + 1)]
        Tidy(0.0).look(TIDY_EVERY)
        assert gc.get_freeze_count() >= few + len(stays)
        assert len(gc.get_objects()) < STANDS_ABOVE
    finally:
        gc.unfreeze()
        gc.enable()
