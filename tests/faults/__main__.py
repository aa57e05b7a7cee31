"""python -m tests.faults [--full] [--seed N] [--only NAME] [--report FILE]: 1 if anything did not hold."""

import argparse
import os
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.faults import mutants, report, scenarios
from tests.faults.box import Tally
from tests.faults.mutants import MUTANTS, Mutant
from tests.faults.processes import Execs, Forks, say
from tests.faults.scenarios import SCENARIOS, Result, Scenario
from tests.faults.verdict import Invariant, Verdict

MISTAKES = "mistakes"
CONTROLS = "controls"


def main() -> int:
    """Run what is asked for, and say what did not hold."""
    names = [*(scenario.name for scenario in SCENARIOS), MISTAKES, CONTROLS]
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--full", action="store_true", help="as many trials as the report needs; an hour")
    parser.add_argument("--fresh", action="store_true", help="exec each process anew instead of forking it")
    parser.add_argument("--seed", type=int, default=1, help="of every random choice; the same one repeats a run")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument(
        "--trials", action="append", default=[], metavar="NAME=N", help="so many of this scenario's trials"
    )
    parser.add_argument("--rates", metavar="N,N", help="readings a second, for a busy machine")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="so many boxes at the same time")
    parser.add_argument("--report", type=Path, help="write the result there, as Markdown")
    arguments = parser.parse_args()
    trials = {name: int(count) for name, _, count in (each.partition("=") for each in arguments.trials)}
    wanted = arguments.only or [*(row.name for row in SCENARIOS), MISTAKES, *([CONTROLS] if arguments.full else [])]

    def run(row: Scenario) -> Result:
        size = row.full if arguments.full else row.short
        rates = tuple(int(rate) for rate in arguments.rates.split(",")) if arguments.rates else size.rates
        size = replace(size, trials=trials.get(row.name, size.trials), rates=rates)
        say(f"{row.name}: {row.claims}, {size.trials} trials")
        return _told(row.name, arguments.seed, lambda: scenarios.run(row, size, arguments.seed, starter))

    def mistaken(row: Mutant) -> Result:
        return _told(
            row.name, arguments.seed, lambda: mutants.run(row, arguments.seed, starter), f"{row.falls} must fall"
        )

    def sound(row: Mutant) -> Result:
        return _told(row.name, arguments.seed, lambda: mutants.run(row, arguments.seed, starter))

    results: list[Result] = []
    found: list[tuple[str, str, bool, float]] = []
    with _ended_at_once() as folder, Execs() if arguments.fresh else Forks() as starter:
        tempfile.tempdir = folder
        with ThreadPoolExecutor(arguments.at_once) as pool:
            runs = [pool.submit(run, row) for row in SCENARIOS if row.name in wanted]
            mistakes = [pool.submit(mistaken, row) for row in MUTANTS if MISTAKES in wanted]
            controls = [pool.submit(sound, row.control()) for row in MUTANTS if CONTROLS in wanted]
            pending = {*runs, *mistakes, *controls}
            while pending:
                # With a limit: a signal that another thread has taken is handled only when this one moves.
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                if done:
                    results = [each.result() for each in (*runs, *controls) if each.done()]
                    found = [_found(*each) for each in zip(MUTANTS, mistakes, strict=False) if each[1].done()]
                    _write(arguments, results, found)
    missed = [name for name, _, is_found, _ in found if not is_found]
    red = [each.name for each in results if not each.verdict.is_green]
    say(f"not found: {', '.join(missed) or 'none'}; red: {', '.join(red) or 'none'}")
    return 1 if missed or red else 0


def _found(row: Mutant, run: Future[Result]) -> tuple[str, str, bool, float]:
    result = run.result()
    return row.name, str(row.falls), row.falls in result.verdict.violations, result.seconds


@contextmanager
def _ended_at_once() -> Iterator[str]:
    """Give a folder for everything; a signal removes it, and ends us and with us every process that we started."""
    folder = tempfile.mkdtemp(prefix="faults-")

    def end(*_: object) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)  # the children are tied to us

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _told(name: str, seed: int, run: Callable[[], Result], remark: str = "") -> Result:
    """Run, and tell; what breaks off is red, and the others go on."""
    try:
        result = run()
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are to be run all the same
        result = _broken(name, seed, error)
    verdict = result.verdict
    say(
        f"  {name}: {'green' if verdict.is_green else 'RED'} after {result.seconds:.0f} s;"
        f" {verdict.acknowledged} acknowledged, {verdict.lost} lost, {verdict.lost_noticed} of them noticed;"
        f" {verdict.alarms_found} of {verdict.alarms_expected} alarms {remark}\n{verdict.words()}".rstrip()
    )
    return result


def _broken(name: str, seed: int, error: Exception) -> Result:
    traceback.print_exc()
    verdict = Verdict()
    verdict.wrong(Invariant.THREADS_ALIVE, f"the run broke off: {str(error)[:300]}")
    return Result(name, seed, verdict, Tally(), 0.0)


def _write(arguments: argparse.Namespace, results: list[Result], found: list[tuple[str, str, bool, float]]) -> None:
    """Write the report as far as it is: a run that is stopped has told what it knew."""
    if arguments.report is not None:
        arguments.report.parent.mkdir(parents=True, exist_ok=True)
        size = "full" if arguments.full else "short"
        arguments.report.write_text(report.write(results, found, seed=arguments.seed, size=size), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
