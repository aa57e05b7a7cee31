"""The sink for InfluxDB 2.x, 1.8 and 3 Core: rows as lines of ``line.py``, written synchronously."""

from collections.abc import Callable, Sequence

from sensor_guard.config.settings import InfluxSettings
from sensor_guard.model import GATEWAY, MINUTE, Instant, Quantity, Reading, Severity
from sensor_guard.sinks.client import InfluxConnection
from sensor_guard.sinks.line import lines_of
from sensor_guard.sinks.protocol import AlarmEvent, ReadingSink, Row, SinkError, SinkFailure

PROBE = "mirror_probe"
"""The sensor and the rule whose points are the known-good canary. They belong to the gateway, which is no home."""


class InfluxSink:
    """Writes rows to one bucket. Same row, same line, same point: writing again changes nothing."""

    def __init__(self, connection: InfluxConnection) -> None:
        self._connection = connection

    def write(self, rows: Sequence[Row]) -> None:
        """Store the rows with one request.

        Raises:
            SinkError: they are not stored, or it is not known.
        """
        try:
            lines = lines_of(rows)
        except ValueError as error:
            raise SinkError(SinkFailure.REFUSED, str(error)) from error
        # A lone surrogate in a text becomes "?": it cannot be sent, and must not hold up the rest.
        self._connection.write("\n".join(lines).encode("utf-8", "replace"))

    def probe(self, now: Instant) -> None:
        """Write one good line of each measurement, at most one point a minute.

        They go into the measurements of the real rows, so that a bucket in which these have other types, or a
        retention policy that does not exist, fails here and is not taken for bad rows.

        Raises:
            SinkError: that fails too.
        """
        minute = now - now % MINUTE
        self.write(
            [
                (0, Reading(GATEWAY, PROBE, Quantity.LINK, 1.0, minute, minute)),
                (0, AlarmEvent(f"{GATEWAY}.{PROBE}", GATEWAY, PROBE, "probe", Severity.INFO, minute)),
            ]
        )

    def render(self, row: Row) -> str:
        """Say the row as a line; as Python would, where it cannot be one."""
        try:
            return lines_of([row])[0]
        except ValueError:
            return repr(row)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def open_influxdb(settings: InfluxSettings, read_token: Callable[[], str]) -> ReadingSink:
    """Make the sink that config.yaml describes; nothing is connected before the first write."""
    return InfluxSink(
        InfluxConnection(
            url=settings.url,
            org=settings.org,
            bucket=settings.bucket,
            timeout=settings.timeout,
            read_token=read_token,
        )
    )
