"""`watch HOME`: the installer walks through the home and triggers each sensor; what was heard is ticked off."""

import threading
from typing import Annotated, Any

import typer

from sensor_guard.cli.output import ConfigPath, Exit, fail, load_config, request, when
from sensor_guard.cli.people import HomeId
from sensor_guard.config import Config
from sensor_guard.model import KINDS, Instant


def watch(
    home: HomeId,
    minutes: Annotated[float, typer.Option("--minutes", help="Give up after this long.")] = 30.0,
    config: ConfigPath = None,
) -> None:
    """Tick sensors off while somebody triggers them; ends when each has spoken (0), or in time (1)."""
    loaded = load_config(config)
    first = request(loaded, "home", needs_daemon=True, target=home)
    started: Instant = first["now"]
    names = {kind: row.zh if loaded.settings.language == "zh" else row.en for kind, row in KINDS.items()}
    typer.echo(
        f"{loaded.label(home)} ({home}): trigger each sensor now; `sensor test-mode` keeps texts away meanwhile."
    )
    for sensor in first["home"]["sensors"]:
        typer.echo(f"  [ ] {sensor['sensor_id']} ({names[sensor['kind']]})")
    heard: set[str] = set()
    strange: set[str] = set()
    pause = threading.Event()
    for _ in range(max(1, round(minutes * 60))):
        found = request(loaded, "home", needs_daemon=True, target=home)
        answer = found["home"]
        for row in found["rejected"]:
            if row["at"] >= started and row["topic"] not in strange:
                strange.add(row["topic"])
                typer.echo(f"  [?] heard on {row['topic']}, but it cannot be read: {row['reason']}, {row['detail']}")
        for sensor in answer["sensors"]:
            if sensor["sensor_id"] not in heard and (sensor["heard_at"] or 0) >= started:
                heard.add(sensor["sensor_id"])
                typer.echo(f"  [x] {sensor['sensor_id']} ({names[sensor['kind']]}){_level(sensor)}")
        missing = [s for s in answer["sensors"] if s["sensor_id"] not in heard]
        if not missing:
            typer.echo("All sensors were heard.")
            return
        pause.wait(1.0)
    _give_up(missing, names, loaded)


def _level(sensor: dict[str, Any]) -> str:
    return "" if sensor["level"] is None else f": {sensor['level']:g}"


def _give_up(missing: list[dict[str, Any]], names: dict[str, str], loaded: Config) -> None:
    for sensor in missing:
        last = when(sensor["heard_at"], loaded, never="never")
        typer.echo(f"  [ ] {sensor['sensor_id']} ({names[sensor['kind']]}): not heard; last {last}")
    fail("Check battery and pairing of these, and their topics in the list of homes.", Exit.FAULTS)
