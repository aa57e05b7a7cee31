"""A short run of every scenario: what the full one, `make faults`, does more often."""

import pytest

from tests.faults import report
from tests.faults.conftest import SEED
from tests.faults.failpoints import FAILPOINTS
from tests.faults.scenarios import APART, OF_READINGS, OF_TEXTS, SCENARIOS

REACHED = {
    "steps_of_readings": OF_READINGS,
    "steps_of_texts": OF_TEXTS,
    "prune": ("during_prune",),
    "database_fails": ("after_write", "during_cursor"),
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("row", SCENARIOS, ids=lambda row: row.name)
def test_whatever_is_done_to_the_box_every_promise_holds(row, outcomes):
    result = outcomes[row.name].result()
    assert result.verdict.is_green, result.verdict.words()
    assert result.verdict.acknowledged > 300
    assert result.verdict.alarms_found > 0
    assert result.tally.hits == dict.fromkeys(REACHED.get(row.name, ()), row.short.trials)
    assert f"| {row.name}: " in report.write([result], [], seed=SEED, size="short")


def test_every_failpoint_belongs_to_a_scenario():
    assert sorted((*OF_READINGS, *OF_TEXTS, *APART)) == sorted(FAILPOINTS)
    assert {name for names in REACHED.values() for name in names} == set(FAILPOINTS)
