"""The verbs: simulate, scenario, convert, publish. Exit codes: 0 well done; 1 done, and not all went well; 2 usage."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sensor_guard.clock import AcceleratedClock, Clock, SystemClock, format_at
from sensor_guard.model import DAY, HOUR, Instant, Reading
from simulators import scenario
from simulators.faults import DeadBattery, inject
from simulators.files import read_replay, truth_path, write_replay, write_truth
from simulators.homes import Home, live
from simulators.incidents import Incident, TruthRecord, scatter
from simulators.load import load
from simulators.options import parser
from simulators.publish import Broker, Pace, Publisher
from simulators.recordings import RECORDINGS, Report
from simulators.roster import (
    SensorRow,
    observed_for,
    read_topics,
    rows_of,
    rows_seen,
    said_every,
    topic_of,
    write_contacts,
    write_homes,
)
from simulators.stream import numbered, shifted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; give the exit code."""
    options = parser().parse_args(arguments)
    try:
        return _VERBS[options.verb](options)
    except (OSError, ValueError) as error:
        print(f"simulators: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 1


def _simulate(options: argparse.Namespace) -> int:
    homes, start, end = _homes(options)
    if options.only:
        homes = [home for home in homes if home.home_id in set(options.only)]
    counts: Counter[str] = Counter()
    stream = inject(live(homes, start, end), options.fault, seed=options.seed, counts=counts)
    count = write_replay(options.out, stream)
    records = list(chain.from_iterable(home.truth(end) for home in homes))
    records += [_battery_truth(one) for one in options.fault if isinstance(one, DeadBattery)]
    write_truth(truth_path(options.out), records)
    rows = (row for home in homes for row in rows_of(home.home_id, site=options.site))
    _write_lists(options, rows, (home.home_id for home in homes))
    faults = "".join(f", {number} {word}" for word, number in sorted(counts.items()))
    _say(f"{options.out}: {count} readings of {len(homes)} homes{faults}; {len(records)} incidents in", options.out)
    return 0 if count else 1


def _scenario(options: argparse.Namespace) -> int:
    rows = scenario.rows()
    if options.out is not None:
        count = write_replay(options.out, scenario.readings())
        write_truth(truth_path(options.out), scenario.truth())
        _say(f"{options.out}: {count} readings of {len({row.home for row in rows})} homes; the truth in", options.out)
    _write_lists(options, rows, sorted({row.home for row in rows}))
    print(f"starts {format_at(scenario.STARTS_AT, scenario.ZONE)}, ends {format_at(scenario.ENDS_AT, scenario.ZONE)}")
    for record in scenario.truth():
        for one in record.expect:
            when = format_at(one.earliest, scenario.ZONE)
            print(f"{record.home_id}: {record.incident} should raise {one.rule_id} at {when} or a little later")
    return 0


def _convert(options: argparse.Namespace) -> int:
    recording = RECORDINGS[options.recording]
    report = Report()
    seen: dict[tuple[str, str], Reading] = {}

    def watched() -> Iterator[Reading]:
        for reading in recording.open(options.folder, report):
            seen.setdefault((reading.home_id, reading.sensor_id), reading)
            yield reading

    count = write_replay(options.out, watched())
    for line in report.lines():
        print(line, file=sys.stderr)
    if not count:
        options.out.unlink()  # an empty file would look like a recording in which nothing happens
        print(f"{options.folder}: no readings; nothing was written", file=sys.stderr)
        return 1
    rows = rows_seen(seen.values(), expect_every=recording.expect_every, site=options.site)
    _write_lists(options, rows, sorted({row.home for row in rows}))
    print(f"{options.out}: {count} readings", file=sys.stderr)
    return 0


class _Source(NamedTuple):
    readings: Iterable[Reading]
    topics: dict[tuple[str, str], str]
    rows: list[SensorRow]


def _publish(options: argparse.Namespace) -> int:
    source = _source(options)
    _write_lists(options, source.rows, sorted({row.home for row in source.rows}))
    topics = read_topics(options.topics) if options.topics else source.topics
    flat = options.flat or options.count is not None
    readings = iter(numbered(inject(source.readings, options.fault, seed=options.seed)))
    first = next(readings, None)
    if first is None:
        print("nothing to publish", file=sys.stderr)
        return 1
    clock = _clock(options, first.received_at)
    readings = chain([first], readings)
    if options.count is None and (options.from_now or (options.clock is None and not flat)):
        readings = shifted(readings, clock.now() - first.received_at)
    with options.ledger.open("a", encoding="utf-8") if options.ledger else nullcontext() as ledger:
        publisher = Publisher(
            _broker(options),
            lambda home, sensor: topics.get((home, sensor)) or topic_of(options.site, home, sensor),
            clock=clock,
            patience=options.patience,
            ledger=ledger,
            progress=None if options.quiet else sys.stderr,
        )
        tally = publisher.run(readings, Pace.FLAT if flat else Pace.CLOCK, rate=options.rate)
    rate = tally.acknowledged / tally.seconds if tally.seconds else 0.0
    print(
        f"published {tally.published}, acknowledged {tally.acknowledged}, refused {tally.refused}, "
        f"sent again {tally.resent}, connections {tally.connections}, {tally.seconds:.1f} s, {rate:.0f}/s"
    )
    if publisher.refusal:
        print(f"the broker refused the connection: {publisher.refusal}", file=sys.stderr)
    return 0 if tally.is_complete and tally.published else 1


def _source(options: argparse.Namespace) -> _Source:
    """Choose what is published: the demo, a load, simulated homes, or a file."""
    if options.scenario:
        return _Source(scenario.readings(), {}, scenario.rows())
    if options.count is not None:
        rows = [row for n in range(options.homes) for row in rows_of(_home_id(n, options.homes), site=options.site)]
        home_ids = [_home_id(n, options.homes) for n in range(options.homes)]
        return _Source(load(home_ids, options.count, SystemClock(), seed=options.seed), {}, rows)
    if options.file is not None:
        return _Source(read_replay(options.file), {}, [])
    homes, start, end = _homes(options)
    rows = [row for home in homes for row in rows_of(home.home_id, site=options.site)]
    return _Source(live(homes, start, end), {}, rows)


def _homes(options: argparse.Namespace) -> tuple[list[Home], Instant, Instant]:
    """Make the homes that the options describe, with their incidents."""
    zone: ZoneInfo = options.zone
    start: Instant = options.start
    end = start + round(options.days * DAY)
    home_ids = [_home_id(number, options.homes) for number in range(options.homes)]
    incidents: list[Incident] = list(options.incident)
    if unknown := {one.home_id for one in incidents} - set(home_ids):
        raise ValueError(
            f"there is no home {', '.join(sorted(unknown))}; the homes are {home_ids[0]} to {home_ids[-1]}"
        )
    if options.scatter is not None:
        incidents += scatter(home_ids, start, end, seed=options.seed, every=options.scatter, zone=zone)
    by_home: dict[str, list[Incident]] = {}
    for one in sorted(incidents, key=lambda one: one.begins_at):
        by_home.setdefault(one.home_id, []).append(one)
    homes = [Home(home_id, options.seed, zone, tuple(by_home.get(home_id, ()))) for home_id in home_ids]
    return homes, start, end


def _battery_truth(fault: DeadBattery) -> TruthRecord:
    return fault.truth(every=said_every(fault.sensor_id), observed_for=observed_for(fault.sensor_id))


def _clock(options: argparse.Namespace, first_at: Instant) -> Clock:
    if options.clock is None:
        return SystemClock()
    clock = AcceleratedClock.join(options.clock, epoch=first_at, factor=options.factor)
    if abs(clock.now() - first_at) > 6 * HOUR and not options.from_now:
        now, first = format_at(clock.now()), format_at(first_at)
        print(f"{options.clock} says {now}, the stream begins {first}; delete it for a new clock", file=sys.stderr)
    return clock


def _broker(options: argparse.Namespace) -> Broker:
    password = options.password_file.read_text(encoding="utf-8").strip() if options.password_file else None
    return Broker(options.host, options.port, options.username, password, options.ca, options.client_id)


def _home_id(number: int, homes: int) -> str:
    """``home-001``: as many digits as the last one needs, at least three."""
    return f"home-{number + 1:0{max(len(str(homes)), 3)}d}"


def _write_lists(options: argparse.Namespace, rows: Iterable[SensorRow], home_ids: Iterable[str]) -> None:
    if options.homes_file is not None:
        write_homes(options.homes_file, rows)
    if options.contacts_file is not None:
        write_contacts(options.contacts_file, home_ids)


def _say(text: str, out: Path) -> None:
    print(f"{text} {truth_path(out)}", file=sys.stderr)


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "simulate": _simulate,
    "scenario": _scenario,
    "convert": _convert,
    "publish": _publish,
}
