"""Nouns for the journal's tests, with everything that does not matter filled in."""

from dataclasses import replace

from sensor_guard.journal import Journal
from sensor_guard.model import (
    DEVICE_TIME,
    MINUTE,
    Alarm,
    Command,
    DeliveryReport,
    Effects,
    Evidence,
    Notification,
    Reading,
    Response,
    SensorEvidence,
    Transition,
    Truth,
)

T0 = 1_772_352_000_000  # 2026-03-01T08:00:00Z


def reading(value=3.0, *, home="home1", sensor="meter", quantity="power_w", at=T0, seq=-1, flags=DEVICE_TIME):
    return Reading(home, sensor, quantity, value, at, at + 40, seq, flags)


def alarm(n=0, *, home="home1", rule="panic", severity="critical", at=T0):
    return Alarm(
        alarm_id=f"{home}.{rule}.{n}",
        rule_id=rule,
        home_id=home,
        severity=severity,
        condition=Truth.TRUE,
        response=Response.UNANSWERED,
        raised_at=at,
        noticed_at=at + 1,
        evidence=Evidence(at - MINUTE, MINUTE, 0, (SensorEvidence("meter", "power_w", 3.5, at, observed=True),)),
    )


def raised(an_alarm, *recipients, due_at=None):
    """What the engine says when an alarm rises and these people are to be told."""
    effects = Effects()
    effects.alarms[an_alarm.alarm_id] = an_alarm
    effects.transitions.append(Transition(an_alarm.alarm_id, "condition", "", Truth.TRUE, an_alarm.raised_at, "raised"))
    for n, recipient in enumerate(recipients, 1):
        effects.notifications.append(text(an_alarm, n, recipient, due_at=due_at))
    return effects


def text(an_alarm, n=1, recipient="li", *, kind="alarm", due_at=None):
    return Notification(
        notification_id=f"{an_alarm.alarm_id}.{n}",
        alarm_id=an_alarm.alarm_id,
        home_id=an_alarm.home_id,
        rule_id=an_alarm.rule_id,
        kind=kind,
        severity=an_alarm.severity,
        step=0,
        recipient_id=recipient,
        due_at=an_alarm.raised_at if due_at is None else due_at,
        params=(("count", "1"), ("since_ms", str(an_alarm.raised_at))),
    )


def closed(an_alarm, *, at=T0 + MINUTE, cancelled=()):
    """What the engine says when somebody closes an alarm."""
    effects = Effects(cancelled=list(cancelled))
    effects.alarms[an_alarm.alarm_id] = replace(
        an_alarm, response=Response.CLOSED, closed_at=at, closed_by="li", outcome="fine"
    )
    effects.transitions.append(
        Transition(an_alarm.alarm_id, "response", "unanswered", "closed", at, "closed", "li", "all is well")
    )
    return effects


def close_command(an_alarm, *, at=T0 + MINUTE, note="all is well"):
    return Command("c1", "close", an_alarm.alarm_id, "li", at, note=note, outcome="fine")


def report(notification, state, *, at=T0 + 1_000, **fields):
    return DeliveryReport(notification.notification_id, state, at, **fields)


def feed(journal: Journal, *readings: Reading, now=T0):
    """One batch of readings, committed."""
    with journal.batch(now) as batch:
        return batch.append_readings(readings)


def record(journal: Journal, effects: Effects, *, now=T0):
    """One batch of effects of time alone, committed; its seq."""
    with journal.batch(now) as batch:
        batch.record(effects)
        return batch.seq


def send(journal: Journal, notification, state, *, now=T0, **fields):
    """Report a state in a batch of its own; whether it counted."""
    with journal.batch(now) as batch:
        return batch.report(report(notification, state, **fields))


def lease(journal: Journal, *, now=T0 + 1, limit=100, channel="console"):
    with journal.batch(now) as batch:
        return batch.lease(now, limit, channel=channel)


def cut_short(journal: Journal, fill, *, now=T0):
    """A batch that fails after ``fill`` has written to it; what ``fill`` gave."""
    batch = journal.batch(now).__enter__()
    given = fill(batch)
    batch.__exit__(InterruptedError, InterruptedError("cut short"), None)
    return given


def rows(journal: Journal, sql: str, *values):
    """Look into the file behind the journal's back."""
    return journal.reader._rows(sql, values)
