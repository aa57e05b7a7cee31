"""What people say about a home: away and back, mute, test mode, and that an alarm is closed."""

from typing import TYPE_CHECKING

from sensor_guard.engine import signals
from sensor_guard.engine.conditions import FAR, REARM_FOR, TRUE
from sensor_guard.model import Alarm, Command, CommandKind, Effects, Instant

if TYPE_CHECKING:
    from sensor_guard.engine.home import Home


AWAY = ""
"""The key of an absence among a home's ends by the wall clock; the others are ids of rules."""


def command(home: "Home", item: Command, until: Instant, now: Instant, effects: Effects) -> None:
    """Somebody says something about this home or one of its alarms. ``until``: how far it can be decided first."""
    home.advance(until, now, effects)
    if item.kind in (CommandKind.ACKNOWLEDGE, CommandKind.CLOSE):
        alarm = home.cases.command(item, now, effects)
        if alarm is not None:
            closed(home, alarm, item.at)
    elif item.kind == CommandKind.AWAY:
        away(home, item.until or FAR, item.at, now, effects)
    elif item.kind == CommandKind.BACK:
        back(home, item.at, now, effects)
    elif item.kind == CommandKind.TEST_MODE and item.until is not None:
        begin_test(home, item, item.until, effects)


def away(home: "Home", until: Instant, at: Instant, now: Instant, effects: Effects) -> None:
    """The home is empty until ``until``: rules that say so are suspended."""
    _set_away(home, until, at, now, effects)


def back(home: "Home", at: Instant, now: Instant, effects: Effects) -> None:
    """The home is lived in again: suspended rules start afresh."""
    _set_away(home, None, at, now, effects)


def _set_away(home: "Home", until: Instant | None, at: Instant, now: Instant, effects: Effects) -> None:
    _say_anew(home, AWAY)
    home.is_away = until is not None
    home.away_until = until if until is not None else FAR
    effects.changed = True
    for watch in home.watches:
        if watch.rule.unless_away:
            home.evaluate(watch, at, now, effects)
    home.deadline = home.next_deadline()


def mute(home: "Home", rule_id: str, until: Instant, effects: Effects) -> None:
    """Raise nothing new of this rule until then."""
    _say_anew(home, rule_id)
    home.muted_until = {**home.muted_until, rule_id: until}
    effects.changed = True
    home.deadline = min(home.deadline, until)


def unmute(home: "Home", rule_id: str, at: Instant, now: Instant, effects: Effects) -> None:
    """The silence ends: what is true and was held back rises now."""
    if rule_id not in home.muted_until:
        return
    home.muted_until = {known: until for known, until in home.muted_until.items() if known != rule_id}
    effects.changed = True
    for watch in home.watches_of(rule_id):
        if watch.is_met and watch.truth is TRUE and home.cases.open_alarm(rule_id) is None:
            home.raise_alarm(watch, at, now, effects)


def begin_test(home: "Home", item: Command, until: Instant, effects: Effects) -> None:
    """From when it was said until then alarms of this home are tests and text nobody. Said again, it only goes on."""
    home.test_from = min(home.test_from, item.at) if home.test_until else item.at
    home.test_until, home.test_by = until, item.actor_id
    effects.changed = True
    home.deadline = min(home.deadline, until)


def end_test(home: "Home", at: Instant, now: Instant, effects: Effects) -> None:
    """Test alarms end with it; what is still true is real from here on."""
    home.test_until = 0
    effects.changed = True
    for alarm in home.cases.close_tests(home.test_by, at, effects):
        for watch in home.watches_of(alarm.rule_id):
            if watch.is_signal:
                signals.still_burning(home, watch, at, now, effects)
            elif watch.is_met and watch.truth is TRUE:
                home.raise_alarm(watch, at, now, effects)
            else:
                watch.restart(at)
                home.deadline = min(home.deadline, watch.deadline())


def closed(home: "Home", alarm: Alarm, at: Instant) -> None:
    """Somebody closed this alarm: its condition must hold afresh before it rises again.

    Only what is still there waits for ``REARM_FOR``: what was over when it was closed and comes back is a new alarm.
    """
    for watch in home.watches_of(alarm.rule_id):
        if watch.is_signal:
            signals.closed(home, watch, at)
        else:
            goes_on = watch.truth is TRUE or watch.since is not None
            watch.restart(at, watch.condition.hold_for or (REARM_FOR if goes_on else 0))
            home.deadline = min(home.deadline, watch.deadline())


def _say_anew(home: "Home", key: str) -> None:
    """Whatever was said of this before the clock was lost is over."""
    if key in home.as_said:
        home.as_said = {name: until for name, until in home.as_said.items() if name != key}
