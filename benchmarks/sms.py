"""Many alarms against a bad provider, counted: none missing, none twice.

    python -m benchmarks.sms [--count 10000] [--kills 0] [--seed 1]

40 % of the replies to texts are lost, 20 % are a 500 after the text was accepted, 20 % a 503. Engine, journal (real
SQLite) and worker on virtual time; Twilio's official client and a strict stand-in for Twilio over HTTP on loopback.
Exits with 1 if a text is missing or was sent twice.
"""

import argparse
import logging
import tempfile
from dataclasses import asdict
from pathlib import Path

import structlog

from tests.notify.chaos import run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(prefix="sms-") as directory:
        outcome = run(Path(directory), arguments.count, seed=arguments.seed, kills=arguments.kills)
    for name, value in asdict(outcome).items():
        print(f"{name}: {value:,.1f}" if isinstance(value, float) else f"{name}: {value:,}")
    return 1 if outcome.missing or outcome.twice else 0


if __name__ == "__main__":
    raise SystemExit(main())
