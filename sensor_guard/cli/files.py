"""Verbs about files: check, test, schema."""

from pathlib import Path
from typing import Annotated

import typer

from sensor_guard.cli.output import (
    AsJson,
    ConfigPath,
    Exit,
    config_file,
    config_path,
    fail,
    load_config,
    request,
    say_json,
)
from sensor_guard.config import (
    has_secret,
    kept_name,
    load,
    load_for_people,
    load_rules,
    needed_secrets,
    schema_text,
)
from sensor_guard.control import DaemonAbsentError, ask
from sensor_guard.errors import ConfigError
from sensor_guard.ruletest import run_rule_test

RELOAD_WITHIN = 250.0
"""Seconds that a reload may take; somewhat more than the daemon gives it."""


def check(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Read every file; tell every fault at once, or say the rules in plain sentences."""
    try:
        loaded = load(config_file(config))
    except ConfigError as error:
        if as_json:
            say_json({"ok": False, "problems": [str(problem) for problem in error.problems]})
            raise typer.Exit(int(Exit.CONFIG)) from error
        daemon = _daemon_at(config_path(config))
        goes_on = "; the daemon goes on with the configuration that it has" if daemon else ""
        fail(f"{error}\n{len(error.problems)} problem(s){goes_on}", Exit.CONFIG)
    secrets = [name for name in needed_secrets(loaded.settings) if not has_secret(name)]
    if as_json:
        say_json(
            {
                "ok": True,
                "homes": len(loaded.homes.entries),
                "topics": len(loaded.topics),
                "warnings": [str(problem) for problem in loaded.warnings],
                "missing_secrets": secrets,
                "rules": {language: loaded.sentences(language) for language in ("zh", "en")},
            }
        )
        return
    for language in ("zh", "en"):
        for sentence in loaded.sentences(language):
            typer.echo(f"  {sentence}")
        typer.echo("")
    for problem in loaded.warnings:
        typer.echo(f"warning: {problem}")
    for name in secrets:
        typer.echo(f"warning: the secret {name} is not here: give it as a credential, SENSOR_GUARD_{name.upper()}_FILE")
    typer.echo(
        f"{config_path(config)}: {len(loaded.homes.entries)} homes, {len(loaded.topics)} sensors,"
        f" {len(loaded.contacts.entries)} contacts, {len(loaded.rules)} rules: no problems"
    )
    daemon = _daemon_at(loaded.path)
    if daemon.get("configuration") not in {None, "", kept_name(loaded.path)}:
        typer.echo("The daemon runs on other files than these: `sensor-guard reload` takes these in.")


def reload(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Let the daemon take in the files as they are now; if anything is wrong in them, it goes on as it was."""
    loaded = load_config(config)
    answer = request(loaded, "reload", needs_daemon=True, within=RELOAD_WITHIN)
    if as_json:
        say_json(answer)
    elif answer["ok"]:
        if not answer["changed"]:
            typer.echo("Nothing has changed in the files.")
        elif answer["restart"]:
            waits = ", ".join(answer["restart"])
            typer.echo(f"The files are taken in: {answer['homes']} homes; not in force until a restart: {waits}.")
        else:
            typer.echo(f"The new configuration is in force: {answer['homes']} homes.")
        for name in answer["restart"]:
            typer.echo(f"warning: {name} needs a restart: systemctl restart sensor_guard")
    if not answer["ok"]:
        problems = answer["problems"]
        if not as_json:
            typer.echo("\n".join(problems), err=True)
            typer.echo(f"{len(problems)} problem(s); the daemon goes on with the configuration that it has", err=True)
        raise typer.Exit(int(Exit.CONFIG))


def _daemon_at(path: Path) -> dict[str, object]:
    """Ask the daemon how it stands, where one runs."""
    try:
        config, _ = load_for_people(path)
        return ask(config.settings.runtime.directory / "control.sock", {"verb": "status"})
    except DaemonAbsentError:
        return {}


def test(
    paths: Annotated[list[Path], typer.Argument(help="Rule files or folders of them.")],
    as_json: AsJson = False,
) -> None:
    """Run the tests that stand beside the rules, on the virtual clock."""
    try:
        book = load_rules(paths)
    except ConfigError as error:
        fail(f"{error}\n{len(error.problems)} problem(s)", Exit.CONFIG)
    failed = 0
    for rule_test in book.tests:
        failures = run_rule_test(rule_test, book.rules)
        failed += bool(failures)
        if as_json:
            say_json(
                {
                    "rule_id": rule_test.rule_id,
                    "name": rule_test.name,
                    "passed": not failures,
                    "failures": [str(failure) for failure in failures],
                }
            )
        else:
            for failure in failures:
                place = f"{rule_test.file}:{rule_test.line}"
                typer.echo(f"FAILED {place}: {rule_test.rule_id}: {rule_test.name}: {failure}")
    tested = {rule_test.rule_id for rule_test in book.tests}
    untested = sorted({rule.rule_id for rule in book.rules} - tested)
    if not as_json:
        if untested:
            typer.echo(f"without any test: {', '.join(untested)}")
        typer.echo(f"{len(book.tests) - failed} passed, {failed} failed, of {len(book.rules)} rules")
    if failed or not book.tests:
        raise typer.Exit(int(Exit.FAULTS))


def schema() -> None:
    """Print the JSON Schema of rule files, for editors."""
    typer.echo(schema_text())
