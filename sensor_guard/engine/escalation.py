"""Who is told, when, until somebody answers: the climb of one alarm up its ladder.

The climb runs on the daemon's own time (``now``), from the moment the alarm was noticed: people can only be told from
then on. It looks at the alarm's response alone, never at its condition.
"""

from sensor_guard.engine.conditions import FAR
from sensor_guard.engine.plan import Ladder
from sensor_guard.model import (
    Alarm,
    Effects,
    Instant,
    Notification,
    NotificationKind,
    NotificationState,
    Response,
)

_TOLD = (NotificationState.ACCEPTED, NotificationState.DELIVERED, NotificationState.AMBIGUOUS)
_CALLS = (NotificationKind.ALARM, NotificationKind.REMINDER, NotificationKind.UNCLOSED)


ASKED_LIMIT = 50
"""Texts to one person that are remembered. The oldest beyond it is taken back: a newer one asks the same."""


class Climb:
    """How far up its ladder an alarm is.

    ``step``: the next step to take (beyond the last one: everybody again); ``due_at``: when; ``asked``: what was
    written, notification id -> (recipient, kind, step), of each person the newest ``ASKED_LIMIT``; ``told``: who has a
    text, in order, each once.
    """

    __slots__ = ("asked", "base_at", "count", "due_at", "remind_at", "step", "told")

    def __init__(self, base_at: Instant) -> None:
        self.base_at = base_at
        self.step = 0
        self.due_at: Instant = base_at
        self.remind_at: Instant = FAR
        self.count = 0
        self.asked: dict[str, tuple[str, str, int]] = {}
        self.told: list[str] = []

    def next_due(self, alarm: Alarm) -> Instant:
        """When the ladder wants to be looked at again; FAR once the alarm is closed."""
        if alarm.response is Response.UNANSWERED:
            return self.due_at
        return self.remind_at if alarm.response is Response.ACKNOWLEDGED else FAR

    def advance(self, alarm: Alarm, ladder: Ladder, now: Instant, effects: Effects) -> None:
        """Tell whoever is due. After a long stop the overdue steps come at once, the overdue repeats as one."""
        if alarm.response is Response.ACKNOWLEDGED and self.remind_at <= now:
            # Answered, and nobody has said how it ended: whoever answered, and the first step, are asked to close it.
            people = dict.fromkeys([*ladder.steps[0].recipient_ids, *_actors(alarm, self.told)])
            for person in people:
                self._ask(alarm, NotificationKind.UNCLOSED, person, 0, now, effects)
            self.remind_at = now + ladder.remind_unclosed
            return
        while alarm.response is Response.UNANSWERED and self.due_at <= now:
            if self.step < len(ladder.steps):
                for person in ladder.steps[self.step].recipient_ids:
                    asked = any(person == who for who, _, _ in self.asked.values())
                    kind = NotificationKind.REMINDER if asked else NotificationKind.ALARM
                    self._ask(alarm, kind, person, self.step, self.due_at, effects)
            else:
                for person in dict.fromkeys(who for step in ladder.steps for who in step.recipient_ids):
                    self._ask(alarm, NotificationKind.REMINDER, person, self.step, self.due_at, effects)
            self.step += 1
            if self.step < len(ladder.steps):
                self.due_at = max(self.due_at, self.base_at + ladder.steps[self.step].after)
            else:
                self.step = len(ladder.steps)
                self.due_at += ladder.repeat_every
                if self.due_at <= now:
                    self.due_at = now + ladder.repeat_every

    def answered(self, alarm: Alarm, ladder: Ladder, now: Instant, effects: Effects) -> None:
        """Somebody has acknowledged or closed: what still waits is cancelled, whoever was told may stand down."""
        effects.cancelled.extend(nid for nid, (_, kind, _) in self.asked.items() if kind in _CALLS)
        closed = alarm.response is Response.CLOSED
        self.remind_at = FAR if closed else now + ladder.remind_unclosed
        actor = alarm.closed_by if closed else alarm.acknowledged_by
        kind = NotificationKind.CLOSED if closed else NotificationKind.STAND_DOWN
        for person in self.told:
            if person != actor:
                self._ask(alarm, kind, person, self.step, now, effects)

    def start_again(self, now: Instant) -> None:
        """A new cry: from the first step, at once."""
        self.base_at = now
        self.due_at = now
        self.step = 0
        self.remind_at = FAR

    def reported(
        self, alarm: Alarm, notification_id: str, state: str, reason: str, now: Instant, effects: Effects
    ) -> None:
        """What became of a text: a failed or undelivered one sends the ladder to the next person at once."""
        person, kind, step = self.asked.get(notification_id, ("", "", -1))
        if kind not in _CALLS:
            return
        if state in _TOLD and person not in self.told:
            self.told.append(person)
            if alarm.response is not Response.UNANSWERED and kind != NotificationKind.UNCLOSED:
                # The text went out while somebody was answering: this person may stand down as well.
                actor = alarm.closed_by or alarm.acknowledged_by
                if person != actor:
                    closed = alarm.response is Response.CLOSED
                    after = NotificationKind.CLOSED if closed else NotificationKind.STAND_DOWN
                    self._ask(alarm, after, person, step, now, effects)
        missed = state == NotificationState.FAILED or reason == "undelivered_2min"
        if missed and alarm.response is Response.UNANSWERED and step == self.step - 1:
            self.due_at = min(self.due_at, now)

    def _ask(self, alarm: Alarm, kind: str, person: str, step: int, due_at: Instant, effects: Effects) -> None:
        self.count += 1
        notification_id = f"{alarm.alarm_id}.{self.count}"
        self.asked[notification_id] = (person, kind, step)
        for old in [nid for nid, (who, _, _) in self.asked.items() if who == person][:-ASKED_LIMIT]:
            if self.asked.pop(old)[1] in _CALLS:
                effects.cancelled.append(old)
        effects.notifications.append(
            Notification(
                notification_id=notification_id,
                alarm_id=alarm.alarm_id,
                home_id=alarm.home_id,
                rule_id=alarm.rule_id,
                kind=kind,
                severity=alarm.severity,
                step=step,
                recipient_id=person,
                due_at=due_at,
                params=params_of(alarm),
            )
        )


def params_of(alarm: Alarm) -> tuple[tuple[str, str], ...]:
    """Give what a text may say about an alarm: ids, numbers and words, no names. Keys as in docs/sms.md."""
    evidence = alarm.evidence
    params = {
        "since_ms": str(evidence.since),
        "held_ms": str(evidence.observed_for + evidence.blind_for),
        "observed_ms": str(evidence.observed_for),
        "blind_ms": str(evidence.blind_for),
        "count": str(evidence.count),
    }
    if evidence.sensors:
        first = evidence.sensors[0]
        params["sensor"] = first.sensor_id
        if first.value is not None:
            params["value"] = f"{first.value:g}"
    if evidence.detail:
        params["fault"] = evidence.detail
    actor = alarm.closed_by or alarm.acknowledged_by
    if actor:
        params["actor"] = actor
    if alarm.outcome:
        params["outcome"] = alarm.outcome
    return tuple(sorted(params.items()))


def _actors(alarm: Alarm, told: list[str]) -> list[str]:
    # Only somebody with a telephone can be reminded: an actor who was never told may be no contact at all.
    return [alarm.acknowledged_by] if alarm.acknowledged_by in told and alarm.acknowledged_by else []
