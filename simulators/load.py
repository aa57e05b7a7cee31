"""A load for benchmarks: any number of messages of made-up homes that are well, stamped when they go out."""

from collections.abc import Sequence
from random import Random

from sensor_guard.clock import Clock
from sensor_guard.model import DEVICE_TIME, SECOND, Quantity, Reading
from simulators.stream import Stream

_WORDS: tuple[tuple[str, Quantity, tuple[float, ...]], ...] = (
    ("power", Quantity.POWER_W, (18.4, 61.0, 240.5, 1_805.0)),
    ("water", Quantity.FLOW_L_MIN, (0.0, 4.5, 0.0, 6.0)),
    ("motion_living", Quantity.MOTION, (1.0, 0.0)),
    ("power", Quantity.POWER_W, (33.2, 75.5, 9.1)),
    ("motion_bath", Quantity.MOTION, (1.0, 0.0)),
    ("water", Quantity.FLOW_L_MIN, (0.0,)),
)
"""Always at least 5 W, water that stops, movement: whatever the rate, no rule has a cause to fire."""
_SENSORS = [word[0] for word in _WORDS]
_COUNTS = [(_SENSORS.count(each), _SENSORS[:place].count(each)) for place, each in enumerate(_SENSORS)]
"""How often a word's sensor speaks in one round of the words, and how often it has in this round before it."""


def load(home_ids: Sequence[str], count: int, clock: Clock, *, seed: int = 1) -> Stream:
    """Give ``count`` readings, the homes in turn; read it as fast or as slowly as the broker takes them.

    Each sensor counts its own: without that, two readings of one second would be taken for one that came twice.
    """
    rng = Random(seed)
    for number in range(count):
        turn, place = divmod(number, len(home_ids))
        round_, word = divmod(turn, len(_WORDS))
        sensor_id, quantity, values = _WORDS[word]
        each, before = _COUNTS[word]
        at = clock.now() // SECOND * SECOND
        yield Reading(
            home_ids[place], sensor_id, quantity, rng.choice(values), at, at, round_ * each + before, DEVICE_TIME
        )
