"""Retention in small steps: each takes the oldest that nobody needs any more, at most ``limit`` rows of a kind."""

import sqlite3
from dataclasses import dataclass

from sensor_guard.journal.numbers import last_batch, newest_seq, read_number, write_meta
from sensor_guard.model import DAY, Instant, Span

KEEP_UNMIRRORED: Span = 7 * DAY
"""Without a sink the journal is the only history: so much of it stays even on a full disk."""
_NEVER: Instant = 1 << 62
"""A time that no batch has reached."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one step removed. ``more``: there is more to remove, call again soon."""

    inputs: int = 0
    alarms: int = 0
    trail: int = 0
    texts: int = 0
    quarantined: int = 0
    plans: int = 0
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.inputs or self.alarms or self.trail or self.texts or self.quarantined or self.plans)


def prune(db: sqlite3.Connection, now: Instant, keep_readings: Span, keep_alarms: Span, limit: int) -> Pruned:
    """Take one step, inside a transaction that the caller has open.

    Inputs go batch by batch, in their order: never past the tail (a restart replays from there) and never past the
    slowest sink. Alarms go with their texts and their trail, all at once, when they have been closed for long enough
    and every sink has passed them. Open alarms stay, whatever their age.
    """
    newest = newest_seq(db)
    inputs, more = _prune_inputs(db, now, now - keep_readings, limit)
    alarms, trail, texts = _prune_alarms(db, now - keep_alarms, limit)
    more = more or alarms >= limit or trail + texts >= limit
    trail += _prune_loose_trail(db, now - keep_alarms, limit)
    texts += _delete(
        db,
        "DELETE FROM outbox WHERE rowid IN (SELECT rowid FROM outbox WHERE alarm_id = '' AND created_at < ? LIMIT ?)",
        (now - keep_alarms, limit),
    )
    quarantined = _delete(
        db,
        "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE day < ? ORDER BY day LIMIT ?)",
        ((now - keep_readings) // DAY, limit),
    )
    plans = _prune_plans(db, now - keep_alarms)
    more = more or trail >= limit or texts >= limit or quarantined >= limit
    pruned = Pruned(inputs, alarms, trail, texts, quarantined, plans, more=more)
    if pruned:
        # The highest numbers may have gone with the trail of an alarm; a sink's cursor stands on them.
        write_meta(db, "last_seq", newest)
    return pruned


def make_room(db: sqlite3.Connection, now: Instant, limit: int) -> Pruned:
    """Take one step for a full disk, inside a transaction: what can be spared best goes, whatever its age.

    Inputs that every sink has, and that no restart needs; without a sink those older than ``KEEP_UNMIRRORED``, for
    the journal is then all there is. When none of these is left, messages that could not be read, the oldest first.
    Alarms, texts and the trail stay. The file does not get smaller by it: its pages are used again.
    """
    newest = newest_seq(db)
    has_sink: bool = db.execute("SELECT EXISTS (SELECT 1 FROM cursors)").fetchone()[0]
    inputs, more = _prune_inputs(db, now, _NEVER if has_sink else now - KEEP_UNMIRRORED, limit)
    quarantined = 0
    if not inputs:
        quarantined = _delete(
            db, "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine ORDER BY id LIMIT ?)", (limit,)
        )
        more = quarantined >= limit
    pruned = Pruned(inputs=inputs, quarantined=quarantined, more=more)
    if pruned:
        write_meta(db, "last_seq", newest)
    return pruned


def _prune_inputs(db: sqlite3.Connection, now: Instant, before: Instant, limit: int) -> tuple[int, bool]:
    newest = last_batch(db)
    if newest is None:
        return 0, False
    bound = min(
        read_number(db, "tail_seq"),
        read_number(db, "last_readings_seq"),
        _slowest_sink(db, newest[0]),
        newest[0] - 1,  # the newest batch says how late it is
    )
    start: int | None = db.execute(
        "SELECT min(seq) FROM (SELECT min(seq) AS seq FROM readings UNION ALL SELECT min(seq) FROM events)"
    ).fetchone()[0]
    cut = taken = 0
    # At least one batch goes in a step, and a batch is never cut in two.
    for seq, fed_at in db.execute("SELECT seq, now FROM batches WHERE seq <= ? ORDER BY seq LIMIT ?", (bound, limit)):
        # A stamp more than a day ahead was a wrong clock's: it must not stop pruning until that time comes.
        if taken >= limit or before <= fed_at <= now + DAY:
            break
        cut = seq
        taken = max(taken + 1, seq + 1 - (seq if start is None else start))
    if not cut:
        return 0, False
    removed = _delete(db, "DELETE FROM readings WHERE seq <= ?", (cut,))
    removed += _delete(db, "DELETE FROM events WHERE seq <= ?", (cut,))
    db.execute("DELETE FROM batches WHERE seq <= ?", (cut,))
    return removed, taken >= limit


def _prune_alarms(db: sqlite3.Connection, before: Instant, limit: int) -> tuple[int, int, int]:
    slowest = _slowest_sink(db, 1 << 62)
    closed = db.execute(
        "SELECT alarm_id FROM alarms WHERE closed_at < ?1"
        # A sink's cursor stands on the last row that it was given, and it is given transitions only.
        " AND NOT EXISTS (SELECT 1 FROM trail WHERE trail.alarm_id = alarms.alarm_id AND trail.seq > ?2"
        " AND what = 'transition')"
        " ORDER BY closed_at LIMIT ?3",
        (before, slowest, limit),
    ).fetchall()
    alarms = trail = texts = 0
    for (alarm_id,) in closed:
        if trail + texts >= limit:
            break
        db.execute("INSERT INTO pruning (alarm_id) VALUES (?)", (alarm_id,))
        trail += _delete(db, "DELETE FROM trail WHERE alarm_id = ?", (alarm_id,))
        db.execute("DELETE FROM pruning WHERE alarm_id = ?", (alarm_id,))
        texts += _delete(db, "DELETE FROM outbox WHERE alarm_id = ?", (alarm_id,))
        alarms += _delete(db, "DELETE FROM alarms WHERE alarm_id = ?", (alarm_id,))
    return alarms, trail, texts


def _prune_loose_trail(db: sqlite3.Connection, before: Instant, limit: int) -> int:
    """What concerns no alarm (away, mute, test texts) goes by age, from its beginning."""
    oldest = db.execute("SELECT n, recorded_at FROM trail WHERE alarm_id = '' ORDER BY n LIMIT ?", (limit,)).fetchall()
    cut = 0
    for n, recorded_at in oldest:
        if recorded_at >= before:
            break
        cut = n
    if not cut:
        return 0
    db.execute("INSERT INTO pruning (alarm_id) VALUES ('')")
    removed = _delete(db, "DELETE FROM trail WHERE alarm_id = '' AND n <= ?", (cut,))
    db.execute("DELETE FROM pruning WHERE alarm_id = ''")
    return removed


def _prune_plans(db: sqlite3.Connection, before: Instant) -> int:
    """Old configurations that no state, no event and nobody's audit refers to any more."""
    return _delete(
        db,
        "DELETE FROM plans WHERE last_used_at < ?"
        " AND hash NOT IN (SELECT value FROM meta WHERE key = 'plan_hash')"
        " AND hash NOT IN (SELECT plan_hash FROM home_state)"
        " AND NOT EXISTS (SELECT 1 FROM events WHERE kind = 'plan_changed' AND instr(body, hash) > 0)",
        (before,),
    )


def _slowest_sink(db: sqlite3.Connection, otherwise: int) -> int:
    slowest: int | None = db.execute("SELECT min(seq) FROM cursors").fetchone()[0]
    return otherwise if slowest is None else slowest


def _delete(db: sqlite3.Connection, sql: str, values: tuple[int | str, ...]) -> int:
    return db.execute(sql, values).rowcount
