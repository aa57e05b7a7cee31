"""Reads history back, for people: ``sensor-guard history HOME``. The engine never decides by it."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from sensor_guard.model import ID_PATTERN, Instant
from sensor_guard.sinks.client import InfluxConnection

PAGE = 10_000
"""Rows of one query; more are fetched as they are read (InfluxDB 1.8's own max-row-limit may be as low)."""

_NS_PER_MS = 1_000_000
_ID = re.compile(ID_PATTERN)


class HistoryReading(NamedTuple):
    """A reading as InfluxDB holds it. ``seq``: the journal's."""

    home_id: str
    sensor_id: str
    quantity: str
    value: float
    observed_at: Instant
    seq: int


class HistoryAlarm(NamedTuple):
    """A step in an alarm's life as InfluxDB holds it."""

    home_id: str
    rule_id: str
    event: str
    alarm_id: str
    level: int
    text: str
    at: Instant


class InfluxHistory:
    """Asks one bucket by InfluxQL, which 1.8, 2.x and 3 Core share. Times: from ``since``, before ``until``."""

    def __init__(self, connection: InfluxConnection, *, page: int = PAGE) -> None:
        self._connection = connection
        self._page = page

    def readings(
        self, home_id: str, since: Instant, until: Instant, *, sensor_id: str = "", quantity: str = ""
    ) -> Iterator[HistoryReading]:
        """Give a home's readings in the order of time; of one sensor or quantity where it is named.

        Raises:
            ValueError: not an id.
            SinkError: the database does not answer, or refuses.
        """
        where = f'"home" = {_quoted(home_id)}'
        if sensor_id:
            where += f' AND "sensor" = {_quoted(sensor_id)}'
        if quantity:
            where += f' AND "quantity" = {_quoted(quantity)}'
        # The ids are looked at by _quoted.
        select = f'SELECT "sensor", "quantity", "value", "seq" FROM "reading" WHERE {where}'  # noqa: S608
        for ns, sensor, kind, value, seq in self._rows(select, since, until):
            if value is not None:  # somebody else's point in our measurement
                # JSON has no 5.0: the server writes 5.
                yield HistoryReading(home_id, str(sensor), str(kind), float(value), ns // _NS_PER_MS, int(seq or 0))

    def alarms(self, home_id: str, since: Instant, until: Instant) -> Iterator[HistoryAlarm]:
        """Give the steps of a home's alarms in the order of time.

        Raises:
            ValueError: not an id.
            SinkError: the database does not answer, or refuses.
        """
        where = f'"home" = {_quoted(home_id)}'
        select = f'SELECT "rule", "event", "alarm_id", "level", "text" FROM "alarm" WHERE {where}'  # noqa: S608 - likewise
        for ns, rule, event, alarm_id, level, text in self._rows(select, since, until):
            if alarm_id is not None:
                at = ns // _NS_PER_MS
                yield HistoryAlarm(home_id, str(rule), str(event), str(alarm_id), int(level), str(text), at)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _rows(self, select: str, since: Instant, until: Instant) -> Iterator[list[Any]]:
        """Read page after page, each from the last one's last ns on, whose rows are left out the second time."""
        start, end = since * _NS_PER_MS, until * _NS_PER_MS
        seen: list[list[Any]] = []
        while True:
            series = self._connection.query(
                f"{select} AND time >= {start} AND time < {end} ORDER BY time ASC LIMIT {self._page + len(seen)}"
            )
            rows = [row for each in series for row in each["values"]]
            yield from (row for row in rows if row not in seen)
            if len(rows) < self._page + len(seen):
                return
            start = rows[-1][0]
            seen = [row for row in rows if row[0] == start]


def _quoted(name: str) -> str:
    """Quote an id as an InfluxQL string, after a look at whether it is one: no escape can go wrong."""
    if not _ID.fullmatch(name) or name.endswith("\n"):
        raise ValueError(f"{name!r} is not an id: 1 to 64 letters, digits, - or _")
    return f"'{name}'"
