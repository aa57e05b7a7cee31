# ruff: noqa: PERF401, SIM102 - written to be read line by line against the rules
"""A second opinion on every alarm of a home: the shipped rules' sentences, evaluated by brute force over the time line.

Knows nothing of the engine: no heaps, no lateness, no restarts. It is given what was observed, in the order in which it
was observed, what people said, and when the box was blind; at every instant at which anything can change it looks at
every rule again. Readings that came too late for their place are not its business (``is_exact``).
"""

from dataclasses import dataclass, field
from datetime import tzinfo
from typing import NamedTuple

from sensor_guard.engine.conditions import BATTERY_MARGIN, REARM_FOR, next_edge
from sensor_guard.engine.plan import Form, HomePlan, Rule, Sensor
from sensor_guard.engine.signals import SMOKE_REARM
from sensor_guard.model import RETAINED, CommandKind, Instant, Reading, Span
from tests.sim.history import History

FAR = 1 << 60


class Due(NamedTuple):
    """An alarm that must be. ``by``: why, in a word: hold, signal, or test (what a test's end brings)."""

    rule_id: str
    at: Instant
    by: str


@dataclass
class Device:
    sensor: Sensor
    silent_at: Instant
    level: float | None = None
    level_at: Instant | None = None
    fresh_until: Instant = 0
    observed: bool = False
    silent: bool = False
    battery: float | None = None
    heard_at: Instant | None = None


@dataclass
class Look:
    """One rule in one home, or at one of its sensors where each has a hold of its own."""

    rule: Rule
    devices: list[Device]
    needs: Span
    truth: bool | None = None
    since: Instant = 0
    counted: Span = 0
    met: bool = False
    waits: bool = field(default=False)


class Oracle:
    """One home. ``due``: every alarm that the truth demands, in order of time, as true times."""

    def __init__(self, plan: HomePlan, rules: tuple[Rule, ...], zone: tzinfo, history: History, end: Instant) -> None:
        self.zone, self.end = zone, end
        self.due: list[Due] = []
        self.open: dict[str, bool] = {}  # rule -> whether it is a test
        self.away_until = self.test_until = 0
        self.is_away = self.is_blind = False
        self.blind_from = 0
        self.muted: dict[str, Instant] = {}
        start = history.batches[0][1]
        self.devices = {one.sensor_id: Device(one, start + one.observed_for) for one in plan.sensors}
        self.looks: list[Look] = []
        for rule in rules:
            condition = rule.condition
            devices = [one for one in self.devices.values() if condition.kind in (None, one.sensor.kind)]
            if rule.rule_id in ("panic", "smoke") or not devices:
                continue
            each = condition.form in (Form.ABOVE, Form.IS, Form.ACTIVE)
            for group in [[one] for one in devices] if each else [devices]:
                self.looks.append(Look(rule, group, condition.hold_for))
        self.windows = {look.rule.condition.between for look in self.looks} - {None}
        self.edge_at = min((next_edge(start, window, zone) for window in self.windows), default=FAR)
        self._run(_timeline(plan.home_id, history), start)

    # -- the sweep ------------------------------------------------------------------------------------------------

    def _run(self, timeline: list[tuple[Instant, int, str, object]], start: Instant) -> None:
        self._look_at_all(start)
        for at, _, what, item in timeline:
            while (when := self._next()) <= min(at, self.end):
                self._fire(when)
            if at > self.end:
                return
            getattr(self, f"_{what}")(at, item)
            self._look_at_all(at)
        while (when := self._next()) <= self.end:
            self._fire(when)

    def _next(self) -> Instant:
        due = [self.edge_at, *self.muted.values()]
        if self.is_away:
            due.append(self.away_until)
        if self.test_until:
            due.append(self.test_until)
        for look in self.looks:
            if look.truth and not look.met:
                due.append(look.since + look.needs - look.counted)
        if not self.is_blind:
            for one in self.devices.values():
                if one.observed:
                    due.append(one.fresh_until)
                if not one.silent:
                    due.append(one.silent_at)
        return min(due)

    def _fire(self, at: Instant) -> None:
        for look in self.looks:
            if look.truth and not look.met and look.since + look.needs - look.counted <= at:
                self._complete(look, at)
        if self.edge_at <= at:
            self.edge_at = min(next_edge(at, window, self.zone) for window in self.windows)
        if not self.is_blind:
            for one in self.devices.values():
                one.observed = one.observed and one.fresh_until > at
                one.silent = one.silent or one.silent_at <= at
        for rule_id in [rule_id for rule_id, until in self.muted.items() if until <= at]:
            del self.muted[rule_id]
            self._raise_held_back(rule_id, at)
        if self.is_away and self.away_until <= at:
            self.is_away = False
        self._look_at_all(at)
        if self.test_until and self.test_until <= at:
            self._test_ends(at)

    def _look_at_all(self, at: Instant) -> None:
        for look in self.looks:
            truth = self._truth(look, at)
            if truth == look.truth:
                continue
            if look.truth:
                look.counted += at - look.since
            look.truth = truth
            if truth is False:
                look.counted, look.met, look.needs = 0, False, look.rule.condition.hold_for
            elif truth:
                look.since = at
                if not look.met and look.needs <= look.counted:
                    self._complete(look, at)
                elif look.met and look.rule.rule_id not in self.open:
                    self._raise(look, at)

    def _complete(self, look: Look, at: Instant) -> None:
        look.met = True
        self._raise(look, at)

    def _raise(self, look: Look, at: Instant, by: str = "hold") -> None:
        rule = look.rule
        if rule.rule_id not in self.open and not (rule.mutable and rule.rule_id in self.muted):
            self.open[rule.rule_id] = at < self.test_until
            self.due.append(Due(rule.rule_id, at, by))

    def _raise_held_back(self, rule_id: str, at: Instant) -> None:
        for look in self.looks:
            if look.rule.rule_id == rule_id and look.met and look.truth:
                self._raise(look, at)

    # -- what a rule says at one instant --------------------------------------------------------------------------

    def _truth(self, look: Look, at: Instant) -> bool | None:  # noqa: PLR0911 - a list of forms
        condition = look.rule.condition
        if (look.rule.unless_away and self.is_away) or (
            condition.between is not None and not _is_within(at, condition.between, self.zone)
        ):
            return False
        if condition.form is Form.SILENT:
            return True if any(one.silent for one in look.devices) else (None if self.is_blind else False)
        if condition.quantity == "battery_pct":
            limit = condition.threshold + (BATTERY_MARGIN if look.truth else 0)
            known = [one.battery for one in look.devices if one.battery is not None]
            return any(level < limit for level in known) if known else None
        if self.is_blind:
            return None
        levels = [one.level if one.observed else None for one in look.devices]
        if condition.form is Form.BELOW:
            if any(level is not None and level >= condition.threshold for level in levels):
                return False
            return None if None in levels else True
        if condition.form is Form.QUIET:
            meters = [one for one in look.devices if one.sensor.kind in ("power", "water")]
            if any(one.observed and one.level is not None and one.level > condition.threshold for one in meters):
                return False
            unknown = any(not one.observed for one in look.devices) or any(one.level is None for one in meters)
            return None if unknown else True
        if any(level is not None and level > condition.threshold for level in levels):
            return True
        return None if None in levels else False

    # -- what happens ---------------------------------------------------------------------------------------------

    def _reading(self, at: Instant, item: object) -> None:
        assert isinstance(item, Reading)
        one = self.devices.get(item.sensor_id)
        if one is None:
            return
        span = one.sensor.observed_for
        if item.flags & RETAINED:
            # Left with the broker some time ago: what is open or burns may still be so, where nobody knows better.
            if item.quantity in ("door_open", "smoke") and item.value == 1 and not one.observed:
                one.level, one.observed, one.fresh_until = item.value, True, at + span
            return
        one.heard_at, one.silent, one.silent_at = at, False, at + span
        is_meter = one.sensor.kind in ("power", "water")
        before = one.level
        if not is_meter:
            one.observed, one.fresh_until = True, at + span
        if item.quantity == "battery_pct":
            one.battery = item.value
        if item.quantity in ("power_w", "flow_l_min", "door_open", "smoke"):
            one.level, one.observed, one.fresh_until = item.value, True, at + span
        active = (
            (item.quantity == "motion" and item.value == 1)
            or (item.quantity == "flow_l_min" and item.value > 0)
            or (item.quantity == "door_open" and before is not None and before != item.value)
        )
        in_use = self.is_blind and item.quantity == "power_w"
        for look in self.looks:
            if in_use and look.rule.rule_id == "electricity_low" and item.value >= look.rule.condition.threshold:
                # Nobody saw the rest of the time, but this was seen.
                if not look.met:
                    look.counted, look.since, look.needs = 0, at, look.rule.condition.hold_for
            if active and look.rule.condition.form is Form.QUIET and one in look.devices:
                look.counted, look.met, look.since = 0, False, at
                look.needs = look.rule.condition.hold_for

    def _blind_begins(self, at: Instant, _item: object) -> None:
        self.is_blind, self.blind_from = True, at

    def _blind_ends(self, at: Instant, _item: object) -> None:
        for one in self.devices.values():
            heard = one.heard_at if one.heard_at is not None else self.blind_from
            lost = at - max(self.blind_from, min(heard, at))
            one.silent_at += lost
            if one.observed:
                one.fresh_until += lost
        self.is_blind = False

    def _closed(self, at: Instant, item: object) -> None:
        rule_id = str(item)
        self.open.pop(rule_id, None)
        for look in self.looks:
            if look.rule.rule_id == rule_id:
                # Only what was still there waits: what was over comes back as a new alarm.
                goes_on = look.truth or look.met or look.counted > 0
                look.counted, look.met = 0, False
                look.needs = look.rule.condition.hold_for or (REARM_FOR if goes_on else 0)
                look.since = at

    def _away(self, _at: Instant, until: object) -> None:
        self.is_away, self.away_until = True, int(str(until))

    def _back(self, _at: Instant, _item: object) -> None:
        self.is_away = False

    def _mute(self, _at: Instant, item: object) -> None:
        rule_id, until = item  # type: ignore[misc]
        self.muted[rule_id] = until

    def _test(self, _at: Instant, until: object) -> None:
        self.test_until = int(str(until))

    def _test_ends(self, at: Instant) -> None:
        self.test_until = 0
        for rule_id in [rule_id for rule_id, is_test in self.open.items() if is_test]:
            del self.open[rule_id]
            for look in self.looks:
                if look.rule.rule_id != rule_id:
                    continue
                if look.met and look.truth:
                    self._raise(look, at, "test")
                else:
                    look.counted, look.met, look.since, look.needs = 0, False, at, look.rule.condition.hold_for


def signals(plan: HomePlan, history: History, lateness: Span, end: Instant) -> list[Due]:  # noqa: C901, PLR0912 - one sweep
    """What smoke and the button must raise: in the order in which they came, one alarm until somebody closes it.

    Smoke that a detector still says half an hour after closing is a new alarm. Where the home's time stood still just
    then it depends on what waited: ``by`` is "perhaps".
    """
    home_id = plan.home_id
    observed_for = {one.sensor_id: one.observed_for for one in plan.sensors}
    frozen, heard_at = history.frozen(), {}
    for _, one in history.readings:
        if one.home_id == home_id and observed_for.get(one.sensor_id) and not one.flags & RETAINED:
            heard_at.setdefault(one.sensor_id, []).append(min(one.observed_at, one.received_at))
    heard = [
        (one.received_at, seq, "reading", one)
        for seq, one in history.readings
        if one.home_id == home_id and one.quantity in ("smoke", "panic")
    ]
    closings = [
        (step.at, step.batch_seq, "test_ends" if history.is_test_end(step) else "closed", step.rule_id)
        for step in history.steps
        if step.home_id == home_id and step.after == "closed" and step.rule_id in ("smoke", "panic")
    ]
    found: list[Due] = []
    is_open: set[str] = set()
    closed_at: dict[str, Instant] = {}
    newest: dict[str, tuple[Instant, float]] = {}  # a detector's last word is the last that it said, not that came
    rises_at = FAR
    for at, _, what, item in [*sorted([*heard, *closings], key=lambda one: one[:2]), (end + lateness, FAR, "", None)]:
        if rises_at + lateness <= at:
            is_fresh = any(
                level == 1.0 and any(rises_at - observed_for[name] < when <= rises_at for when in heard_at[name])
                for name, (_, level) in newest.items()
            )
            if is_fresh and "smoke" not in is_open:
                stood = any(begins <= rises_at + lateness and rises_at <= ends for begins, ends in frozen)
                # Blind since the closing, nobody knows whether it still burns: the detector's next word says so.
                closed = rises_at - SMOKE_REARM
                stood = stood or any(begins <= rises_at and closed <= ends for begins, ends in history.blind())
                found.append(Due("smoke", rises_at, "perhaps" if stood else "signal"))
                is_open.add("smoke")
            rises_at = FAR
        if not what:
            break
        if what != "reading":
            if item == "smoke":
                burns = any(level == 1.0 for _, level in newest.values())
                rises_at = at + SMOKE_REARM if burns else FAR
            is_open.discard(str(item))
            closed_at[str(item)] = at
            if what == "test_ends" and item == "smoke" and any(level == 1.0 for _, level in newest.values()):
                is_open.add("smoke")
                found.append(Due("smoke", at, "test"))
            continue
        assert isinstance(item, Reading)
        when = min(item.observed_at, item.received_at)
        said_at, level = newest.get(item.sensor_id, (when, 0.0))
        held_on = item.quantity == "smoke" and level == 1.0
        if item.flags & RETAINED and (held_on or item.value != 1.0):
            continue  # an old word: it says no more than is known, and no all-clear
        if item.quantity == "smoke" and when >= said_at:
            newest[item.sensor_id] = when, item.value
        if item.value != 1.0 or item.quantity in is_open:
            continue
        if held_on and item.quantity in closed_at and when < closed_at[item.quantity] + SMOKE_REARM:
            continue
        is_open.add(item.quantity)
        found.append(Due(item.quantity, when, "signal"))
    return found


def _timeline(home_id: str, history: History) -> list[tuple[Instant, int, str, object]]:
    found: list[tuple[Instant, int, str, object]] = [
        (min(one.observed_at, one.received_at), seq, "reading", one)
        for seq, one in history.readings
        if one.home_id == home_id
    ]
    for begins, ends in history.undecided_blind():
        found += [(begins, -1, "blind_begins", None), (ends, -1, "blind_ends", None)]
    for step in history.steps:
        if step.home_id == home_id and step.after == "closed" and not history.is_test_end(step):
            found.append((step.at, step.batch_seq, "closed", step.rule_id))
    for seq, one in history.commands():
        at = history.true(one.at, seq)
        until = None if one.until is None else history.true(one.until, seq)
        if one.kind == CommandKind.AWAY and one.target_id == home_id:
            found.append((at, seq, "away", until))
        elif one.kind == CommandKind.BACK and one.target_id == home_id:
            found.append((at, seq, "back", None))
        elif one.kind == CommandKind.TEST_MODE and one.target_id == home_id:
            found.append((at, seq, "test", until))
        elif (
            one.kind == CommandKind.MUTE and one.home_id in (None, home_id) and one.target_id not in ("panic", "smoke")
        ):
            found.append((at, seq, "mute", (one.target_id, until)))
    return sorted(found, key=lambda one: one[:2])


def _is_within(at: Instant, between: tuple[int, int], zone: tzinfo) -> bool:
    # The night's edges in this world lie on whole minutes of a zone without summer time.
    minute = (at // 60_000 + 8 * 60) % 1_440
    start, end = between
    del zone
    return start <= minute < end if start <= end else minute >= start or minute < end
