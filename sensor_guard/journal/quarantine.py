"""Messages that could not be read: kept for a person to look at, within limits, and counted without."""

import sqlite3
from collections.abc import Sequence

from sensor_guard.journal.codec import storable
from sensor_guard.journal.numbers import count
from sensor_guard.model import DAY, Quarantined

ROW_LIMIT = 10_000
"""Beyond so many rows, and TOPIC_LIMIT a topic and UTC day, a message is only counted."""
TOPIC_LIMIT = 100
PAYLOAD_LIMIT = 4_096
TEXT_LIMIT = 300
"""Longest topic and detail; a stranger's topic may have 65,535 bytes."""


class Quarantine:
    """The writer's side of the quarantine table.

    What is kept in RAM is bounded by ROW_LIMIT: a topic is in it only if a row of today is.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._total: int | None = None
        self._days: dict[int, dict[str, int]] = {}

    def add(self, messages: Sequence[Quarantined]) -> int:
        """Count every message and keep those that there is room for; say how many were kept."""
        total = self._total
        if total is None:
            total = int(self._db.execute("SELECT count(*) FROM quarantine").fetchone()[0])
        reasons: dict[str, int] = {}
        rows: list[tuple[str, bytes, str, str, int, int]] = []
        for topic, payload, reason, detail, received_at in messages:
            reasons[reason] = reasons.get(reason, 0) + 1
            day = received_at // DAY
            # Cut, so that a row stays small; two long topics with the same beginning share their hundred.
            topic_kept = storable(topic[:TEXT_LIMIT])
            topics = self._topics_of(day)
            stored = topics.get(topic_kept, 0)
            if stored >= TOPIC_LIMIT or total + len(rows) >= ROW_LIMIT:
                continue
            topics[topic_kept] = stored + 1
            rows.append((topic_kept, payload[:PAYLOAD_LIMIT], reason, storable(detail[:TEXT_LIMIT]), received_at, day))
        self._db.executemany(
            "INSERT INTO quarantine (topic, payload, reason, detail, received_at, day) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
        self._total = total + len(rows)
        for reason, added in reasons.items():
            count(self._db, "quarantine", reason, added)
        return len(rows)

    def replayed(self, topics: Sequence[str]) -> int:
        """Mark rows that a sink had refused and has taken since; say how many."""
        return sum(
            self._db.execute(
                "UPDATE quarantine SET reason = 'replayed' WHERE topic = ? AND reason = 'refused'", (storable(topic),)
            ).rowcount
            for topic in topics
        )

    def forget(self) -> None:
        """Rows may have gone (a batch failed, or retention took them): count afresh when it is needed."""
        self._total = None
        self._days.clear()

    def _topics_of(self, day: int) -> dict[str, int]:
        topics = self._days.get(day)
        if topics is None:
            if len(self._days) >= 2:  # today, and yesterday around midnight
                self._days.clear()
            topics = dict(
                self._db.execute("SELECT topic, count(*) FROM quarantine WHERE day = ? GROUP BY topic", (day,))
            )
            self._days[day] = topics
        return topics
