"""The inputs behind the saved states, batch by batch, as they were fed."""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from sensor_guard.journal.codec import decode
from sensor_guard.model import Input, Instant, Reading

PAGE = 64
"""Batches read at once, so that nothing is open on the file between two of them: at most 64 x 500 messages."""

_READINGS = """
SELECT r.seq, s.home_id, s.sensor_id, q.name, r.value, r.observed_at, r.received_at, r.device_seq, r.flags
FROM readings AS r JOIN sensors AS s ON s.id = r.sensor JOIN quantities AS q ON q.id = r.quantity
WHERE r.seq > ? AND r.seq <= ? ORDER BY r.seq LIMIT ?
"""


class TailBatch(NamedTuple):
    """One batch as it was fed: ``seq`` for ``Batch.record(replay_of=...)``; a tick has no inputs."""

    seq: int
    now: Instant
    inputs: list[tuple[int, Input]]


def read_tail(db: sqlite3.Connection, after: int, upto: int) -> Iterator[TailBatch]:
    """Give every batch behind ``after``, up to and including ``upto``, oldest first."""
    while True:
        page = db.execute(
            "SELECT seq, now FROM batches WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?", (after, upto, PAGE)
        ).fetchall()
        if not page:
            return
        inputs = iter(_inputs(db, after, page[-1][0]))
        following = next(inputs, None)
        for seq, now in page:
            mine: list[tuple[int, Input]] = []
            while following is not None and following[0] <= seq:
                mine.append(following)
                following = next(inputs, None)
            yield TailBatch(seq, now, mine)
        after = page[-1][0]


def read_readings(db: sqlite3.Connection, after: int, upto: int, limit: int = -1) -> list[tuple[int, Reading]]:
    """Give readings with their seqs, in the order of seq. ``limit`` -1: all of them."""
    return [(row[0], Reading(*row[1:])) for row in db.execute(_READINGS, (after, upto, limit))]


def _inputs(db: sqlite3.Connection, after: int, upto: int) -> list[tuple[int, Input]]:
    inputs: list[tuple[int, Input]] = [*read_readings(db, after, upto)]
    for seq, kind, body in db.execute("SELECT seq, kind, body FROM events WHERE seq > ? AND seq <= ?", (after, upto)):
        inputs.append((seq, decode(kind, body)))
    inputs.sort(key=_seq_of)
    return inputs


def _seq_of(numbered: tuple[int, Input]) -> int:
    return numbered[0]
