"""Every answer of the provider has a name and a consequence."""

import pytest

from sensor_guard.errors import NotifyError
from sensor_guard.notify.outcome import (
    CODES,
    FOLLOWS,
    Action,
    Reason,
    action_of,
    failure,
    reason_of_answer,
    reason_of_receipt,
)

RETRY, RECONCILE = Action.RETRY, Action.RECONCILE
NEXT_PERSON, CHANNEL_DOWN = Action.NEXT_PERSON, Action.CHANNEL_DOWN


def test_every_reason_has_a_consequence():
    assert set(Reason) == set(FOLLOWS)
    assert set(CODES.values()) <= set(Reason)


@pytest.mark.parametrize(
    ("status", "code", "action"),
    [
        (429, 20429, RETRY),
        (503, None, RETRY),
        (400, 21611, RETRY),
        (500, 20500, RECONCILE),
        (500, None, RECONCILE),
        (502, None, RECONCILE),
        (504, None, RECONCILE),
        (408, None, RECONCILE),
        (302, None, RECONCILE),
        (400, 21211, NEXT_PERSON),
        (400, 21614, NEXT_PERSON),
        (400, 21635, NEXT_PERSON),
        (400, 21610, NEXT_PERSON),
        (400, 21408, NEXT_PERSON),
        (403, 21408, NEXT_PERSON),
        (400, 21608, NEXT_PERSON),
        (400, 21612, NEXT_PERSON),
        (400, None, NEXT_PERSON),
        (400, 99999, NEXT_PERSON),
        (422, None, NEXT_PERSON),
        (401, 20003, CHANNEL_DOWN),
        (401, None, CHANNEL_DOWN),
        (403, 20403, CHANNEL_DOWN),
        (403, None, CHANNEL_DOWN),
        (400, 10001, CHANNEL_DOWN),
        (400, 30002, CHANNEL_DOWN),
        (400, 21606, CHANNEL_DOWN),
        (404, 20404, CHANNEL_DOWN),
    ],
)
def test_an_answer_has_its_consequence(status, code, action):
    assert action == FOLLOWS[reason_of_answer(status, code)]


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (30001, RETRY),
        (30008, RETRY),
        (30500, RETRY),
        (30036, RETRY),
        (30003, NEXT_PERSON),  # switched off: somebody else is told at once, the ladder's repeat is the second try
        (30004, NEXT_PERSON),
        (30005, NEXT_PERSON),
        (30006, NEXT_PERSON),
        (30007, NEXT_PERSON),
        (None, NEXT_PERSON),
        (31234, NEXT_PERSON),
        (30002, CHANNEL_DOWN),
    ],
)
def test_a_failed_receipt_has_its_consequence(code, action):
    assert action == FOLLOWS[reason_of_receipt(code)]


@pytest.mark.parametrize("status", [401, 408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("code", sorted(CODES))
def test_the_status_comes_before_the_code(status, code):
    """Twilio changes its codes."""
    assert reason_of_answer(status, None) == reason_of_answer(status, code)


def test_an_unknown_code_is_told_with_the_reason():
    assert failure(Reason.REFUSED, code=21999).reason == "refused:21999"
    assert failure(Reason.INVALID_NUMBER, code=21211).reason == "invalid_number"


def test_an_error_says_whether_the_same_text_may_be_tried_again():
    assert failure(Reason.TIMED_OUT).retryable
    assert failure(Reason.UNAUTHORISED).retryable
    assert not failure(Reason.OPTED_OUT).retryable


def test_a_channel_with_words_of_its_own_is_judged_by_retryable():
    assert action_of(NotifyError("modem_busy", retryable=True)) is RETRY
    assert action_of(NotifyError("no_such_pager", retryable=False)) is NEXT_PERSON
