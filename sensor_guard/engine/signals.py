"""Smoke and the panic button: they act when they arrive, latch, and are never muted.

One alarm until somebody closes it. The rest of a device's repetitions are counted; what may page again, and when, is
written here.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from sensor_guard.engine import orders
from sensor_guard.engine.conditions import SensorState, Watch
from sensor_guard.model import (
    MINUTE,
    RETAINED,
    Effects,
    Evidence,
    Instant,
    Kind,
    Quantity,
    Reading,
    Response,
    SensorEvidence,
    Span,
)

if TYPE_CHECKING:
    from sensor_guard.engine.home import Home

SMOKE_REARM: Span = 30 * MINUTE
"""Smoke that is still reported this long after an alarm was closed is a new alarm."""
PANIC_REPAGE: Span = MINUTE
"""A press this long after somebody answered is a new cry; before that it is the same one."""
SMOKE_REPAGE: Span = 10 * MINUTE
"""Smoke that came back this long after somebody answered asks again; a flickering detector does not."""


def signal(home: "Home", state: SensorState, reading: Reading, at: Instant, now: Instant, effects: Effects) -> None:
    """Take a 1 of a smoke detector or a panic button, at once."""
    was_on, retained = state.level == 1.0, bool(reading.flags & RETAINED)
    if reading.quantity == Quantity.SMOKE:
        state.smell(1.0, at)
    elif retained:
        return
    if retained and was_on:
        return  # the same old word of the broker at every reconnect
    held_on = was_on and state.sensor.kind == Kind.SMOKE
    for watch in home.watches:
        if watch.is_signal and state in watch.sensors:
            _cry(home, watch, _evidence(home, state, at), now, effects, held_on=held_on)


def still_burning(home: "Home", watch: Watch, at: Instant, now: Instant, effects: Effects) -> None:
    """After a test: smoke that is still there is real from now on."""
    for state in watch.sensors:
        if state.level == 1.0 and state.sensor.kind == Kind.SMOKE:
            home.cases.raise_alarm(watch.rule, at, now, replace(_evidence(home, state, at), since=at), effects)
            return


def closed(home: "Home", watch: Watch, at: Instant) -> None:
    """Somebody closed its alarm while a detector still says smoke: it may rise again without another word of it."""
    if any(state.level == 1.0 and state.sensor.kind == Kind.SMOKE for state in watch.sensors):
        watch.wakes_at = at + SMOKE_REARM
        home.deadline = min(home.deadline, watch.wakes_at)


def burns_on(home: "Home", watch: Watch, at: Instant, now: Instant, effects: Effects) -> None:
    """Half an hour after closing: smoke that a detector still says, and can be believed to say, is a new alarm.

    From a detector that is no longer observed, or while the box is blind, it rises with the detector's next word.
    """
    for state in watch.sensors:
        burns = state.level == 1.0 and state.sensor.kind == Kind.SMOKE
        seen = state.observed and state.fresh_until > at and not home.is_blind
        if burns and seen and home.cases.open_alarm(watch.rule.rule_id) is None:
            evidence = replace(_evidence(home, state, at), sensors=(state.evidence(Quantity.SMOKE),))
            home.cases.raise_alarm(watch.rule, at, now, evidence, effects)
            return


def _evidence(home: "Home", state: SensorState, at: Instant) -> Evidence:
    quantity = Quantity.SMOKE if state.sensor.kind == Kind.SMOKE else Quantity.PANIC
    seen = (SensorEvidence(state.sensor.sensor_id, quantity, 1.0, at, observed=True),)
    return Evidence(at, 0, 0, seen, test=home.in_test(at))


def _cry(home: "Home", watch: Watch, evidence: Evidence, now: Instant, effects: Effects, *, held_on: bool) -> None:
    rule, cases, at = watch.rule, home.cases, evidence.since
    alarm = cases.open_alarm(rule.rule_id)
    if alarm is not None and alarm.evidence.test and not evidence.test:
        orders.end_test(home, at, now, effects)  # a real cry while a test alarm still stands open
        alarm = cases.open_alarm(rule.rule_id)
    if alarm is None:
        last = cases.last_closed(rule.rule_id)
        closed_at = last.closed_at if last is not None else None
        if closed_at is not None and held_on and at < closed_at + SMOKE_REARM:
            return  # the same smoke that was there when somebody closed it
        cases.raise_alarm(rule, at, now, evidence, effects)
        return
    is_smoke = evidence.sensors[0].quantity == Quantity.SMOKE
    answered_at = alarm.acknowledged_at if alarm.response is Response.ACKNOWLEDGED else None
    repage = SMOKE_REPAGE if is_smoke else PANIC_REPAGE
    if answered_at is not None and not held_on and at >= answered_at + repage:
        cases.recur(rule.rule_id, at, now, evidence, effects)
    else:
        cases.count_again(rule.rule_id, effects)
