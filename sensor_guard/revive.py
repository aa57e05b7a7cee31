"""The engine put where it was: the homes' stored states, then the journal's tail, with the rules that were in force."""

import json

from sensor_guard.engine import snapshot
from sensor_guard.engine.adopt import adopt
from sensor_guard.engine.engine import Engine
from sensor_guard.errors import JournalError
from sensor_guard.journal import CodecError, Journal, JournalCorruptError
from sensor_guard.model import DAY, Effects, Instant


def revive(journal: Journal, engine: Engine, now: Instant) -> tuple[int, int, bool]:
    """Restore and replay: how many differences there were, how many batches, and whether anybody had to be put back.

    What is stored wins: transitions and texts that are new are stored as well, and an alarm that is open in the
    journal is open, whatever the replay says. Where somebody was put back, every home is to be saved at once.

    Raises:
        JournalCorruptError: what is stored cannot be read.
    """
    try:
        _restore(journal, engine, now)
        differences = batches = 0
        for tail in journal.tail():
            effects = engine.feed(tail.inputs, tail.now)
            batches += 1
            if effects or effects.alarms:
                with journal.batch(now) as batch:
                    differences += batch.record(effects, replay_of=tail.seq)
        engine.upto.clear()
        put_back = _put_back(journal, engine, now)
    except CodecError as error:
        raise JournalCorruptError(journal.path, str(error)) from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, AssertionError) as error:
        raise JournalCorruptError(journal.path, f"a stored state: {type(error).__name__} {error}") from error
    return differences + put_back, batches, bool(put_back)


def _restore(journal: Journal, engine: Engine, now: Instant) -> None:
    state = journal.engine_state()
    if state is None:
        return
    rows = {}
    for row in journal.home_states():
        if row.schema not in snapshot.READABLE:
            raise JournalError(
                f"{journal.path}: home {row.home_id} was stored by another version (layout {row.schema},"
                f" not {snapshot.SCHEMA}); start that version once more, or restore its backup"
            )
        rows[row.home_id] = (row.upto_seq, snapshot.upgraded(row.schema, json.loads(row.state)))
    snapshot.restore(engine, json.loads(state), rows)
    if engine.now > max(now, journal.last_now() or now) + DAY:
        raise ValueError(f"its time is {engine.now}")


def _put_back(journal: Journal, engine: Engine, now: Instant) -> int:
    """See that nobody is forgotten: every home of the configuration is there, and every open alarm, on both sides."""
    homes = engine.homes
    missing = [home.home_id for home in engine.plan.homes if home.home_id not in homes]
    if missing:
        raise ValueError(f"no state of home {missing[0]}")
    stored = {alarm.alarm_id: alarm for alarm in journal.reader.alarms(open_only=True, limit=1_000_000)}
    known = {alarm_id: home for home in homes.values() for alarm_id in home.cases.open_by_rule.values()}
    forgotten = stored.keys() - known.keys()
    for alarm_id in sorted(forgotten):
        alarm = stored[alarm_id]
        if alarm.home_id not in homes or homes[alarm.home_id].cases.open_alarm(alarm.rule_id) is not None:
            raise ValueError(f"the open alarm {alarm_id} is not in the state of its home")
        texts = [entry.notification for entry in journal.reader.notifications(alarm_id)]
        adopt(homes[alarm.home_id], alarm, texts, now)
    unwritten = {alarm_id: known[alarm_id].cases.alarms[alarm_id] for alarm_id in known.keys() - stored.keys()}
    if any(journal.reader.alarm(alarm_id) is not None for alarm_id in unwritten):
        raise ValueError(f"an alarm that was closed is open in the state of its home: {min(unwritten)}")
    if unwritten:
        with journal.batch(now) as batch:
            batch.record(Effects(alarms=unwritten))
    if forgotten:
        engine.schedule_all()
    return len(forgotten) + len(unwritten)
