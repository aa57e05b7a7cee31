"""A home's state as plain lists and dictionaries, for one row of the store, and back.

``SCHEMA`` counts the layouts. A row of another layout is not read: the home is then rebuilt from the journal.
"""

from dataclasses import asdict
from typing import Any

from sensor_guard.engine.elsewhen import Pending
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.escalation import Climb
from sensor_guard.engine.home import Home
from sensor_guard.engine.plan import HomePlan, Ladder, Step
from sensor_guard.model import (
    Alarm,
    Evidence,
    Instant,
    Reading,
    Response,
    SensorEvidence,
    Span,
    Truth,
)

SCHEMA = 1

# Any: the one place where state is untyped, between two functions that are each other's inverse (a property test).
Row = dict[str, Any]

_SENSOR = ("level", "level_at", "heard_at", "fresh_until", "observed", "silent_at", "is_silent", "battery",
           "meter_value", "meter_at")  # fmt: skip
_WATCH = ("run_from", "counted", "since", "blind", "blind_from", "is_met", "needs", "suspended", "window_ends_at",
          "fault_active", "fault_detail")  # fmt: skip
_CLIMB = ("base_at", "step", "due_at", "remind_at", "count", "told")
_HOME = ("at", "max_observed", "is_away", "away_until", "muted_until", "test_until", "test_by", "is_blind",
         "blind_from")  # fmt: skip


def save_home(home: Home) -> Row:
    """Give everything that ``load_home`` needs besides the plan."""
    return {
        "home": [getattr(home, name) for name in _HOME],
        "sensors": {sensor_id: [getattr(state, name) for name in _SENSOR] for sensor_id, state in home.sensors.items()},
        "watches": {watch.key: [watch.truth, *(getattr(watch, name) for name in _WATCH)] for watch in home.watches},
        "pending": [[item.at, item.seq, item.reading, item.edge] for item in home.pending],
        "alarms": [asdict(alarm) for alarm in home.cases.alarms.values()],
        "ladder_of": home.cases.ladder_of,
        "last_second": home.cases.last_second,
        # A home that was taken out of the files with an open alarm keeps its people.
        "ladders": [] if home.sensors else [_save_ladder(name, ladder) for name, ladder in home.plan.ladders],
        "climbs": {
            alarm_id: [[getattr(climb, name) for name in _CLIMB], {k: list(v) for k, v in climb.asked.items()}]
            for alarm_id, climb in home.cases.climbs.items()
        },
    }


def load_home(engine: Engine, home_plan: HomePlan, row: Row) -> Home:
    """Rebuild a home under the engine's present plan from what ``save_home`` gave.

    The row was written under the plan that the engine uses now: a change of plan is an input of its own.
    """
    at: Instant = row["home"][0]
    home = Home(home_plan, engine.rules_for(home_plan), engine.plan.zone, at)
    for name, value in zip(_HOME, row["home"], strict=True):
        setattr(home, name, value)
    for sensor_id, values in row["sensors"].items():
        state = home.sensors.get(sensor_id)
        if state is not None:
            for name, value in zip(_SENSOR, values, strict=True):
                setattr(state, name, value)
            state.settle()
    watches = {watch.key: watch for watch in home.watches}
    for key, (truth, *values) in row["watches"].items():
        watch = watches.get(key)
        if watch is not None:
            watch.truth = Truth(truth)
            for name, value in zip(_WATCH, values, strict=True):
                setattr(watch, name, value)
    home.pending = [
        Pending(when, seq, Reading(*reading) if reading is not None else None, edge)
        for when, seq, reading, edge in row["pending"]
    ]
    cases = home.cases
    cases.ladder_of = dict(row["ladder_of"])
    cases.last_second = dict(row["last_second"])
    for raw in row["alarms"]:
        alarm = load_alarm(raw)
        cases.alarms[alarm.alarm_id] = alarm
        if alarm.response is not Response.CLOSED:
            cases.open_by_rule[alarm.rule_id] = alarm.alarm_id
    for alarm_id, (values, asked) in row["climbs"].items():
        climb = Climb(0)
        for name, value in zip(_CLIMB, values, strict=True):
            setattr(climb, name, value)
        climb.asked = {notification_id: (who, kind, step) for notification_id, (who, kind, step) in asked.items()}
        cases.climbs[alarm_id] = climb
    home.deadline = home.next_deadline()
    return home


def load_alarm(raw: Row) -> Alarm:
    """Rebuild an alarm from ``dataclasses.asdict``."""
    evidence = dict(raw["evidence"])
    evidence["sensors"] = tuple(SensorEvidence(**sensor) for sensor in evidence["sensors"])
    return Alarm(
        **{
            **raw,
            "evidence": Evidence(**evidence),
            "condition": Truth(raw["condition"]),
            "response": Response(raw["response"]),
        }
    )


def save_link(engine: Engine) -> Row:
    """Give the engine's own state: the link and the plan; kept beside the homes' rows."""
    return {"drained": engine.drained, "frozen_at": engine.frozen_at, "now": engine.now, "plan": engine.plan_hash}


def restore(engine: Engine, link: Row, rows: dict[str, tuple[int, Row]]) -> None:
    """Put an engine where it was: its own state and the homes' rows, home_id -> (upto_seq, row).

    Inputs up to a home's ``upto_seq`` are skipped for that home when the tail is fed again.
    """
    engine.use_plan(link["plan"])
    engine.drained, engine.frozen_at, engine.now = link["drained"], link["frozen_at"], link["now"]
    plans = {home_plan.home_id: home_plan for home_plan in engine.plan.homes}
    for home_id, (upto_seq, row) in rows.items():
        home_plan = plans.get(home_id) or HomePlan(
            home_id, "", "", (), tuple(_load_ladder(*ladder) for ladder in row["ladders"])
        )
        engine.homes[home_id] = load_home(engine, home_plan, row)
        engine.upto[home_id] = upto_seq
    engine.schedule_all()


def _save_ladder(name: str, ladder: Ladder) -> list[Any]:
    steps = [[step.after, list(step.recipient_ids)] for step in ladder.steps]
    return [name, steps, ladder.repeat_every, ladder.remind_unclosed]


def _load_ladder(name: str, steps: list[Any], repeat_every: Span, remind_unclosed: Span) -> tuple[str, Ladder]:
    return name, Ladder(
        tuple(Step(after, tuple(recipient_ids)) for after, recipient_ids in steps), repeat_every, remind_unclosed
    )
