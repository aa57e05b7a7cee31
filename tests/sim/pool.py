"""Worlds in processes of their own, as many at a time as are wanted."""

import gc
import logging
import shutil
import time
import traceback
from collections.abc import Iterable, Iterator
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

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
    began = time.process_time()
    try:
        outcome = run(seed, days)
    except Exception as error:  # noqa: BLE001 - a seed that breaks the program is what we look for
        outcome = Outcome(seed, days)
        outcome.last = [(0, line) for line in traceback.format_exc().splitlines()[-12:]]
        outcome.found.append(Found(Invariant.NOTHING_RAISES, f"{type(error).__name__}: {error}"))
    outcome.cpu_s = time.process_time() - began
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
    # Processes of their own from the beginning: a test session that is forked would take its threads' locks along.
    with (
        TemporaryDirectory(prefix="sim-", dir=config.memory()) as folder,
        get_context("spawn").Pool(jobs, initializer=_begin, initargs=(folder,)) as pool,
    ):
        yield from pool.imap_unordered(one, arguments, chunksize=2)


def _begin(folder: str) -> None:
    quiet()
    config.WITHIN[:] = [Path(folder)]
