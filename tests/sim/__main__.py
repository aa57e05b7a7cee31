"""python -m tests.sim --seeds 10000 --days 7 [--first N] [--seed N] [--jobs 2] [--report FILE] [--keep-going]"""

import argparse
import gc
import json
import logging
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from multiprocessing import Pool
from pathlib import Path

import structlog

from sensor_guard.memory import COLLECT_AFTER
from tests.sim import config
from tests.sim.invariants import Found, Invariant
from tests.sim.run import Outcome, run


def quiet() -> None:
    """A world logs as a service does; ten thousand of them would say nothing else."""
    gc.set_threshold(*COLLECT_AFTER)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def one(argument: tuple[int, int]) -> Outcome:
    seed, days = argument
    try:
        return run(seed, days)
    except Exception as error:  # noqa: BLE001 - a seed that breaks the program is what we look for
        outcome = Outcome(seed, days)
        outcome.last = [(0, line) for line in traceback.format_exc().splitlines()[-12:]]
        outcome.found.append(Found(Invariant.NOTHING_RAISES, f"{type(error).__name__}: {error}"))
        return outcome


def outcomes(seeds: Iterable[int], days: int, jobs: int) -> Iterator[Outcome]:
    arguments = ((seed, days) for seed in seeds)
    if jobs <= 1:
        quiet()
        try:
            yield from map(one, arguments)
        finally:
            shutil.rmtree(config.folder(), ignore_errors=True)
        return
    with Pool(jobs, initializer=quiet) as pool:
        yield from pool.imap_unordered(one, arguments, chunksize=4)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="Run the program in simulated worlds.")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this seed alone, with what happened in it")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--report", help="a JSON file")
    parser.add_argument("--most", type=int, default=1, help="give up after so many seeds that fail")
    given = parser.parse_args()
    seeds = [given.seed] if given.seed is not None else range(given.first, given.first + given.seeds)
    total, failed, names = Outcome(-1, given.days), [], Counter()
    started, cpu, count = time.perf_counter(), time.process_time(), 0
    for outcome in outcomes(seeds, given.days, given.jobs):
        count += 1
        total.faults += outcome.faults
        total.alarms += outcome.alarms
        total.readings += outcome.readings
        total.turns += outcome.turns
        total.texts += outcome.texts
        total.judged += outcome.judged
        if outcome.found:
            failed.append(outcome.seed)
            names[outcome.found[0].invariant] += 1
            print(outcome.told(), flush=True)
        elif given.seed is not None:
            print("\n".join(f"{at} {text}" for at, text in outcome.last))
        if len(failed) >= given.most:
            break
    report = {
        "seeds": count,
        "days": given.days,
        "failed": failed,
        "violations": dict(names),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "readings": total.readings,
        "turns": total.turns,
        "texts_at_the_provider": total.texts,
        "alarms_judged_by_the_oracle": total.judged,
        "alarms": dict(total.alarms.most_common()),
        "faults": dict(total.faults.most_common()),
    }
    print(json.dumps(report, indent=1))
    if given.report:
        Path(given.report).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
