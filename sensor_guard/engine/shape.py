"""Which rule watches which sensors: worked out once for all homes that have the same kinds of sensors.

A hundred thousand homes are a handful of shapes. A home made to its shape is made of what differs alone: the states of
its sensors and of its watches.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sensor_guard.engine.conditions import EACH_SENSOR, FaultWatch, SensorState, Watch, is_signal
from sensor_guard.engine.plan import Form, HomePlan, Rule

_Places = tuple[int, ...]


class Shape(NamedTuple):
    """What watches what in a home, by places in its plan.

    ``watches``: each rule, the places of its sensors, and if it is a signal; ``of_sensor``: for each sensor the places
    of its watches. A sensor's watches are those that look at its level; silence and batteries are asked for otherwise.
    """

    watches: tuple[tuple[Rule, _Places, bool], ...]
    of_sensor: tuple[_Places, ...]


class Shapes:
    """The rules that concern some homes, and the shapes that these homes have."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], Shape] = {}

    def of(self, plan: HomePlan) -> Shape:
        """Give the shape of a home."""
        key = (tuple([sensor.kind for sensor in plan.sensors]), plan.muted_rules)
        shape = self._known.get(key)
        if shape is None:
            shape = self._known[key] = _shape(self.rules, *key)
        return shape


def _shape(rules: tuple[Rule, ...], kinds: tuple[str, ...], muted_rules: tuple[str, ...]) -> Shape:
    watches: list[tuple[Rule, _Places, bool]] = []
    of_sensor: list[list[int]] = [[] for _ in kinds]
    for rule in rules:
        condition = rule.condition
        if rule.rule_id in muted_rules:
            continue
        places = tuple(place for place, kind in enumerate(kinds) if condition.kind in (None, kind))
        groups = [places] if places else []
        if condition.form is Form.FAULT:
            groups = [()]
        elif condition.form in EACH_SENSOR and not is_signal(condition):
            # Each tap and each door has a hold of its own: what another one does, or does not say, is not its time.
            groups = [(place,) for place in places]
        for group in groups:
            for place in group if condition.follows_level else ():
                of_sensor[place].append(len(watches))
            watches.append((rule, group, is_signal(condition)))
    return Shape(tuple(watches), tuple(map(tuple, of_sensor)))


def watches_for(
    shape: Shape, states: tuple[SensorState, ...], old: Mapping[str, Watch] | None = None
) -> tuple[Watch, ...]:
    """Make the watches of a home to its shape, and show them to its sensors.

    old: by key; one whose condition is as it was goes on, with its hold.
    """
    group_of: dict[_Places, tuple[SensorState, ...]] = {tuple(range(len(states))): states}
    watches = []
    for rule, places, signal in shape.watches:
        group = group_of.get(places)
        if group is None:
            group = group_of[places] = tuple([states[place] for place in places])
        watch = FaultWatch(rule) if rule.condition.form is Form.FAULT else Watch(rule, group, is_signal=signal)
        before = old.get(watch.key) if old else None
        if (
            before is not None
            and before.rule.condition == rule.condition
            and before.rule.unless_away == rule.unless_away
        ):
            watch = before
            watch.rule, watch.sensors = rule, group
        watches.append(watch)
    for state, places in zip(states, shape.of_sensor, strict=True):
        state.watches = tuple([watches[place] for place in places])
    return tuple(watches)
