"""`history HOME`: what InfluxDB holds of a home, for people. Nothing is decided by it."""

from typing import Annotated

import typer

from sensor_guard.cli.output import AsJson, ConfigPath, Exit, fail, load_config, say_json, when
from sensor_guard.cli.people import HomeId
from sensor_guard.clock import SystemClock
from sensor_guard.config import parse_span, read_secret
from sensor_guard.errors import SensorGuardError
from sensor_guard.sinks.client import InfluxConnection
from sensor_guard.sinks.history import InfluxHistory


def history(
    home: HomeId,
    since: Annotated[str, typer.Option("--since", help="How far back, such as 7d or 12h.")] = "1d",
    quantity: Annotated[str, typer.Option("--quantity", help="Only this one, such as power_w.")] = "",
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Read a home's readings back from InfluxDB, by InfluxQL."""
    loaded = load_config(config, whole=True)
    influx = loaded.settings.sinks.influxdb
    if influx is None:
        fail("config.yaml names no sinks: influxdb, so there is no history to read.", Exit.FAULTS)
    try:
        span = parse_span(since)
    except ValueError as error:
        fail(str(error), Exit.USAGE)
    now = SystemClock().now()
    connection = InfluxConnection(
        url=influx.url,
        org=influx.org,
        bucket=influx.bucket,
        timeout=influx.timeout,
        read_token=lambda: read_secret("influxdb_token"),
    )
    count = 0
    try:
        for row in InfluxHistory(connection).readings(home, now - span, now, quantity=quantity):
            count += 1
            if as_json:
                say_json(row._asdict())
            else:
                typer.echo(f"{when(row.observed_at, loaded)}  {row.sensor_id}  {row.quantity}  {row.value:g}")
    except (ValueError, SensorGuardError) as error:
        fail(str(error), Exit.FAULTS)
    finally:
        connection.close()
    if not as_json:
        typer.echo(f"{loaded.label(home)} ({home}): {count} readings since {when(now - span, loaded)}")
