"""python -m tests.fuzz --payloads 1000000 --timestamps 100000 --seed N [--report FILE]"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.fuzz import Fuzz, FuzzError
from tests.fuzz.times import odd_times


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Throw odd payloads at the way in.")
    parser.add_argument("--payloads", type=int, default=30_000)
    parser.add_argument("--timestamps", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="a JSON file")
    given = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder) / "journal.db", given.seed, given.payloads)
        try:
            report = fuzz.run()
            odd_times(given.seed, given.timestamps, report)
        except FuzzError as error:
            print(f"seed {given.seed}: {error}")
            again = f"--payloads {given.payloads} --timestamps {given.timestamps} --seed {given.seed}"
            print(f"again: python -m tests.fuzz {again}")
            return 1
    row = {one.name: getattr(report, one.name) for one in dataclasses.fields(report)} | {
        "seed": given.seed,
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps(row, indent=1))
    if given.report is not None:
        given.report.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
