"""What happens to a home's time itself: stretches in which the box saw nothing, and steps of the wall clock.

What a person said by the clock on the wall (away or muted until six) stays as it was said when the clock is set. Only
while the clock cannot be believed (a box that booted in 1970) it is counted in elapsed time like everything else, so
that an absence ends; once the time is known again it is what was said.
"""

from bisect import insort
from typing import TYPE_CHECKING, NamedTuple

from sensor_guard.engine.conditions import FAR, next_edge
from sensor_guard.engine.orders import AWAY
from sensor_guard.model import Effects, Instant, Kind, Reading, Span

if TYPE_CHECKING:
    from sensor_guard.engine.home import Home

BLIND_BEGINS, BLIND_ENDS = 0, 1


class Pending(NamedTuple):
    """Something that waits for its place in the home's time: a reading, or an edge of the box's own blindness."""

    at: Instant
    seq: int
    reading: Reading | None
    edge: int = BLIND_BEGINS


def put(pending: list[Pending], item: Pending) -> None:
    """Put an item into its place, by time and then by the journal's order."""
    insort(pending, item, key=lambda one: (one.at, one.seq))


def blind_between(home: "Home", start: Instant, end: Instant) -> None:
    """The box saw nothing from ``start`` to ``end``: an edge at each, in their place in the home's time."""
    start = max(start, home.at)
    # Before any reading of the same instant.
    put(home.pending, Pending(start, -1, None, BLIND_BEGINS))
    put(home.pending, Pending(max(end, start), -1, None, BLIND_ENDS))


def blindness(home: "Home", edge: int, at: Instant, now: Instant, effects: Effects) -> None:
    """The box goes blind, or sees again."""
    effects.changed = True
    if edge == BLIND_BEGINS:
        home.is_blind = True
        home.blind_from = at
        for state in home.sensors.values():
            if state.sensor.kind == Kind.SMOKE:
                state.level = None  # its all-clear may be lost: the next smoke is new smoke
                state.settle()
    elif home.is_blind:
        began = home.blind_from if home.blind_from is not None else at
        # The box's own blindness uses up nobody's freshness: a passive sensor is observed for as long as before.
        for state in home.sensors.values():
            lost = at - max(began, min(state.heard_at if state.heard_at is not None else began, at))
            state.silent_at += lost
            if state.observed:
                state.fresh_until += lost
        home.is_blind = False
        home.blind_from = None
    for watch in home.watches:
        home.evaluate(watch, at, now, effects)
    home.deadline = home.next_deadline()


def shift(home: "Home", offset: Span) -> None:
    """The wall clock was set by ``offset``: every instant that is counted from moves with it."""
    if not home.clock_known:
        home.away_until = home.away_until + offset if home.away_until < FAR else FAR
        home.muted_until = {rule_id: until + offset for rule_id, until in home.muted_until.items()}
    home.at += offset
    home.max_observed += offset
    home.pending = [item._replace(at=item.at + offset) for item in home.pending]
    home.blind_from = _moved(home.blind_from, offset)
    home.test_from += offset
    home.test_until = home.test_until + offset if home.test_until else 0
    for state in home.sensors.values():
        state.fresh_until += offset
        state.silent_at += offset
        state.heard_at = _moved(state.heard_at, offset)
        state.level_at = _moved(state.level_at, offset)
        state.meter_at = _moved(state.meter_at, offset)
    for watch in home.watches:
        watch.run_from += offset
        watch.since = _moved(watch.since, offset)
        watch.blind_from = _moved(watch.blind_from, offset)
        if watch.condition.between is not None:
            watch.wakes_at = next_edge(home.at, watch.rule.condition.between, home.zone)
        elif watch.wakes_at:
            watch.wakes_at += offset
    home.cases.shift(offset)
    home.deadline = home.next_deadline()


def know_clock(home: "Home", known: bool, now: Instant, effects: Effects) -> None:
    """The wall clock can be believed from here on, or no longer: what asks for the hour of the day looks again."""
    if home.clock_known == known:
        return
    home.clock_known = known
    if known:
        if home.is_away:
            home.away_until = home.as_said.get(AWAY, home.away_until)
        home.muted_until = {rule_id: home.as_said.get(rule_id, end) for rule_id, end in home.muted_until.items()}
        home.as_said = {}
    else:
        home.as_said = {**home.muted_until, **({AWAY: home.away_until} if home.is_away else {})}
    for watch in home.watches:
        between = watch.rule.condition.between
        if between is not None:
            watch.wakes_at = next_edge(home.at, between, home.zone)
            home.evaluate(watch, home.at, now, effects)
    home.deadline = home.next_deadline()


def _moved(at: Instant | None, offset: Span) -> Instant | None:
    return None if at is None else at + offset
