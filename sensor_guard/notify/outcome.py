"""What a provider's answer means and what follows from it: one table, HTTP status first.

Twilio changes its codes and advises to judge by the status; a code only says more where the status leaves it open, and
in a receipt, which has no status. Sources: Twilio's pages docs/api/errors/<code>; the action is ours.
"""

from enum import StrEnum

from sensor_guard.errors import NotifyError
from sensor_guard.model import Span


class Action(StrEnum):
    """What follows."""

    RETRY = "retry"  # certainly not with the recipient: the same text again later
    RECONCILE = "reconcile"  # it may be under way: ask the provider's list before anything else
    NEXT_PERSON = "next_person"  # never again to this person; the ladder goes on at once
    CHANNEL_DOWN = "channel_down"  # nothing gets through until somebody mends it; everything waits


class Reason(StrEnum):
    """Why. Log, counter, outbox, docs/sms.md and test use these words."""

    # The text is certainly not sent.
    UNREACHABLE = "unreachable"  # no connection: nothing has left the box
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    SENDER_BUSY = "sender_busy"
    QUEUE_OVERFLOW = "queue_overflow"
    DELIVERY_FAILED = "delivery_failed"
    PROVIDER_FAULT = "provider_fault"
    EXPIRED = "expired"
    # Nobody knows.
    TIMED_OUT = "timed_out"
    CONNECTION_LOST = "connection_lost"
    SERVER_ERROR = "server_error"
    UNREADABLE = "unreadable"  # a 2xx that is not the provider's JSON: a login page of the network
    REDIRECTED = "redirected"
    CRASHED = "crashed"  # a fault in a plug-in
    # This person cannot be reached this way.
    INVALID_NUMBER = "invalid_number"
    NOT_MOBILE = "not_mobile"
    LANDLINE = "landline"
    UNKNOWN_NUMBER = "unknown_number"
    NOT_VERIFIED = "not_verified"
    UNROUTABLE = "unroutable"
    OPTED_OUT = "opted_out"
    REGION_DISABLED = "region_disabled"
    BLOCKED = "blocked"
    FILTERED = "filtered"
    HANDSET_OFF = "handset_off"
    REFUSED = "refused"  # any other 4xx
    UNDELIVERED = "undelivered"  # a receipt with any other code, or none
    NO_CONTACT = "no_contact"  # the person is no longer in the contacts file
    OVER_BUDGET = "over_budget"  # this person had too many texts today
    # Nobody can.
    UNAUTHORISED = "unauthorised"
    FORBIDDEN = "forbidden"
    ACCOUNT_INACTIVE = "account_inactive"
    ACCOUNT_SUSPENDED = "account_suspended"  # or out of funds
    MISCONFIGURED = "misconfigured"  # sender, service, address or secret
    UNTRUSTED = "untrusted"  # the server cannot prove who it is: a captive portal, or the clock is wrong
    # What the worker says besides.
    UNDELIVERED_2MIN = "undelivered_2min"  # accepted, and no receipt within two minutes: the ladder goes on
    NO_RECEIPT = "no_receipt"  # none within a day: nobody asks any more
    NOT_FOUND = "not_found"  # the provider has no such text


_RETRY, _RECONCILE = Action.RETRY, Action.RECONCILE
_NEXT_PERSON, _CHANNEL_DOWN = Action.NEXT_PERSON, Action.CHANNEL_DOWN

FOLLOWS: dict[Reason, Action] = {
    Reason.UNREACHABLE: _RETRY,
    Reason.RATE_LIMITED: _RETRY,
    Reason.UNAVAILABLE: _RETRY,
    Reason.SENDER_BUSY: _RETRY,
    Reason.QUEUE_OVERFLOW: _RETRY,
    Reason.DELIVERY_FAILED: _RETRY,
    Reason.PROVIDER_FAULT: _RETRY,
    Reason.EXPIRED: _RETRY,
    Reason.NOT_FOUND: _RETRY,
    Reason.UNDELIVERED_2MIN: _RETRY,
    Reason.NO_RECEIPT: _RETRY,
    Reason.TIMED_OUT: _RECONCILE,
    Reason.CONNECTION_LOST: _RECONCILE,
    Reason.SERVER_ERROR: _RECONCILE,
    Reason.UNREADABLE: _RECONCILE,
    Reason.REDIRECTED: _RECONCILE,
    Reason.CRASHED: _RECONCILE,
    Reason.INVALID_NUMBER: _NEXT_PERSON,
    Reason.NOT_MOBILE: _NEXT_PERSON,
    Reason.LANDLINE: _NEXT_PERSON,
    Reason.UNKNOWN_NUMBER: _NEXT_PERSON,
    Reason.NOT_VERIFIED: _NEXT_PERSON,
    Reason.UNROUTABLE: _NEXT_PERSON,
    Reason.OPTED_OUT: _NEXT_PERSON,
    Reason.REGION_DISABLED: _NEXT_PERSON,
    Reason.BLOCKED: _NEXT_PERSON,
    Reason.FILTERED: _NEXT_PERSON,
    # It may be on again in an hour. Somebody else is told now, and the ladder's repeat is the second try.
    Reason.HANDSET_OFF: _NEXT_PERSON,
    Reason.REFUSED: _NEXT_PERSON,
    Reason.UNDELIVERED: _NEXT_PERSON,
    Reason.NO_CONTACT: _NEXT_PERSON,
    Reason.OVER_BUDGET: _NEXT_PERSON,
    Reason.UNAUTHORISED: _CHANNEL_DOWN,
    Reason.FORBIDDEN: _CHANNEL_DOWN,
    Reason.ACCOUNT_INACTIVE: _CHANNEL_DOWN,
    Reason.ACCOUNT_SUSPENDED: _CHANNEL_DOWN,
    Reason.MISCONFIGURED: _CHANNEL_DOWN,
    Reason.UNTRUSTED: _CHANNEL_DOWN,
}

# A status that says it all: the code cannot soften it.
_DECISIVE: dict[int, Reason] = {
    401: Reason.UNAUTHORISED,
    408: Reason.TIMED_OUT,
    429: Reason.RATE_LIMITED,
    503: Reason.UNAVAILABLE,
}
# A status that the code may explain.
_OPEN: dict[int, Reason] = {
    403: Reason.FORBIDDEN,
    404: Reason.MISCONFIGURED,
    405: Reason.MISCONFIGURED,
    407: Reason.MISCONFIGURED,
    410: Reason.MISCONFIGURED,
}

CODES: dict[int, Reason] = {
    10001: Reason.ACCOUNT_INACTIVE,
    20003: Reason.UNAUTHORISED,
    20403: Reason.FORBIDDEN,
    20404: Reason.MISCONFIGURED,
    20429: Reason.RATE_LIMITED,
    20500: Reason.SERVER_ERROR,
    21211: Reason.INVALID_NUMBER,
    21212: Reason.MISCONFIGURED,  # invalid From
    21408: Reason.REGION_DISABLED,
    21603: Reason.MISCONFIGURED,  # no From
    21606: Reason.MISCONFIGURED,  # From is not ours, or cannot send to this country
    21608: Reason.NOT_VERIFIED,  # a trial account
    21610: Reason.OPTED_OUT,
    21611: Reason.SENDER_BUSY,
    21612: Reason.UNROUTABLE,
    21614: Reason.NOT_MOBILE,
    21635: Reason.NOT_MOBILE,
    21659: Reason.MISCONFIGURED,
    21660: Reason.MISCONFIGURED,
    21661: Reason.MISCONFIGURED,
    30001: Reason.QUEUE_OVERFLOW,
    30002: Reason.ACCOUNT_SUSPENDED,
    30003: Reason.HANDSET_OFF,
    30004: Reason.BLOCKED,
    30005: Reason.UNKNOWN_NUMBER,
    30006: Reason.LANDLINE,
    30007: Reason.FILTERED,
    30008: Reason.DELIVERY_FAILED,
    30036: Reason.EXPIRED,
    30500: Reason.PROVIDER_FAULT,
}


def reason_of_answer(status: int, code: int | None) -> Reason:
    """Say what an HTTP answer other than a 2xx means. ``code``: of its JSON body, None where there is none."""
    if status in _DECISIVE:
        return _DECISIVE[status]
    if status >= 500 or status < 200:
        return Reason.SERVER_ERROR
    if status < 400:
        return Reason.REDIRECTED
    known = CODES.get(code or 0)
    return known if known is not None else _OPEN.get(status, Reason.REFUSED)


def reason_of_receipt(code: int | None) -> Reason:
    """Say why a text that was accepted did not arrive."""
    return CODES.get(code or 0, Reason.UNDELIVERED)


def worded(reason: Reason, code: int | None = None) -> str:
    """Give the reason as reports and log carry it; with the code where the word alone would not tell."""
    return f"{reason}:{code}" if code and reason in (Reason.REFUSED, Reason.UNDELIVERED) else str(reason)


def failure(reason: Reason, *, code: int | None = None, retry_after: Span | None = None) -> NotifyError:
    """Make the error that a notifier raises."""
    return NotifyError(
        worded(reason, code), retryable=FOLLOWS[reason] is not Action.NEXT_PERSON, retry_after=retry_after
    )


def action_of(error: NotifyError) -> Action:
    """Say what follows from a notifier's error; a word that is not ours is judged by ``retryable`` alone."""
    return action_for(error.reason, retryable=error.retryable)


def action_for(word: str, *, retryable: bool = False) -> Action:
    """Say what follows from a reason as ``worded`` gives it."""
    try:
        return FOLLOWS[Reason(word.partition(":")[0])]
    except ValueError:
        return Action.RETRY if retryable else Action.NEXT_PERSON
