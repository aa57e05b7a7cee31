"""A start from what is left of a damaged journal, where not all of it is there that a restart needs.

Every home begins anew from the files: no hold that was running is counted on, and the time until now is unseen. Open
alarms are taken over, from their own rows or from the homes' states, and asked afresh; what people have said of a home
(away, muted, test) is kept where it can be read.
"""

import json
from contextlib import suppress
from typing import Any

import structlog

from sensor_guard.core import Core
from sensor_guard.engine.adopt import adopt
from sensor_guard.engine.home import Home
from sensor_guard.engine.plan import HomePlan
from sensor_guard.engine.snapshot import READABLE, load_alarm, upgraded
from sensor_guard.errors import JournalError
from sensor_guard.model import GATEWAY, Alarm, Command, CommandKind, Instant, LinkLost, Notification, PlanChanged

log = structlog.get_logger(__name__)

# Any: JSON of a home's state that nobody vouches for.
Row = dict[str, Any]


def rebuild(core: Core, now: Instant) -> None:
    """Put the engine where it can be put, and everything on disk with it: the next start is an ordinary one."""
    journal, engine = core.journal, core.engine
    engine.forget()
    rows = _readable_rows(core)
    texts: dict[str, list[Notification]] = {}
    alarms = {alarm.alarm_id: alarm for alarm in journal.reader.alarms(open_only=True, limit=1_000_000)}
    only_remembered: dict[str, Alarm] = {}
    for row in rows.values():
        for alarm in _alarms_of(row):
            if journal.reader.alarm(alarm.alarm_id) is None:
                only_remembered[alarm.alarm_id] = alarm
    for alarm_id in [*alarms, *only_remembered]:
        texts[alarm_id] = [entry.notification for entry in journal.reader.notifications(alarm_id)]
    with journal.batch(now) as batch:
        plan_hash = core.save_plan(batch)
        seq = batch.append_event(PlanChanged(plan_hash, now))
        effects = engine.feed([(seq, PlanChanged(plan_hash, now))], now)
        for home_id, row in rows.items():
            _keep_what_was_said(engine.homes.get(home_id), row)
        engine.feed([(seq, command) for command in journal.commands_since(journal.tail_seq()) if _stays(command)], now)
        for alarm in [*alarms.values(), *only_remembered.values()]:
            home = engine.homes.get(alarm.home_id)
            if home is None:  # it was taken out of the files with an open alarm
                ladders = engine.homes[GATEWAY].plan.ladders if GATEWAY in engine.homes else ()
                left = HomePlan(alarm.home_id, "", "", (), ladders)
                home = Home(left, engine.shapes_for(left), engine.plan.zone, now)
                engine.homes[alarm.home_id] = home
            adopt(home, alarm, texts[alarm.alarm_id], now)
        effects.alarms.update(only_remembered)
        batch.record(effects)
        engine.schedule_all()
        core.save_all(batch)
    log.error("journal.rebuilt", homes=len(engine.homes), open_alarms=len(alarms) + len(only_remembered))
    core.commit(core.turn([LinkLost(now)], now))
    for report in journal.ambiguous_at_start(now):
        core.commit(core.turn([report], now))


def _readable_rows(core: Core) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    with suppress(JournalError):
        for stored in core.journal.home_states():
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                row = json.loads(stored.state)
                if isinstance(row, dict) and stored.schema in READABLE:
                    rows[stored.home_id] = upgraded(stored.schema, row)
    return rows


def _stays(command: Command) -> bool:
    """Say whether a command, given since the states were stored, says how a home is to be watched from now on."""
    return command.kind in (CommandKind.AWAY, CommandKind.BACK, CommandKind.MUTE, CommandKind.UNMUTE)


def _alarms_of(row: Row) -> list[Alarm]:
    found = []
    for raw in row.get("alarms") or ():
        with suppress(KeyError, ValueError, TypeError):
            alarm = load_alarm(raw)
            if alarm.closed_at is None:
                found.append(alarm)
    return found


def _keep_what_was_said(home: Home | None, row: Row) -> None:
    if home is None:
        return
    with suppress(KeyError, ValueError, TypeError):
        _, _, is_away, away_until, test_from, test_until, test_by, *_ = row["home"]
        muted = {str(rule_id): int(until) for rule_id, until in (row.get("muted_until") or {}).items()}
        home.away_until, home.test_from, home.test_until = int(away_until), int(test_from), int(test_until)
        home.is_away, home.test_by = bool(is_away), str(test_by)
        if muted:
            home.muted_until = muted
    home.deadline = home.next_deadline()
