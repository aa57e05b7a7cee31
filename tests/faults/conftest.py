"""Everything that the selected tests of this folder need is done at the same time: most of it is waiting."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.faults import mutants, scenarios
from tests.faults.mutants import Mutant
from tests.faults.processes import Forks
from tests.faults.scenarios import Result, Scenario

SEED = 1
AT_ONCE = 4


@pytest.fixture(scope="session")
def outcomes(request) -> Iterator[dict[str, Future[Result]]]:
    """What became of each scenario and each mistake that a selected test names: name -> result."""
    rows = {}
    for item in request.session.items:
        row = getattr(item, "callspec", None) and item.callspec.params.get("row")
        if isinstance(row, (Scenario, Mutant)):
            rows[row.name] = row
    # The long ones first.
    order = sorted(rows.values(), key=lambda row: isinstance(row, Mutant))
    with Forks() as forks, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {row.name: pool.submit(_run, row, forks) for row in order}
        pool.shutdown(cancel_futures=True)


def _run(row: Scenario | Mutant, forks: Forks) -> Result:
    if isinstance(row, Mutant):
        return mutants.run(row, SEED, forks)
    return scenarios.run(row, row.short, SEED, forks)
