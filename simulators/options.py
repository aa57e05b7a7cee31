"""The command line of the simulators, as a table of options; ``--help`` is its manual."""

import argparse
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sensor_guard.clock import parse_at
from sensor_guard.model import Instant, Span
from simulators.faults import FORMS, Fault, parse_fault
from simulators.files import SUFFIXES
from simulators.incidents import Incident, IncidentKind, parse_span
from simulators.recordings import RECORDINGS
from simulators.roster import DEFAULT_SITE
from simulators.scenario import FACTOR

_INTRODUCTION = """\
Homes to try sensor_guard on: simulated residents with what goes wrong in their
homes and the truth about it, faults on the way, recordings of real homes, and
a publisher that brings any of it to a real MQTT broker.
"""
_EXAMPLES = """\
examples:
  A week of 50 homes, an incident in each every ten days or so, and the truth
  beside it in week.truth.jsonl:
    python -m simulators simulate --homes 50 --days 7 --scatter 10d --out week.csv.gz

  One collapse; 2 percent of the readings lost, one in ten up to 3 minutes late:
    python -m simulators simulate --homes 1 --days 3 --out fall.csv \\
        --incident collapse,home-001,2026-03-02T09:10:00+08:00,16h \\
        --fault drop=0.02 --fault delay=0.1,3m

  The recorded water of a flat in Naples, for: sensor-guard replay water.csv.gz
    python -m simulators convert weusedto FOLDER --out water.csv.gz

  The demo's night to a broker on this machine, 12 hours in a minute:
    python -m simulators publish --scenario --clock demo.clock

  20,000 messages as fast as the broker takes them, and the list of those that
  it acknowledged:
    python -m simulators publish --count 20000 --ledger acknowledged.tsv

exit codes: 0 done; 1 done, but not all of it (messages not acknowledged, no
reading found); 2 the command or a file is wrong
"""
_PUBLISH = """\
Publishes on guard/<site>/<home>/<sensor>, QoS 1, JSON with the quantity, ts and
seq. Each message is kept until the broker has acknowledged it; after a restart
of the broker, what was not acknowledged goes out again with the same seq and
ts. Without a FILE, --scenario or --count, simulated homes are published.
"""
_WHEN = """\
when a message goes out:
  by default            in real time, the stream moved so that it begins now
  --clock FILE          on the accelerated clock in FILE, shared with the daemon;
                        whoever comes first makes it, at the stream's first time
  --flat                as fast as the broker takes it, with its own times
  --count N             made up on the spot, as fast as --rate allows
"""
_FORM = argparse.RawDescriptionHelpFormatter


def parser() -> argparse.ArgumentParser:
    """Build the parser; ``verb`` says which verb was given."""
    top = argparse.ArgumentParser(
        "python -m simulators", description=_INTRODUCTION, epilog=_EXAMPLES, formatter_class=_FORM
    )
    verbs = top.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    lists, world = _lists(), _world()
    simulate = verbs.add_parser(
        "simulate", parents=[world, lists], help="simulated homes to a replay file, with the truth beside it"
    )
    _add_out(simulate, required=True)
    simulate.add_argument(
        "--only", action="append", metavar="HOME", help="write only this one of the homes; may be repeated"
    )
    scenario = verbs.add_parser("scenario", parents=[lists], help="the demo's night: what happens in it, or as a file")
    _add_out(scenario, required=False)
    convert = verbs.add_parser("convert", parents=[lists], help="a recording of real homes to a replay file")
    convert.add_argument("recording", choices=sorted(RECORDINGS), help="whose recording")
    convert.add_argument("folder", type=Path, help="the folder with its files, as .csv or .csv.gz")
    _add_out(convert, required=True)
    publish = verbs.add_parser(
        "publish",
        parents=[world, lists],
        help="a file, the demo, simulated homes or a load to an MQTT broker",
        description=_PUBLISH,
        epilog=_WHEN,
        formatter_class=_FORM,
    )
    _add_source_and_pace(publish)
    _add_broker(publish)
    return top


def _lists() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    group = parent.add_argument_group("lists for sensor_guard")
    group.add_argument("--site", default=DEFAULT_SITE, help="site of the homes (default: %(default)s)")
    group.add_argument("--homes-file", type=Path, metavar="CSV", help="write a homes.csv of these homes")
    group.add_argument("--contacts-file", type=Path, metavar="YAML", help="write an example of contacts.yaml for them")
    return parent


def _world() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    group = parent.add_argument_group("simulated homes")
    group.add_argument("--homes", type=_positive, default=10, metavar="N", help="home-001 to N (default: %(default)s)")
    group.add_argument("--days", type=float, default=7.0, help="how long (default: %(default)s)")
    group.add_argument("--seed", type=int, default=1, help="the same seed gives the same homes (default: %(default)s)")
    group.add_argument(
        "--start", type=_at, default="2026-03-01T00:00:00+08:00", metavar="TIME", help="default: %(default)s"
    )
    group.add_argument(
        "--zone", type=_zone, default="Asia/Shanghai", help="whose mornings and evenings (default: %(default)s)"
    )
    group.add_argument(
        "--incident",
        type=_incident,
        action="append",
        default=[],
        metavar="KIND,HOME,TIME[,SPAN]",
        help=f"what happens to whom, and for how long; may be repeated. KIND: {', '.join(IncidentKind)}",
    )
    group.add_argument(
        "--scatter", type=_span, metavar="SPAN", help="strew incidents of all kinds, one a home and SPAN on average"
    )
    group.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="FAULT",
        help=f"what happens on the way; may be repeated. FAULT: {', '.join(FORMS)}",
    )
    return parent


def _add_source_and_pace(publish: argparse.ArgumentParser) -> None:
    source = publish.add_mutually_exclusive_group()
    source.add_argument("file", type=_replay_file, nargs="?", metavar="FILE", help="a replay file")
    source.add_argument("--scenario", action="store_true", help="the demo's night")
    source.add_argument("--count", type=_positive, metavar="N", help="N made-up messages of the --homes, for load")
    pace = publish.add_argument_group("pace")
    pace.add_argument("--clock", type=Path, metavar="FILE", help="the accelerated clock; brokers on this machine only")
    pace.add_argument(
        "--factor", type=float, default=FACTOR, help="of a clock that is not there yet (default: %(default)s)"
    )
    pace.add_argument("--from-now", action="store_true", help="move the stream so that it begins at the clock's now")
    pace.add_argument("--flat", action="store_true", help="do not wait for any clock")
    pace.add_argument("--rate", type=float, default=0.0, help="messages a second with --flat and --count (0: no limit)")


def _add_broker(publish: argparse.ArgumentParser) -> None:
    broker = publish.add_argument_group("broker")
    broker.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    broker.add_argument("--port", type=int, default=1883, help="default: %(default)s")
    broker.add_argument("--username")
    broker.add_argument("--password-file", type=Path, metavar="FILE")
    broker.add_argument("--ca", type=Path, metavar="FILE", help="TLS, with this certificate of the authority")
    broker.add_argument("--client-id", default="simulators", metavar="ID", help="default: %(default)s")
    broker.add_argument(
        "--topics", type=Path, metavar="CSV", help="a homes.csv that says which sensor publishes on which topic"
    )
    broker.add_argument(
        "--patience",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="give up after so long without any progress (default: %(default)s)",
    )
    broker.add_argument("--ledger", type=Path, metavar="FILE", help="append topic<TAB>seq of what was acknowledged")
    broker.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _add_out(verb: argparse.ArgumentParser, *, required: bool) -> None:
    verb.add_argument(
        "--out", type=_replay_file, required=required, metavar="FILE", help=f"its name ends in {', '.join(SUFFIXES)}"
    )


def _replay_file(text: str) -> Path:
    if not text.endswith(SUFFIXES):
        raise argparse.ArgumentTypeError(f"{text!r}: the name must end in one of {', '.join(SUFFIXES)}")
    return Path(text)


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write a whole number from 1 on")
    return number


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time zone; write one such as Asia/Shanghai") from error


def _at(text: str) -> Instant:
    try:
        return parse_at(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _span(text: str) -> Span:
    try:
        return parse_span(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _incident(text: str) -> Incident:
    try:
        return Incident.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _fault(text: str) -> Fault:
    try:
        return parse_fault(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
