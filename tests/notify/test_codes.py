"""Every code that Twilio's pages name for SMS, through the worker: as the answer to a text, and as its receipt."""

import pytest

from sensor_guard.model import MINUTE, SECOND
from sensor_guard.notify.outcome import Action
from tests.fakes.twilio import HANG_AFTER_ACCEPT, LOGIN_PAGE, LOGIN_REDIRECT, OTHER_JSON, RESET, TRUNCATED, error
from tests.notify.line import text

RETRY, RECONCILE = Action.RETRY, Action.RECONCILE
NEXT_PERSON, CHANNEL_DOWN = Action.NEXT_PERSON, Action.CHANNEL_DOWN

# (HTTP status, code): as an answer, and as a receipt, where there is only "did not arrive": nothing to reconcile.
TABLE = {
    (429, 20429): (RETRY, RETRY),
    (503, 0): (RETRY, NEXT_PERSON),
    (400, 30001): (RETRY, RETRY),
    (400, 30008): (RETRY, RETRY),
    (400, 30500): (RETRY, RETRY),
    (400, 30036): (RETRY, RETRY),
    (500, 20500): (RECONCILE, NEXT_PERSON),
    (502, 0): (RECONCILE, NEXT_PERSON),
    (504, 0): (RECONCILE, NEXT_PERSON),
    (400, 21211): (NEXT_PERSON, NEXT_PERSON),
    (400, 21614): (NEXT_PERSON, NEXT_PERSON),
    (400, 21635): (NEXT_PERSON, NEXT_PERSON),
    (400, 21610): (NEXT_PERSON, NEXT_PERSON),
    (400, 21408): (NEXT_PERSON, NEXT_PERSON),
    # Switched off: somebody else is told at once, and the ladder's repeat is the second try.
    (400, 30003): (NEXT_PERSON, NEXT_PERSON),
    (400, 30004): (NEXT_PERSON, NEXT_PERSON),
    (400, 30005): (NEXT_PERSON, NEXT_PERSON),
    (400, 30006): (NEXT_PERSON, NEXT_PERSON),
    (400, 30007): (NEXT_PERSON, NEXT_PERSON),
    (401, 20003): (CHANNEL_DOWN, CHANNEL_DOWN),
    (403, 20403): (CHANNEL_DOWN, CHANNEL_DOWN),
    (400, 10001): (CHANNEL_DOWN, CHANNEL_DOWN),
    (400, 30002): (CHANNEL_DOWN, CHANNEL_DOWN),
}


def seen(line):
    """What was done about the first thing that the provider said other than "accepted"."""
    state = next(report.state for report in line.reports if report.state != "accepted")
    if state == "pending":
        return CHANNEL_DOWN if True in line.down() else RETRY
    return {"ambiguous": RECONCILE, "failed": NEXT_PERSON}[state]


@pytest.mark.parametrize("answer", TABLE, ids=str)
def test_what_an_answer_leads_to(twilio, line, answer):
    twilio.script([error(*answer)])
    line.write(text())
    line.run(SECOND // 2)
    assert seen(line) is TABLE[answer][0]


@pytest.mark.parametrize("answer", TABLE, ids=str)
def test_what_a_receipt_leads_to(twilio, line, answer):
    twilio.fate("+8613800000001", "undelivered", answer[1] or None)
    line.write(text())
    line.run(20 * SECOND)
    assert seen(line) is TABLE[answer][1]


@pytest.mark.parametrize(
    "fault", [RESET, HANG_AFTER_ACCEPT, TRUNCATED, LOGIN_PAGE, LOGIN_REDIRECT, OTHER_JSON], ids=range(6)
)
def test_what_is_no_answer_of_twilios_is_no_success(twilio, line, fault):
    """A timeout, a reset, a cut-off body, a captive portal's page, a redirect, somebody else's JSON."""
    twilio.script([fault])
    line.write(text())
    line.run(SECOND // 2)
    assert seen(line) is RECONCILE
    line.run(MINUTE)
    assert len(twilio.texts) == 1
    assert line.states() == ["delivered"]
