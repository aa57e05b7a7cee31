"""The verb replay: recordings through the engine, alarms with their times out."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from sensor_guard.capture import CaptureReader
from sensor_guard.cli.output import AsJson, Exit, fail, is_terminal, say_json
from sensor_guard.clock import format_at
from sensor_guard.config import Config, load, name_of, plan_for_unknown_homes, write_span
from sensor_guard.engine.plan import Plan
from sensor_guard.errors import ConfigError
from sensor_guard.memory import collect_rarely
from sensor_guard.model import HOUR, KIND_OF_QUANTITY, KINDS, Alarm, Instant, Kind, Reading, Span, Transition
from sensor_guard.recording import RecordingError, Tally, in_time_order, read_recording
from sensor_guard.replay import Outcome, Replay, Responder, run_together

PROGRESS_ROWS = 50_000
"""A recording gets a progress line on a terminal, anew every so many rows."""
GAPS_KEPT = 64
GAPS_NEEDED = 8
SLOWEST_METER: Span = 6 * HOUR
"""A stranger's meter is expected as often as it spoke in its first 8 to 64 rows, at the least every 6 h."""

# A person told the recording and nothing else: at most so many names a line.
_NAMES_TOLD = 5
_SensorKey = tuple[str, str]


def replay_files(
    files: Annotated[list[Path], typer.Argument(help="Recordings; they are put in the order of their times.")],
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
    collect_rarely()
    known = {home.home_id: {s.sensor_id for s in home.sensors} for home in loaded.plan.homes} if loaded else {}
    source = _Source(files, CaptureReader(loaded.topics if loaded else {}), known)
    try:
        source.scan()
    except RecordingError as error:
        fail(str(error), Exit.FAULTS)
    _say_who(source, loaded)
    kind: Responder = "none" if responder == "none" else "prompt"
    strangers = _strangers_plan(source, loaded.plan.zone_name if loaded else zone, meter)
    plans = [plan for plan in (loaded.plan if loaded else None, strangers) if plan is not None]
    printer = _Printer(plans, loaded, as_json=as_json, transitions=transitions)
    runs = [
        Replay(
            plan,
            printer.tell,
            responder=kind,
            in_order=source.in_order,
            heard_from=source.heard_from if plan is strangers else None,
        )
        for plan in plans
    ]
    try:
        outcomes = run_together(runs, source.readings(progress=is_terminal()))
    except RecordingError as error:
        fail(str(error), Exit.FAULTS)
    for problem in source.tally.problems:
        typer.echo(f"passed over: {problem}", err=True)
    if source.tally.bad_count > len(source.tally.problems):
        typer.echo(f"passed over: {source.tally.bad_count} rows in all", err=True)
    if not source.rows:
        fail("no readings", Exit.FAULTS)
    if not as_json:
        _summary(outcomes)
    if source.tally.bad_count:
        raise typer.Exit(int(Exit.FAULTS))


def _loaded(config: Path | None) -> Config | None:
    if config is None:
        return None
    try:
        return load(config)
    except ConfigError as error:
        fail(f"{error}\n{len(error.problems)} problem(s)", Exit.CONFIG)


@dataclass(slots=True)
class _Heard:
    """What a recording says about one sensor that nobody has configured."""

    first_at: Instant
    last_at: Instant
    kinds: set[Kind] = field(default_factory=set)
    gaps: list[Span] = field(default_factory=list)


class _Source:
    """The files, read twice: once for who is in them, once for the run.

    ``known``: the sensors of each configured home. ``sorted``: the rows stand in the order of time;
    ``in_order``: no reading was under way for a while (in a capture, a device that sends its own time).
    """

    def __init__(self, files: list[Path], capture: CaptureReader, known: dict[str, set[str]]) -> None:
        self._files = files
        self._capture = capture
        self._known = known
        self.tally = Tally()
        self.sorted = True
        self.in_order = True
        self.rows = 0
        self.strangers: dict[_SensorKey, _Heard] = {}
        self.triples: set[tuple[str, str, str]] = set()
        self.not_judged: set[_SensorKey] = set()
        self._several: dict[_SensorKey, Kind] = {}

    def scan(self) -> None:
        """Look who is in the files, since when and how often."""
        latest = -(1 << 60)
        for reading in self._read(Tally()):
            self.rows += 1
            self.sorted = self.sorted and reading.received_at >= latest
            latest = max(latest, reading.received_at)
            self.in_order = self.in_order and reading.observed_at >= reading.received_at
            sensors = self._known.get(reading.home_id)
            if sensors is None:
                self._hear(reading)
            elif reading.sensor_id not in sensors:
                self.not_judged.add((reading.home_id, reading.sensor_id))
        self._several = {key: min(heard.kinds) for key, heard in self.strangers.items() if len(heard.kinds) > 1}
        self.triples = {(home, self._sensor_id(home, sensor, name), name) for home, sensor, name in self.triples}

    def _hear(self, reading: Reading) -> None:
        key, at = (reading.home_id, reading.sensor_id), reading.received_at
        heard = self.strangers.get(key)
        if heard is None:
            heard = self.strangers[key] = _Heard(at, at)
        elif len(heard.gaps) < GAPS_KEPT and at > heard.last_at:
            heard.gaps.append(at - heard.last_at)
        heard.first_at, heard.last_at = min(heard.first_at, at), at
        triple = (reading.home_id, reading.sensor_id, reading.quantity)
        if triple not in self.triples:
            self.triples.add(triple)
            kind = KIND_OF_QUANTITY.get(reading.quantity)
            if kind is not None:
                heard.kinds.add(kind)

    def readings(self, *, progress: bool) -> Iterator[Reading]:
        """Give all readings in the order of time."""
        stream = self._read(self.tally)
        for count, reading in enumerate(stream if self.sorted else in_time_order(stream), start=1):
            if progress and count % PROGRESS_ROWS == 0:
                share = f"{100 * count / max(1, self.rows):.0f} %"
                text = f"\r{count:,} readings, {share}, at {format_at(reading.observed_at)} "
                typer.echo(text, nl=False, err=True)
            if (reading.home_id, reading.sensor_id) in self._several:
                sensor_id = self._sensor_id(reading.home_id, reading.sensor_id, reading.quantity)
                yield reading._replace(sensor_id=sensor_id)
            else:
                yield reading
        if progress and self.rows >= PROGRESS_ROWS:
            typer.echo("\r" + " " * 70 + "\r", nl=False, err=True)

    def _read(self, tally: Tally) -> Iterator[Reading]:
        for path in self._files:
            yield from read_recording(path, tally, self._capture.decode)

    def _sensor_id(self, home_id: str, sensor_id: str, quantity: str) -> str:
        """One sensor of the engine has one kind: a device that says several things becomes several."""
        first = self._several.get((home_id, sensor_id))
        return sensor_id if first is None else f"{sensor_id}_{KIND_OF_QUANTITY.get(quantity, first)}"

    def several(self) -> list[str]:
        """Name the devices that say several things, and what."""
        return [
            f"{home}/{sensor} ({', '.join(sorted(self.strangers[home, sensor].kinds))})"
            for home, sensor in sorted(self._several)
        ]

    @property
    def heard_from(self) -> dict[_SensorKey, Instant]:
        """Since when each stranger's sensor speaks."""
        return {(home, sensor): self._of(home, sensor).first_at for home, sensor, _ in self.triples}

    @property
    def observed_for(self) -> dict[_SensorKey, Span]:
        """How long a word of a stranger's slow meter counts: twice its usual pause, as for configured ones."""
        spans = {}
        for home, sensor, quantity in self.triples:
            kind = KIND_OF_QUANTITY.get(quantity)
            gaps = self._of(home, sensor).gaps
            if kind in (Kind.POWER, Kind.WATER) and len(gaps) >= GAPS_NEEDED:
                spans[home, sensor] = max(KINDS[kind].observed_for, 2 * min(SLOWEST_METER, round(median(gaps))))
        return spans

    def _of(self, home_id: str, sensor_id: str) -> _Heard:
        heard = self.strangers.get((home_id, sensor_id))
        return heard if heard is not None else self.strangers[home_id, sensor_id.rpartition("_")[0]]


def _say_who(source: _Source, loaded: Config | None) -> None:
    if loaded is not None and source.strangers:
        names = sorted({home_id for home_id, _ in source.strangers})
        typer.echo(f"not in {loaded.path}: {_some(names)}: judged by the shipped rules", err=True)
    if loaded is not None and source.not_judged:
        names = [f"{home_id}/{sensor_id}" for home_id, sensor_id in sorted(source.not_judged)]
        typer.echo(f"NOT judged, since these homes of {loaded.path} have no such sensor: {_some(names)}", err=True)
    if source.several():
        typer.echo(f"taken as a sensor for each of its kinds: {_some(source.several())}", err=True)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_TOLD} more" if len(names) > _NAMES_TOLD else ""
    return ", ".join(names[:_NAMES_TOLD]) + more


def _strangers_plan(source: _Source, zone: str, meter: str) -> Plan | None:
    try:
        plan = plan_for_unknown_homes(source.triples, zone_name=zone, meter=meter, observed_for=source.observed_for)
    except (ValueError, LookupError, OSError) as error:
        fail(f"--timezone {zone}: {error}", Exit.USAGE)
    return plan if source.triples else None


class _Printer:
    def __init__(self, plans: list[Plan], loaded: Config | None, *, as_json: bool, transitions: bool) -> None:
        self._names = {rule.rule_id: name_of(rule, "en") for plan in plans for rule in plan.rules}
        self._zone = plans[0].zone if plans else UTC
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


def _summary(outcomes: Iterable[Outcome]) -> None:
    total = Outcome()
    for outcome in outcomes:
        total.add(outcome)
    days = ((total.last_at or 0) - (total.first_at or 0)) / (24 * HOUR)
    typer.echo(
        f"{total.readings:,} readings of {len(total.homes)} home(s), {days:.1f} days;"
        f" {sum(total.raised.values())} alarm(s)"
        + "".join(f"\n  {rule_id}: {number}" for rule_id, number in sorted(total.raised.items()))
    )
    sys.stdout.flush()
