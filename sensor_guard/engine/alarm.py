"""The life of an alarm, as a table. Nothing else changes an alarm's condition or response."""

from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum

from sensor_guard.model import Alarm, Effects, Instant, Response, Transition, Truth


class Happening(StrEnum):
    """What can happen to an alarm that is there."""

    CLEARED = "cleared"  # seen to be no longer true
    UNSEEN = "unseen"  # cannot be seen any more
    SEEN_AGAIN = "seen_again"  # was unseen and is true still
    RECURRED = "recurred"  # was clear, or answered, and is there again
    ACKNOWLEDGED = "acknowledged"  # somebody has answered
    CLOSED = "closed"  # somebody has said how it ended


CONDITION_TABLE: dict[tuple[Truth, Happening], Truth] = {
    (Truth.TRUE, Happening.CLEARED): Truth.FALSE,
    (Truth.UNKNOWN, Happening.CLEARED): Truth.FALSE,
    (Truth.TRUE, Happening.UNSEEN): Truth.UNKNOWN,
    (Truth.UNKNOWN, Happening.SEEN_AGAIN): Truth.TRUE,
    (Truth.UNKNOWN, Happening.RECURRED): Truth.TRUE,
    (Truth.FALSE, Happening.RECURRED): Truth.TRUE,
}
"""(condition, happening) -> condition. What is not here changes nothing: a clear alarm that goes unseen stays clear."""

RESPONSE_TABLE: dict[tuple[Response, Happening], Response] = {
    (Response.UNANSWERED, Happening.ACKNOWLEDGED): Response.ACKNOWLEDGED,
    (Response.UNANSWERED, Happening.CLOSED): Response.CLOSED,
    (Response.ACKNOWLEDGED, Happening.CLOSED): Response.CLOSED,
    # A new cry after somebody had answered is unanswered.
    (Response.ACKNOWLEDGED, Happening.RECURRED): Response.UNANSWERED,
}
"""(response, happening) -> response. Nothing leads out of closed."""


def alarm_id_for(home_id: str, rule_id: str, second: int) -> str:
    """Name an alarm: ``<home>.<rule>.<YYYYMMDDTHHMMSSZ>``. ``second``: seconds since 1970."""
    return f"{home_id}.{rule_id}.{datetime.fromtimestamp(second, UTC):%Y%m%dT%H%M%SZ}"


def happen(  # noqa: PLR0913 - the step, when, and who
    alarm: Alarm,
    happening: Happening,
    at: Instant,
    effects: Effects,
    *,
    actor_id: str | None = None,
    note: str = "",
    outcome: str | None = None,
) -> Alarm:
    """Take one step of the life cycle; the alarm as it is afterwards, and its transitions in ``effects``.

    A step that the tables do not know gives the same alarm and no transition.
    """
    condition = CONDITION_TABLE.get((alarm.condition, happening), alarm.condition)
    response = RESPONSE_TABLE.get((alarm.response, happening), alarm.response)
    if condition is alarm.condition and response is alarm.response:
        return alarm
    changed = replace(alarm, condition=condition, response=response)
    if condition is not alarm.condition:
        effects.transitions.append(
            Transition(alarm.alarm_id, "condition", alarm.condition, condition, at, happening, actor_id, note)
        )
        changed = replace(changed, cleared_at=at if condition is Truth.FALSE else None)
    if response is not alarm.response:
        detail = f"{outcome}: {note}" if outcome and note else outcome or note
        effects.transitions.append(
            Transition(alarm.alarm_id, "response", alarm.response, response, at, happening, actor_id, detail)
        )
        if response is Response.ACKNOWLEDGED:
            changed = replace(changed, acknowledged_at=at, acknowledged_by=actor_id)
        elif response is Response.CLOSED:
            changed = replace(changed, closed_at=at, closed_by=actor_id, outcome=outcome)
        else:
            changed = replace(changed, acknowledged_at=None, acknowledged_by=None)
    effects.alarms[alarm.alarm_id] = changed
    return changed
