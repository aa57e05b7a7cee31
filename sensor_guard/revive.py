"""The engine put where it was: the homes' stored states, then the journal's tail, with the rules that were in force."""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from sensor_guard import __version__
from sensor_guard import engine as engine_package
from sensor_guard.engine import snapshot
from sensor_guard.engine.adopt import adopt
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.home import Home
from sensor_guard.engine.homes import Sleeper
from sensor_guard.errors import JournalError
from sensor_guard.journal import CodecError, Journal, JournalCorruptError
from sensor_guard.model import DAY, Effects, Instant

# What a state that nobody vouches for makes of the code that reads it.
_UNSOUND = (ValueError, KeyError, TypeError, IndexError, AttributeError, AssertionError)


def revive(
    journal: Journal, engine: Engine, now: Instant, *, wake_all: bool = False, stores: bool = True
) -> tuple[int, int, bool]:
    """Restore and replay: how many differences there were, how many batches, and whether anybody had to be put back.

    What is stored wins: transitions and texts that are new are stored as well (unless ``stores`` is off: for a look),
    and an alarm that is open in the journal is open, whatever the replay says. Where somebody was put back, every home
    is to be saved at once.

    wake_all: read the state of every home now, so that what cannot be read shows. Otherwise a home without alarms
    sleeps (``engine.homes``) until somebody asks for it, and a state that cannot be read is a JournalCorruptError then.

    Raises:
        JournalCorruptError: what is stored cannot be read.
    """
    try:
        _restore(journal, engine, now, wake_all=wake_all)
        differences = batches = 0
        for tail in journal.tail():
            effects = engine.feed(tail.inputs, tail.now)
            batches += 1
            if stores and (effects or effects.alarms):
                with journal.batch(now) as batch:
                    differences += batch.record(effects, replay_of=tail.seq)
        engine.upto.clear()
        put_back = _put_back(journal, engine, now, stores=stores)
    except CodecError as error:
        raise JournalCorruptError(journal.path, str(error)) from error
    except _UNSOUND as error:
        raise _unsound(journal, error) from error
    return differences + put_back, batches, bool(put_back)


def link_of(engine: Engine) -> snapshot.Row:
    """Give the engine's own state for the journal, and which program it is that leaves it, with the homes' rows."""
    return {**snapshot.save_link(engine), "program": _program()}


@cache
def _program() -> str:
    """Name what decides when a home wants to be looked at: another version, or other words in these modules.

    By what stands in them: images give all files one time, and an installation gives the same files another.
    """
    said = hashlib.sha256()
    for module in sorted(Path(*engine_package.__path__).glob("*.py")):
        said.update(module.read_bytes())
    return f"{__version__}-{said.hexdigest()[:16]}"


def _restore(journal: Journal, engine: Engine, now: Instant, *, wake_all: bool) -> None:
    state = journal.engine_state()
    if state is None:
        return
    link = json.loads(state)
    # When a home wants to be looked at is what the program thinks that wrote its row.
    is_ours = link.get("program") == _program()
    rows: dict[str, tuple[int, snapshot.Row | snapshot.Asleep]] = {}
    for row in journal.home_states():
        if row.schema not in snapshot.READABLE:
            raise JournalError(
                f"{journal.path}: home {row.home_id} was stored by another version (layout {row.schema},"
                f" not {snapshot.SCHEMA}); start that version once more, or restore its backup"
            )
        may_sleep = is_ours and not wake_all and row.schema == snapshot.SCHEMA
        if may_sleep and row.wakes_at is not None and row.seen_until is not None:
            rows[row.home_id] = (row.upto_seq, snapshot.Asleep(row.state, row.wakes_at, row.seen_until))
        else:
            rows[row.home_id] = (row.upto_seq, snapshot.upgraded(row.schema, json.loads(row.state)))
    engine.homes.wake = _waking(journal, engine)
    snapshot.restore(engine, link, rows)
    if not is_ours:
        engine.dirty.update(engine.homes)  # the next checkpoint writes all of them, and who wrote them
    if engine.now > max(now, journal.last_now() or now) + DAY:
        raise ValueError(f"its time is {engine.now}")


def _waking(journal: Journal, engine: Engine) -> Callable[[Sleeper], Home]:
    def wake(sleeper: Sleeper) -> Home:
        try:
            return snapshot.load_home(engine, sleeper.plan, json.loads(sleeper.row))
        except _UNSOUND as error:
            raise _unsound(journal, error) from error

    return wake


def _unsound(journal: Journal, error: Exception) -> JournalCorruptError:
    return JournalCorruptError(journal.path, f"a stored state: {type(error).__name__} {error}")


def _put_back(journal: Journal, engine: Engine, now: Instant, *, stores: bool) -> int:
    """See that nobody is forgotten: every home of the configuration is there, and every open alarm, on both sides."""
    homes = engine.homes
    missing = [home.home_id for home in engine.plan.homes if home.home_id not in homes]
    if missing:
        raise ValueError(f"no state of home {missing[0]}")
    stored = {alarm.alarm_id: alarm for alarm in journal.reader.alarms(open_only=True, limit=1_000_000)}
    known = {alarm_id: home for _, home in homes.awake() for alarm_id in home.cases.open_by_rule.values()}
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
    if unwritten and stores:
        with journal.batch(now) as batch:
            batch.record(Effects(alarms=unwritten))
    if forgotten:
        engine.schedule_all()
    return len(forgotten) + len(unwritten)
