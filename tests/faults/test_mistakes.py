"""The harness proves itself: what is wrong on purpose is found, and called by its name."""

import pytest

from tests.faults.mutants import MUTANTS
from tests.faults.mutations import MUTATIONS
from tests.faults.verdict import Invariant

NO_MISTAKE_FOR = {Invariant.FAILPOINT_REACHED, Invariant.JOURNAL_SOUND, Invariant.HISTORY_COMPLETE}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("row", MUTANTS, ids=lambda row: row.name)
def test_a_mistake_is_found(row, outcomes):
    verdict = outcomes[row.name].result().verdict
    assert row.falls in verdict.violations, f"not red, but: {verdict.words()}"
    assert Invariant.FAILPOINT_REACHED not in verdict.violations


# Fourteen seconds away while every meter says so little that ten minutes of it (ten seconds here) would be an alarm. A
# reading that overtakes what waits in the broker comes in every such run.
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "row", [each.control() for each in MUTANTS if each.mutation == "link_lost_unsaid"], ids=lambda row: row.name
)
def test_without_the_mistake_the_same_is_green(row, outcomes):
    verdict = outcomes[row.name].result().verdict
    assert verdict.is_green, verdict.words()


def test_every_mistake_is_in_the_table_and_nearly_every_invariant_falls():
    assert {mutant.mutation for mutant in MUTANTS} == set(MUTATIONS)
    assert {mutant.falls for mutant in MUTANTS} == set(Invariant) - NO_MISTAKE_FOR
