"""python -m tests.sim --seeds 10000 --days 7 [--first N] [--seed N] [--jobs 2] [--report FILE] [--most N]"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from tests.sim.pool import outcomes
from tests.sim.run import Outcome


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
    started, count = time.perf_counter(), 0
    for outcome in outcomes(seeds, given.days, given.jobs):
        count += 1
        total.faults += outcome.faults
        total.alarms += outcome.alarms
        total.readings += outcome.readings
        total.turns += outcome.turns
        total.texts += outcome.texts
        total.judged += outcome.judged
        total.cpu_s += outcome.cpu_s
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
        "cpu_seconds": round(total.cpu_s, 1),
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
