"""Rows of the journal, on their way to somewhere else."""

from collections.abc import Callable

from sensor_guard.config.settings import InfluxSettings
from sensor_guard.sinks.influx import open_influxdb
from sensor_guard.sinks.protocol import ReadingSink

SINKS: dict[str, Callable[[InfluxSettings, Callable[[], str]], ReadingSink]] = {"influxdb": open_influxdb}
"""The sinks by their name in config.yaml. A row takes its settings and a function that reads its secret."""
