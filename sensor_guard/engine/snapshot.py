"""A home's state as plain lists and dictionaries, for one row of the store, and back.

``SCHEMA`` counts the layouts; ``READABLE`` are those that ``upgraded`` can bring to it, so that a box lives through an
upgrade of the program. What a home does not have, or has as every new home has it, is not written.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, NamedTuple

from sensor_guard.engine.conditions import FaultWatch, SensorState, Watch
from sensor_guard.engine.elsewhen import Pending
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.escalation import Climb
from sensor_guard.engine.home import Home
from sensor_guard.engine.homes import Sleeper
from sensor_guard.engine.plan import HomePlan, Ladder, Step
from sensor_guard.model import (
    GATEWAY,
    Alarm,
    Evidence,
    Instant,
    Reading,
    Response,
    SensorEvidence,
    Span,
    Truth,
)

SCHEMA = 2
READABLE = (1, 2)

# Any: the one place where state is untyped, between two functions that are each other's inverse (a property test).
Row = dict[str, Any]


class Asleep(NamedTuple):
    """A row that need not be read yet, as text, and what ``sleep_of`` said of its home."""

    text: str
    wakes_at: Instant
    seen_until: Instant


_SENSOR = attrgetter("level", "level_at", "heard_at", "fresh_until", "observed", "silent_at", "is_silent", "battery",
                     "meter_value", "meter_at")  # fmt: skip
_WATCH = attrgetter("truth", "run_from", "counted", "since", "blind", "blind_from", "is_met", "needs", "wakes_at")
_CLIMB = attrgetter("base_at", "step", "due_at", "remind_at", "count", "told")
_HOME = attrgetter("at", "max_observed", "is_away", "away_until", "test_from", "test_until", "test_by", "is_blind",
                   "blind_from")  # fmt: skip
_ALARM = tuple(field.name for field in fields(Alarm))
_EVIDENCE = tuple(field.name for field in fields(Evidence))
_SENSOR_EVIDENCE = tuple(field.name for field in fields(SensorEvidence))
_TRUTHS = {str(truth): truth for truth in Truth}


def save_home(home: Home) -> Row:
    """Give everything that ``load_home`` needs besides the plan."""
    row: Row = {
        "home": _HOME(home),
        "sensors": {sensor_id: _SENSOR(state) for sensor_id, state in home.sensors.items()},
        "watches": {watch.key: _save_watch(watch) for watch in home.watches},
    }
    if not home.clock_known:
        row["as_said"] = dict(home.as_said)
    if home.muted_until:
        row["muted_until"] = dict(home.muted_until)
    if home.pending:
        row["pending"] = home.pending
    cases = home.cases
    if cases.last_second:
        row["last_second"] = cases.last_second
    if cases.alarms:
        row["alarms"] = [save_alarm(alarm) for alarm in cases.alarms.values()]
        row["ladder_of"] = cases.ladder_of
        row["climbs"] = {alarm_id: [_CLIMB(climb), climb.asked] for alarm_id, climb in cases.climbs.items()}
        if not home.sensors:
            # A home that was taken out of the files with an open alarm keeps its people.
            row["ladders"] = [_save_ladder(name, ladder) for name, ladder in home.plan.ladders]
    return row


def sleep_of(home: Home) -> tuple[Instant, Instant] | None:
    """Say of a home when it must be woken, and until when it is seen; None: a restart must not let it sleep.

    Somebody asks for the alarms of all homes at a start, and for the box's own faults all the time.
    """
    if home.cases.alarms or home.home_id == GATEWAY:
        return None
    due = home.next_deadline()
    return min(due, home.pending[0].at) if home.pending else due, home.seen_until()


def _save_watch(watch: Watch) -> object:
    if isinstance(watch, FaultWatch):
        return [*_WATCH(watch), watch.fault_active, watch.fault_detail]
    if watch.is_idle:
        return watch.truth
    return _WATCH(watch)


def load_home(engine: Engine, home_plan: HomePlan, row: Row) -> Home:
    """Rebuild a home under the engine's present plan from what ``save_home`` gave.

    The row was written under the plan that the engine uses now: a change of plan is an input of its own.
    """
    at: Instant = row["home"][0]
    home = Home(home_plan, engine.shapes_for(home_plan), engine.plan.zone, at)
    (
        home.at, home.max_observed, home.is_away, home.away_until, home.test_from, home.test_until, home.test_by,
        home.is_blind, home.blind_from,
    ) = row["home"]  # fmt: skip
    if "as_said" in row:
        home.clock_known, home.as_said = False, row["as_said"]
    for sensor_id, values in row["sensors"].items():
        state = home.sensors.get(sensor_id)
        if state is not None:
            _load_sensor(state, values)
    for watch in home.watches:
        saved = row["watches"].get(watch.key)
        if saved is not None:
            _load_watch(watch, saved)
    home.muted_until = row.get("muted_until") or home.muted_until
    home.pending = [
        Pending(when, seq, Reading(*reading) if reading is not None else None, edge)
        for when, seq, reading, edge in row.get("pending", ())
    ]
    if "last_second" in row:
        _load_cases(home, row)
    home.deadline = home.next_deadline()
    return home


def _load_sensor(state: SensorState, values: list[Any]) -> None:
    (
        state.level, state.level_at, state.heard_at, state.fresh_until, state.observed, state.silent_at,
        state.is_silent, state.battery, state.meter_value, state.meter_at,
    ) = values  # fmt: skip
    state.settle()


def _load_watch(watch: Watch, saved: Any) -> None:  # noqa: ANN401 - see Row
    if isinstance(saved, str):
        watch.truth = _TRUTHS[saved]
        return
    (
        truth, watch.run_from, watch.counted, watch.since, watch.blind, watch.blind_from, watch.is_met, watch.needs,
        watch.wakes_at, *fault,
    ) = saved  # fmt: skip
    watch.truth = _TRUTHS[truth]
    if isinstance(watch, FaultWatch):
        watch.fault_active, watch.fault_detail = fault


def _load_cases(home: Home, row: Row) -> None:
    cases = home.cases
    cases.make_room()
    cases.last_second.update(row["last_second"])
    cases.ladder_of.update(row.get("ladder_of", ()))
    for raw in row.get("alarms", ()):
        alarm = load_alarm(raw)
        cases.alarms[alarm.alarm_id] = alarm
        if alarm.response is not Response.CLOSED:
            cases.open_by_rule[alarm.rule_id] = alarm.alarm_id
    for alarm_id, (values, asked) in row.get("climbs", {}).items():
        climb = cases.climbs[alarm_id] = Climb(0)
        climb.base_at, climb.step, climb.due_at, climb.remind_at, climb.count, climb.told = values
        climb.asked = {notification_id: (who, kind, step) for notification_id, (who, kind, step) in asked.items()}


def save_alarm(alarm: Alarm) -> Row:
    """Give what ``dataclasses.asdict`` gives, without its copies: they took half of a home's checkpoint."""
    evidence = alarm.evidence
    row: Row = {name: getattr(alarm, name) for name in _ALARM}
    row["evidence"] = {name: getattr(evidence, name) for name in _EVIDENCE}
    row["evidence"]["sensors"] = tuple(
        {name: getattr(sensor, name) for name in _SENSOR_EVIDENCE} for sensor in evidence.sensors
    )
    return row


def load_alarm(raw: Row) -> Alarm:
    """Rebuild an alarm from what ``save_alarm`` gave."""
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
    return {
        "drained": engine.drained,
        "frozen_at": engine.frozen_at,
        "now": engine.now,
        "plan": engine.plan_hash,
        "clock_known": engine.clock_known,
    }


def restore(engine: Engine, link: Row, rows: Mapping[str, tuple[int, Row | Asleep]]) -> None:
    """Put an engine where it was: its own state and the homes' rows, home_id -> (upto_seq, row).

    Inputs up to a home's ``upto_seq`` are skipped for that home when the tail is fed again. Where a row is ``Asleep``,
    ``engine.homes.wake`` will be asked for its home.
    """
    engine.use_plan(link["plan"])
    engine.drained, engine.frozen_at, engine.now = link["drained"], link["frozen_at"], link["now"]
    engine.clock_known = link.get("clock_known", True)
    plans = {home_plan.home_id: home_plan for home_plan in engine.plan.homes}
    for home_id, (upto_seq, row) in rows.items():
        home_plan = plans.get(home_id)
        if isinstance(row, Asleep):
            home_plan = home_plan or HomePlan(home_id, "", "", (), ())
            engine.homes.put_to_sleep(home_plan.home_id, Sleeper(home_plan, *row))
        else:
            home_plan = home_plan or HomePlan(
                home_id, "", "", (), tuple(_load_ladder(*ladder) for ladder in row.get("ladders", ()))
            )
            engine.homes[home_id] = load_home(engine, home_plan, row)
        engine.upto[home_plan.home_id] = upto_seq
    engine.schedule_all()


def upgraded(schema: int, row: Row) -> Row:
    """Bring a row of an older layout to the present one. ``schema``: one of ``READABLE``."""
    for number in range(schema, SCHEMA):
        row = _UPGRADES[number](row)
    return row


def _from_1(row: Row) -> Row:
    """Layout 1 wrote everything, each watch as it came with ``suspended`` in it, and not when a test began.

    A test that is under way is taken to have begun where the home's time stands: what was due before is real.
    """
    at, max_observed, is_away, away_until, muted_until, test_until, test_by, is_blind, blind_from = row["home"]
    home = [at, max_observed, is_away, away_until, at, test_until, test_by, is_blind, blind_from]
    watches = {}
    for key, (*head, _suspended, window_ends_at, fault_active, fault_detail) in row["watches"].items():
        is_fault = not row["sensors"] and "/" not in key
        watches[key] = [*head, window_ends_at, *((fault_active, fault_detail) if is_fault else ())]
    return {**row, "home": home, "watches": watches, "muted_until": muted_until}


_UPGRADES: dict[int, Callable[[Row], Row]] = {1: _from_1}


def _save_ladder(name: str, ladder: Ladder) -> list[Any]:
    steps = [[step.after, list(step.recipient_ids)] for step in ladder.steps]
    return [name, steps, ladder.repeat_every, ladder.remind_unclosed]


def _load_ladder(name: str, steps: list[Any], repeat_every: Span, remind_unclosed: Span) -> tuple[str, Ladder]:
    return name, Ladder(
        tuple(Step(after, tuple(recipient_ids)) for after, recipient_ids in steps), repeat_every, remind_unclosed
    )
