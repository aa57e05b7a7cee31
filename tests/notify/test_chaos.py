"""The count of benchmarks/sms.py, smaller: no alarm without its text, none with two."""

import pytest

from tests.notify.chaos import run


def test_a_provider_that_loses_four_replies_in_five_gets_each_text_once(tmp_path):
    outcome = run(tmp_path, 300)
    assert (outcome.alarms, outcome.missing, outcome.twice) == (300, 0, 0)


def test_without_looking_for_lost_texts_the_same_count_is_red(tmp_path):
    outcome = run(tmp_path, 60, reconcile=False)
    assert outcome.missing == 0
    assert outcome.twice > 20


@pytest.mark.parametrize("seed", range(3))
def test_a_process_killed_between_attempt_post_and_receipt_changes_nothing(tmp_path, seed):
    outcome = run(tmp_path, 60, seed=seed, kills=40)
    assert outcome.kills == 40
    assert (outcome.alarms, outcome.missing, outcome.twice) == (60, 0, 0)
