"""Readings a second through the whole line on a disk whose flush takes 20 ms longer, as on a cheap card.

    python -m benchmarks.slow_disk [--fsync-ms 20] [--count 30000] [--homes 1000]

A preloaded library (slow_fsync.c; needs gcc) makes fsync and fdatasync of the daemon slow. The same backlog is drained
with and without it, in turn.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.line import drain

SOURCE = Path(__file__).with_name("slow_fsync.c")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; with --json one line for machines."""
    options = _options(arguments)
    delays = (0.0, options.fsync_ms)
    rates: dict[float, list[float]] = {delay: [] for delay in delays}
    with tempfile.TemporaryDirectory() as name:
        library = Path(name) / "slow_fsync.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
        for number in range(options.rounds):
            for delay in delays:
                print(f"round {number + 1} of {options.rounds}: {delay:g} ms ...", file=sys.stderr, flush=True)
                environment = {"LD_PRELOAD": str(library), "SLOW_FSYNC_US": str(round(delay * 1_000))} if delay else {}
                seconds, _ = drain(options.count, options.homes, environment=environment)
                rates[delay].append(options.count / seconds)
    figures = {delay: statistics.median(values) for delay, values in rates.items()}
    for delay, rate in figures.items():
        spread = f"[{min(rates[delay]):,.0f}-{max(rates[delay]):,.0f}]"
        print(f"flush + {delay:g} ms: {rate:,.0f} readings/s, median of {options.rounds} {spread}")
    if options.json:
        print(json.dumps({"plain": round(figures[0.0]), "slow": round(figures[options.fsync_ms])}))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.slow_disk", description=__doc__.split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--fsync-ms", type=float, default=20.0)
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--homes", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
