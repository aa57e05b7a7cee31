"""Verbs about files: check, test, schema, replay."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from sensor_guard.capture import CaptureReader
from sensor_guard.cli.output import AsJson, ConfigPath, Exit, config_path, fail, is_terminal, say_json
from sensor_guard.clock import format_at
from sensor_guard.config import (
    Config,
    RuleBook,
    has_secret,
    load,
    load_rules,
    name_of,
    needed_secrets,
    plan_for_unknown_homes,
    schema_text,
    shipped_rules_directory,
    write_span,
)
from sensor_guard.engine.plan import Plan
from sensor_guard.errors import ConfigError
from sensor_guard.model import Alarm, Reading, Transition
from sensor_guard.recording import RecordingError, Tally, read_recording
from sensor_guard.replay import Outcome, Replay, Responder
from sensor_guard.ruletest import run_rule_test

PROGRESS_ROWS = 50_000
"""A recording gets a progress line on a terminal, anew every so many rows."""


def check(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Read every file; tell every fault at once, or say the rules in plain sentences."""
    try:
        loaded = load(config_path(config))
    except ConfigError as error:
        if as_json:
            say_json({"ok": False, "problems": [str(problem) for problem in error.problems]})
            raise typer.Exit(int(Exit.CONFIG)) from error
        fail(f"{error}\n{len(error.problems)} problem(s)", Exit.CONFIG)
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


def replay_files(
    files: Annotated[list[Path], typer.Argument(help="Recordings, in the order of their time.")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Judge by these homes and rules; else by the shipped rules.")
    ] = None,
    as_json: AsJson = False,
    transitions: Annotated[bool, typer.Option("--transitions", help="Every step of every alarm.")] = False,
    responder: Annotated[
        str, typer.Option("--responder", help="prompt answers and closes; none leaves every alarm open.")
    ] = "prompt",
    zone: Annotated[str, typer.Option("--timezone", help="Of homes that no configuration knows.")] = "UTC",
    meter: Annotated[
        str, typer.Option("--meter", help="What energy_wh and volume_l of unknown homes are: counter or interval.")
    ] = "counter",
) -> None:
    """Run a recording through the engine, as fast as it can, and print the alarms with their times.

    A recording is CSV or JSON Lines with the columns at, home_id, sensor_id, quantity, value (at is ISO 8601 with
    zone), or a capture made with `mosquitto_sub -F %j`; gzipped or not. Homes that the configuration does not know
    are judged by the shipped rules, so a file alone is enough:

        sensor-guard replay water.csv.gz
    """
    if responder not in ("prompt", "none"):
        fail(f"--responder is prompt or none, not {responder!r}", Exit.USAGE)
    if meter not in ("counter", "interval"):
        fail(f"--meter is counter or interval, not {meter!r}", Exit.USAGE)
    loaded = _loaded(config)
    source = _Source(files, CaptureReader(loaded.topics if loaded else {}))
    plan, book = _plan(source, loaded, zone, meter)
    printer = _Printer(plan, loaded, as_json=as_json, transitions=transitions)
    kind: Responder = "none" if responder == "none" else "prompt"
    run = Replay(plan, printer.tell, responder=kind, in_order=source.in_order)
    try:
        outcome = run.run(source.readings(progress=is_terminal()))
    except RecordingError as error:
        fail(str(error), Exit.FAULTS)
    for problem in source.tally.problems:
        typer.echo(f"passed over: {problem}", err=True)
    if source.tally.bad_count > len(source.tally.problems):
        typer.echo(f"passed over: {source.tally.bad_count} rows in all", err=True)
    if not as_json:
        _summary(outcome, book)
    if source.tally.bad_count or not outcome.readings:
        raise typer.Exit(int(Exit.FAULTS))


class _Source:
    """The files, read twice: once for who is in them, once for the run."""

    def __init__(self, files: list[Path], capture: CaptureReader) -> None:
        self._files = files
        self._capture = capture
        self.tally = Tally()
        self.in_order = True
        self.seen: set[tuple[str, str, str]] = set()
        self.rows = 0

    def scan(self) -> None:
        latest = -(1 << 60)
        tally = Tally()
        for path in self._files:
            for reading in read_recording(path, tally, self._capture.decode):
                self.rows += 1
                self.seen.add((reading.home_id, reading.sensor_id, reading.quantity))
                self.in_order = self.in_order and reading.observed_at >= latest
                latest = max(latest, reading.observed_at)

    def readings(self, *, progress: bool) -> Iterator[Reading]:
        count = 0
        for path in self._files:
            for reading in read_recording(path, self.tally, self._capture.decode):
                count += 1
                if progress and count % PROGRESS_ROWS == 0:
                    share = f"{100 * count / max(1, self.rows):.0f} %"
                    typer.echo(
                        f"\r{count:,} readings, {share}, at {format_at(reading.observed_at)} ", nl=False, err=True
                    )
                yield reading
        if progress and count >= PROGRESS_ROWS:
            typer.echo("\r" + " " * 70 + "\r", nl=False, err=True)


def _loaded(config: Path | None) -> Config | None:
    if config is None:
        return None
    try:
        return load(config)
    except ConfigError as error:
        fail(f"{error}\n{len(error.problems)} problem(s)", Exit.CONFIG)


def _plan(source: _Source, loaded: Config | None, zone: str, meter: str) -> tuple[Plan, RuleBook]:
    try:
        source.scan()
    except RecordingError as error:
        fail(str(error), Exit.FAULTS)
    book = loaded.book if loaded else load_rules([shipped_rules_directory()])
    known = {home.home_id for home in loaded.plan.homes} if loaded else set()
    unknown = {triple for triple in source.seen if triple[0] not in known}
    try:
        strangers = plan_for_unknown_homes(unknown, zone_name=loaded.plan.zone_name if loaded else zone, meter=meter)
    except (ValueError, LookupError) as error:
        fail(f"--timezone {zone}: {error}", Exit.USAGE)
    if loaded is None:
        return strangers, book
    if not unknown:
        return loaded.plan, book
    names = ", ".join(sorted({home_id for home_id, _, _ in unknown})[:5])
    typer.echo(f"not in {loaded.path}: {names}: judged by the shipped rules", err=True)
    rules = {rule.rule_id: rule for rule in (*strangers.rules, *loaded.plan.rules)}
    homes = {home.home_id: home for home in (*strangers.homes, *loaded.plan.homes)}
    return replace(loaded.plan, rules=tuple(rules.values()), homes=tuple(homes.values())), book


class _Printer:
    def __init__(self, plan: Plan, loaded: Config | None, *, as_json: bool, transitions: bool) -> None:
        self._names = {rule.rule_id: name_of(rule, "en") for rule in plan.rules}
        self._zone = plan.zone
        self._loaded = loaded
        self._json = as_json
        self._all = transitions

    def tell(self, transition: Transition, alarm: Alarm) -> None:
        if not self._all and transition.reason != "raised":
            return
        if self._json:
            say_json(self._row(transition, alarm))
            return
        home = self._loaded.label(alarm.home_id) if self._loaded else alarm.home_id
        evidence = alarm.evidence
        why = f"since {format_at(evidence.since, self._zone)}, seen for {write_span(evidence.observed_for)}"
        if evidence.blind_for:
            why += f", blind for {write_span(evidence.blind_for)}"
        step = "" if transition.reason == "raised" else f" {transition.reason}"
        name = self._names.get(alarm.rule_id, alarm.rule_id)
        typer.echo(f"{format_at(transition.at, self._zone)}  {home}  {name} ({alarm.rule_id}){step}: {why}")

    def _row(self, transition: Transition, alarm: Alarm) -> dict[str, Any]:
        evidence = alarm.evidence
        raised = transition.reason == "raised"
        return {
            "at": format_at(transition.at),
            "home_id": alarm.home_id,
            "rule_id": alarm.rule_id,
            # An alarm rises unanswered, whatever a responder does in the same instant.
            "state": "active" if raised else str(alarm.state),
            "severity": str(alarm.severity),
            "evidence": {
                "since": format_at(evidence.since),
                "observed_s": evidence.observed_for / 1_000,
                "blind_s": evidence.blind_for / 1_000,
                "count": evidence.count,
                "sensors": [
                    {
                        "sensor_id": sensor.sensor_id,
                        "quantity": sensor.quantity,
                        "value": sensor.value,
                        "at": format_at(sensor.at),
                        "observed": sensor.observed,
                    }
                    for sensor in evidence.sensors
                ],
            },
            "alarm_id": alarm.alarm_id,
            "transition": transition.reason,
        }


def _summary(outcome: Outcome, book: RuleBook) -> None:
    if outcome.first_at is None or outcome.last_at is None:
        typer.echo("no readings")
        return
    days = (outcome.last_at - outcome.first_at) / 86_400_000
    typer.echo(
        f"{outcome.readings:,} readings of {len(outcome.homes)} home(s), {days:.1f} days;"
        f" {sum(outcome.raised.values())} alarm(s) by {len(book.rules)} rules"
        + "".join(f"\n  {rule_id}: {number}" for rule_id, number in sorted(outcome.raised.items()))
    )
    sys.stdout.flush()
