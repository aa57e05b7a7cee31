"""Verbs about the journal: db backup, check, prune."""

from pathlib import Path
from typing import Annotated

import typer

from sensor_guard.cli.output import AsJson, ConfigPath, Exit, fail, load_config, request, say_json
from sensor_guard.clock import SystemClock
from sensor_guard.config import read_secret
from sensor_guard.errors import AlreadyRunningError, JournalError, SensorGuardError
from sensor_guard.journal import Reader, open_sound
from sensor_guard.sinks.client import InfluxConnection
from sensor_guard.sinks.replay import replay

REFUSED_SHOWN = 20
"""Rows named by `db replay-refused`; --json has all."""

app = typer.Typer(no_args_is_help=True, help="The journal: copy it, check it, shorten it.")


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A new file; nothing is overwritten.")],
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Copy the journal, consistent, while the daemon runs."""
    path = load_config(config, whole=True).settings.journal.path
    try:
        with Reader.open(path) as reader:
            reader.backup(target)
    except (JournalError, OSError) as error:
        fail(str(error), Exit.FAULTS)
    if as_json:
        say_json({"ok": True, "target": str(target), "bytes": target.stat().st_size})
    else:
        typer.echo(f"{path} is copied to {target} ({target.stat().st_size / 1e6:.1f} MB).")


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="A backup; without it the journal of config.yaml.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Every page and index; slow on a large file.")] = False,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Check the journal, or a copy of it: the file itself, and that nothing in it is missing."""
    path = file if file is not None else load_config(config, whole=True).settings.journal.path
    try:
        with Reader.open(path) as reader:
            faults = reader.check(full=full)
    except (JournalError, OSError) as error:
        fail(str(error), Exit.FAULTS)
    if as_json:
        say_json({"ok": not faults, "faults": faults})
    else:
        for fault in faults:
            typer.echo(f"FAULT: {fault}")
        typer.echo(f"{path}: {len(faults)} fault(s)")
    if faults:
        raise typer.Exit(int(Exit.FAULTS))


@app.command(name="replay-refused")
def replay_refused(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Write into InfluxDB once more what it has refused; for after somebody has mended what was wrong there."""
    loaded = load_config(config)
    influx = loaded.settings.sinks.influxdb
    if influx is None:
        fail("config.yaml names no sinks: influxdb, so there is nothing that it could have refused.", Exit.FAULTS)
    connection = InfluxConnection(
        url=influx.url,
        org=influx.org,
        bucket=influx.bucket,
        timeout=influx.timeout,
        read_token=lambda: read_secret("influxdb_token"),
    )
    try:
        with Reader.open(loaded.settings.journal.path) as reader:
            letters = reader.refused("influxdb")
        stored, refused = replay(connection.write, letters)
    except SensorGuardError as error:
        fail(f"{error}; nothing is marked, so the same command can be given again.", Exit.FAULTS)
    finally:
        connection.close()
    if stored:
        request(loaded, "replayed", topics=stored)
    if as_json:
        say_json({"ok": not refused, "stored": len(stored), "refused": [list(one) for one in refused]})
    else:
        for topic, why in refused[:REFUSED_SHOWN]:
            typer.echo(f"still refused: {topic}: {why}")
        typer.echo(f"{len(stored)} of {len(letters)} refused row(s) are in InfluxDB now; {len(refused)} still refused.")
    if refused:
        raise typer.Exit(int(Exit.FAULTS))


@app.command()
def prune(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Remove what is older than config.yaml keeps; the daemon does so by itself every night."""
    loaded = load_config(config, whole=True)
    settings = loaded.settings.journal
    try:
        with open_sound(settings.path) as journal:
            steps = 0
            while journal.prune(
                SystemClock().now(), keep_readings=settings.keep_readings, keep_alarms=settings.keep_alarms
            ):
                steps += 1
        answer = {"ok": True, "steps": steps}
    except AlreadyRunningError:
        answer = request(loaded, "prune")
    except (JournalError, OSError) as error:
        fail(str(error), Exit.FAULTS)
    if as_json:
        say_json(answer)
    else:
        steps = answer["steps"]
        how = "being shortened by the daemon, step by step" if steps is None else f"shortened in {steps} step(s)"
        typer.echo(f"{settings.path}: {how}.")
