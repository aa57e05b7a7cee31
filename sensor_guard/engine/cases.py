"""The alarms of one home: raising, answering, and the climb of each; at most one open alarm a rule."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

from sensor_guard.engine.alarm import Happening, alarm_id_for, happen
from sensor_guard.engine.conditions import FAR
from sensor_guard.engine.escalation import Climb
from sensor_guard.engine.plan import HomePlan, Ladder, Rule
from sensor_guard.model import (
    Alarm,
    AlarmOutcome,
    Command,
    CommandKind,
    DeliveryReport,
    Effects,
    Evidence,
    Instant,
    Response,
    Span,
    Transition,
    Truth,
)

KEEP_CLOSED: Span = 48 * 3_600_000
"""A closed alarm is remembered for this long, so that late reports and late readings find it."""

NOTHING = cast("dict[str, Any]", MappingProxyType({}))
"""What most homes have of most things, one for all of them; whoever writes into it by mistake gets a TypeError."""


class Cases:
    """The open alarms of one home, by rule, and lately closed ones.

    ``ladders`` by name come from the home's plan; an alarm whose ladder is no longer there uses any that is left, and
    waits for the next plan when there is none.
    """

    __slots__ = ("alarms", "climbs", "ladder_of", "last_second", "open_by_rule", "plan")

    def __init__(self, plan: HomePlan) -> None:
        self.plan = plan
        # Most homes have no alarm: the dictionaries are made for the first one.
        self.ladder_of: dict[str, str] = NOTHING  # alarm_id -> ladder name
        self.alarms: dict[str, Alarm] = NOTHING
        self.climbs: dict[str, Climb] = NOTHING
        self.open_by_rule: dict[str, str] = NOTHING
        self.last_second: dict[str, int] = NOTHING  # rule_id -> second in its newest alarm_id

    def make_room(self) -> None:
        """Be ready for a first alarm."""
        if self.alarms is NOTHING:
            self.ladder_of, self.alarms, self.climbs, self.open_by_rule, self.last_second = {}, {}, {}, {}, {}

    def open_alarm(self, rule_id: str) -> Alarm | None:
        """Give the open alarm of this rule, if there is one."""
        alarm_id = self.open_by_rule.get(rule_id)
        return self.alarms[alarm_id] if alarm_id else None

    def last_closed(self, rule_id: str) -> Alarm | None:
        """Give the newest closed alarm of this rule that is still remembered."""
        closed = [a for a in self.alarms.values() if a.rule_id == rule_id and a.closed_at is not None]
        return max(closed, key=lambda alarm: alarm.closed_at or 0, default=None)

    def raise_alarm(self, rule: Rule, at: Instant, now: Instant, evidence: Evidence, effects: Effects) -> None:
        """Open an alarm; nobody is told yet (``advance`` does that). A test alarm has no climb."""
        self.make_room()
        # Two alarms of one rule within a second would share their id: the later one takes the next second.
        second = max(at // 1_000, self.last_second.get(rule.rule_id, -1) + 1)
        self.last_second[rule.rule_id] = second
        alarm_id = alarm_id_for(self.plan.home_id, rule.rule_id, second)
        alarm = Alarm(
            alarm_id=alarm_id,
            rule_id=rule.rule_id,
            home_id=self.plan.home_id,
            severity=rule.severity,
            condition=Truth.TRUE,
            response=Response.UNANSWERED,
            raised_at=at,
            noticed_at=now,
            evidence=evidence,
        )
        self.alarms[alarm_id] = alarm
        self.open_by_rule[rule.rule_id] = alarm_id
        self.ladder_of[alarm_id] = rule.ladder
        if not evidence.test:
            self.climbs[alarm_id] = Climb(now)
        effects.alarms[alarm_id] = alarm
        effects.transitions.append(Transition(alarm_id, "condition", "", Truth.TRUE, at, "raised"))

    def happens(self, rule_id: str, happening: Happening, at: Instant, effects: Effects) -> None:
        """The condition of the rule's open alarm, if any, takes a step."""
        alarm = self.open_alarm(rule_id)
        if alarm is not None:
            self.alarms[alarm.alarm_id] = happen(alarm, happening, at, effects)

    def recur(self, rule_id: str, at: Instant, now: Instant, evidence: Evidence, effects: Effects) -> None:
        """An open alarm is there again: if somebody had answered, everybody is asked afresh."""
        alarm = self.open_alarm(rule_id)
        assert alarm is not None
        answered = alarm.response is Response.ACKNOWLEDGED
        # What rose in test mode stays a test, and what rose for real stays real.
        test, count = alarm.evidence.test, alarm.evidence.count + 1
        alarm = replace(alarm, evidence=replace(evidence, count=count, test=test))
        changed = happen(alarm, Happening.RECURRED, at, effects)
        self.alarms[alarm.alarm_id] = changed
        effects.alarms[alarm.alarm_id] = changed
        climb = self.climbs.get(alarm.alarm_id)
        if answered and climb is not None:
            climb.start_again(now)

    def count_again(self, rule_id: str, effects: Effects) -> None:
        """The same cry once more while nobody has answered: counted, not told again."""
        alarm = self.open_alarm(rule_id)
        assert alarm is not None
        evidence = replace(alarm.evidence, count=alarm.evidence.count + 1)
        self.alarms[alarm.alarm_id] = effects.alarms[alarm.alarm_id] = replace(alarm, evidence=evidence)
        effects.changed = True

    def command(self, command: Command, now: Instant, effects: Effects) -> Alarm | None:
        """Acknowledge or close; the closed alarm, or None. A refusal with its reason goes to ``effects``."""
        alarm = self.alarms.get(command.target_id)
        refusal = _refusal(alarm, command)
        if refusal or alarm is None:
            effects.refused.append((command.command_id, refusal))
            return None
        closes = command.kind == CommandKind.CLOSE
        changed = happen(
            alarm,
            Happening.CLOSED if closes else Happening.ACKNOWLEDGED,
            command.at,
            effects,
            actor_id=command.actor_id,
            note=command.note,
            outcome=command.outcome,
        )
        self._answered(changed, now, effects)
        return changed if closes else None

    def close_tests(self, actor_id: str, at: Instant, effects: Effects) -> list[Alarm]:
        """End the alarms raised in test mode, in the name of the person who switched it on."""
        closed = []
        for alarm in [a for a in self.alarms.values() if a.evidence.test and a.closed_at is None]:
            changed = happen(
                alarm,
                Happening.CLOSED,
                at,
                effects,
                actor_id=actor_id,
                note="test mode ended",
                outcome=AlarmOutcome.TEST,
            )
            self._answered(changed, at, effects)
            closed.append(changed)
        return closed

    def report(self, report: DeliveryReport, now: Instant, effects: Effects) -> None:
        """Tell the climb what became of a text."""
        alarm_id = report.notification_id.rpartition(".")[0]
        alarm, climb = self.alarms.get(alarm_id), self.climbs.get(alarm_id)
        if alarm is not None and climb is not None:
            climb.reported(alarm, report.notification_id, report.state, report.reason, now, effects)

    def next_due(self) -> Instant:
        """When the earliest climb wants to be looked at, or a closed alarm may be forgotten."""
        due = FAR
        for alarm_id, alarm in self.alarms.items():
            climb = self.climbs.get(alarm_id)
            if alarm.closed_at is not None:
                due = min(due, alarm.closed_at + KEEP_CLOSED)
            elif climb is not None and self._ladder(alarm) is not None:
                due = min(due, climb.next_due(alarm))
        return due

    def advance(self, now: Instant, effects: Effects) -> None:
        """Tell whoever is due, and forget what was closed long ago."""
        for alarm in list(self.alarms.values()):
            if alarm.closed_at is not None:
                if alarm.closed_at + KEEP_CLOSED <= now:
                    self._forget(alarm)
                continue
            climb, ladder = self.climbs.get(alarm.alarm_id), self._ladder(alarm)
            if climb is not None and ladder is not None and climb.next_due(alarm) <= now:
                climb.advance(alarm, ladder, now, effects)

    def shift(self, offset: Span) -> None:
        """The wall clock was set: every instant that is still counted from moves with it."""
        for alarm_id, alarm in self.alarms.items():
            # Here only, to count from: the journal keeps the times as they were.
            self.alarms[alarm_id] = replace(
                alarm,
                acknowledged_at=None if alarm.acknowledged_at is None else alarm.acknowledged_at + offset,
                closed_at=None if alarm.closed_at is None else alarm.closed_at + offset,
            )
        for climb in self.climbs.values():
            climb.base_at += offset
            climb.due_at += offset
            if climb.remind_at != FAR:
                climb.remind_at += offset

    def _answered(self, changed: Alarm, now: Instant, effects: Effects) -> None:
        self.alarms[changed.alarm_id] = changed
        if changed.response is Response.CLOSED:
            self.open_by_rule.pop(changed.rule_id, None)
        climb, ladder = self.climbs.get(changed.alarm_id), self._ladder(changed)
        if climb is not None and ladder is not None:
            climb.answered(changed, ladder, now, effects)

    def _ladder(self, alarm: Alarm) -> Ladder | None:
        name = self.ladder_of.get(alarm.alarm_id, "")
        ladders = self.plan.ladders
        return next((one for known, one in ladders if known == name), ladders[0][1] if ladders else None)

    def _forget(self, alarm: Alarm) -> None:
        del self.alarms[alarm.alarm_id]
        self.climbs.pop(alarm.alarm_id, None)
        self.ladder_of.pop(alarm.alarm_id, None)


def _refusal(alarm: Alarm | None, command: Command) -> str:
    if alarm is None:
        return f"there is no open alarm {command.target_id}; `sensor-guard alarms` lists them"
    if alarm.response is Response.CLOSED:
        return f"{alarm.alarm_id} was closed by {alarm.closed_by}: {alarm.outcome}"
    if command.kind == CommandKind.ACKNOWLEDGE and alarm.response is Response.ACKNOWLEDGED:
        return f"{alarm.alarm_id} was already answered by {alarm.acknowledged_by}"
    if command.kind == CommandKind.CLOSE and not command.outcome:
        return f"closing needs an outcome: {', '.join(AlarmOutcome)}"
    return ""
