"""The table of verbs."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, cast

import typer

from sensor_guard import __version__
from sensor_guard.cli import database, files, people
from sensor_guard.cli.history import history
from sensor_guard.cli.output import ConfigPath, Exit, config_path, fail
from sensor_guard.cli.replay import replay_files
from sensor_guard.cli.watch import watch
from sensor_guard.errors import AlreadyRunningError, ConfigError, JournalError, StartError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=(
        "Notices from cheap sensors that an elderly person living alone is in trouble, and makes sure that somebody"
        " goes and looks.\n\nStart with `sensor-guard check --config config.yaml`; a tester needs only"
        " `sensor-guard replay FILE`.\n\nExit codes: 0 ok, 1 ran and found faults (or was refused), 2 usage,"
        " 3 no daemon, 75 a second daemon, 78 configuration."
    ),
)
sensor = typer.Typer(no_args_is_help=True, help="Sensors: let an installer try them.")
notify = typer.Typer(no_args_is_help=True, help="Texts: send one to try the way.")
app.add_typer(sensor, name="sensor")
app.add_typer(notify, name="notify")
app.add_typer(database.app, name="db")


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"sensor_guard {__version__}")
        raise typer.Exit


@app.command()
def run(
    config: ConfigPath = None,
    clock: Annotated[
        Path | None, typer.Option("--clock", help="A clock file: accelerated time, for the demo on loopback only.")
    ] = None,
    messages: Annotated[
        str, typer.Option("--messages", help="- : read messages from stdin, as mosquitto_sub -F %j prints them.")
    ] = "",
) -> None:
    """Run the daemon. SIGTERM stops it within 5 seconds; nothing is lost."""
    from sensor_guard.app import run as run_daemon  # noqa: PLC0415 - the daemon's parts are not needed by other verbs

    try:
        code = run_daemon(config_path(config), clock_path=clock, messages=sys.stdin if messages == "-" else None)
    except ConfigError as error:
        fail(f"{error}\n{len(error.problems)} problem(s); the daemon has not started.", Exit.CONFIG)
    except AlreadyRunningError as error:
        fail(str(error), Exit.SECOND_DAEMON)
    except (JournalError, StartError) as error:
        fail(str(error), Exit.FAULTS)
    raise typer.Exit(code)


for name, verb in {
    "check": files.check,
    "reload": files.reload,
    "test": files.test,
    "schema": files.schema,
    "replay": replay_files,
    "status": people.status,
    "alarms": people.alarms,
    "alarm": people.alarm,
    "ack": people.ack,
    "close": people.close,
    "homes": people.homes,
    "watch": watch,
    "history": history,
    "away": people.away,
    "back": people.back,
    "mute": people.mute,
    "unmute": people.unmute,
}.items():
    app.command(name)(cast("Callable[..., None]", verb))
sensor.command("test-mode")(people.test_mode)
notify.command("test")(people.notify_test)


def main() -> None:
    """Run the command line; a closed pipe (`| head`) is no error."""
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
