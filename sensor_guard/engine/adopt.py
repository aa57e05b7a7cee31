"""Takes alarms over into a home that has no other memory: what a damaged journal still says of them."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sensor_guard.engine.conditions import TRUE, FaultWatch
from sensor_guard.engine.escalation import Climb
from sensor_guard.engine.home import Home
from sensor_guard.model import Alarm, Instant, Notification, NotificationState, Response

_TOLD = (NotificationState.ACCEPTED, NotificationState.DELIVERED, NotificationState.AMBIGUOUS)


def adopt(home: Home, alarm: Alarm, texts: Iterable[Notification], now: Instant) -> None:
    """Let an open alarm go on in ``home``: everybody is asked afresh, from the first step of its ladder.

    texts: those that were written about it; whoever got one is told how it ends, and none of their ids comes again.
    """
    cases = home.cases
    cases.make_room()
    cases.alarms[alarm.alarm_id] = alarm
    cases.open_by_rule[alarm.rule_id] = alarm.alarm_id
    cases.last_second[alarm.rule_id] = max(cases.last_second.get(alarm.rule_id, -1), _second_of(alarm))
    watches = home.watches_of(alarm.rule_id)
    cases.ladder_of[alarm.alarm_id] = watches[0].rule.ladder if watches else ""
    for watch in watches:
        if isinstance(watch, FaultWatch) and alarm.condition is TRUE:
            watch.fault_active, watch.is_met, watch.truth = True, True, TRUE
    if alarm.evidence.test:
        return
    climb = cases.climbs[alarm.alarm_id] = Climb(now)
    for text in texts:
        climb.asked[text.notification_id] = (text.recipient_id, text.kind, text.step)
        number = text.notification_id.rpartition(".")[2]
        climb.count = max(climb.count, int(number) if number.isdecimal() else 0)
        if text.state in _TOLD and text.recipient_id not in climb.told:
            climb.told.append(text.recipient_id)
    if alarm.response is Response.ACKNOWLEDGED:
        climb.step = 1
        climb.remind_at = now  # whoever has answered is asked once more: how did it end?
    home.deadline = home.next_deadline()


def _second_of(alarm: Alarm) -> int:
    """Give the second in an alarm's id: a new one of the same rule must have a later one."""
    stamp = alarm.alarm_id.rpartition(".")[2]
    try:
        return int(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return alarm.raised_at // 1_000
