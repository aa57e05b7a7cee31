"""SMS by Twilio, with its official client: one request a call, and every failure of it said as a ``NotifyError``.

The client is imported when the channel is opened (``open_twilio``), so that the first call for help does not wait for
it. What Twilio does not have is an idempotency key: a text whose reply was lost is found again by its code in the list
of texts to that number (``find``), before anybody thinks of sending it again.
"""

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sensor_guard.config.settings import NotifiersSettings, TwilioSettings
from sensor_guard.errors import ConfigError, NotifyError
from sensor_guard.model import SECOND, Instant, Notification, NotificationState
from sensor_guard.notify.outcome import Reason, failure, reason_of_receipt, worded
from sensor_guard.notify.protocol import Contact, Notifier, Receipt

if TYPE_CHECKING:
    from twilio.rest import Client  # type: ignore[import-untyped]

T = TypeVar("T")

PAGE_SIZE = 100
"""Texts of one page of the list. A person gets at most 66 a day from us."""
PAGE_LIMIT = 20
"""Most pages of one search. Beyond it the text counts as not there: sent again it comes twice, unsent never."""
VALIDITY_LIMIT = 36_000
"""Longest ValidityPeriod in seconds that Twilio takes."""

_SID = re.compile(r"(?:SM|MM)[0-9a-fA-F]{32}")
_API_KEY = re.compile(r"(SK[0-9a-fA-F]{32}):(\S+)")
_STATES = {
    "delivered": NotificationState.DELIVERED,
    "read": NotificationState.DELIVERED,
    "failed": NotificationState.FAILED,
    "undelivered": NotificationState.FAILED,
    "partially_delivered": NotificationState.FAILED,
    "canceled": NotificationState.FAILED,
}
"""Twilio's status of a text -> where it is. Every other one (accepted, queued, sending, sent ...): under way."""


class TwilioNotifier:
    """One account and one sender: a number or sender id, or a messaging service. For one thread.

    ``read_token`` gives the auth token, or ``SK...:secret`` for an API key; it is asked again after a 401.
    """

    def __init__(self, settings: TwilioSettings, read_token: Callable[[], str]) -> None:
        self._settings = settings
        self._read_token = read_token
        self._sender = (
            {"from_": settings.sender}
            if settings.sender is not None
            else {"messaging_service_sid": settings.messaging_service_sid}
        )
        self._client: Client | None = None

    def send(self, notification: Notification, contact: Contact, text: str, /) -> Receipt:  # noqa: ARG002
        """Post a text, once.

        Raises:
            NotifyError: it is not accepted, or nobody knows.
        """
        validity_s = max(1, min(VALIDITY_LIMIT, self._settings.validity // SECOND))

        def post(client: "Client") -> Receipt:
            return _receipt_of(
                client.messages.create(to=contact.phone, body=text, validity_period=validity_s, **self._sender)
            )

        return self._call(post)

    def receipt(self, receipt_id: str, /) -> Receipt:
        """Ask where a text is.

        Raises:
            NotifyError: no answer; ``not_found``: the account has no such text.
        """
        try:
            return self._call(lambda client: _receipt_of(client.messages(receipt_id).fetch()))
        except NotifyError as error:
            if error.reason == Reason.MISCONFIGURED:  # a 404: here it is the text that is missing, not the service
                raise failure(Reason.NOT_FOUND) from None
            raise

    def find(self, contact: Contact, codes: Collection[str], since: Instant, /) -> Mapping[str, Receipt]:
        """Look for texts to this number that carry one of the codes.

        The list is asked by number alone: its filter by date goes by date_sent, which a waiting text does not have.
        Twilio does not promise an order, so the search ends with a page that is wholly older than ``since``.

        Raises:
            NotifyError: no answer.
        """
        patterns = {code: re.compile(rf"(?<![0-9A-Za-z]){re.escape(code)}(?![0-9A-Za-z])") for code in codes}

        def search(client: "Client") -> dict[str, Receipt]:
            found: dict[str, Receipt] = {}
            page, page_count = client.messages.page(to=contact.phone, page_size=PAGE_SIZE), 0
            while page is not None:
                texts = list(page)
                recent = [text for text in texts if _created_at(text) >= since]
                for text in recent:
                    for code, pattern in patterns.items():
                        if pattern.search(text.body or ""):
                            found[code] = _better(found.get(code), _receipt_of(text))
                page_count += 1
                if page_count == PAGE_LIMIT or (texts and not recent):
                    break
                page = page.next_page()
            return found

        return self._call(search)

    def close(self) -> None:
        """Forget client and token; the next call makes both anew."""
        self._client = None

    def _call(self, request: "Callable[[Client], T]") -> T:
        """Make the requests of one call, and say every failure of it as a NotifyError.

        Never with its cause: the client's and the network's exceptions quote the address, and the address the number.
        """
        from twilio.base.exceptions import TwilioException  # type: ignore[import-untyped] # noqa: PLC0415 - see above

        try:
            return request(self._connected())
        except NotifyError as error:
            if error.reason == Reason.UNAUTHORISED:
                self.close()
            raise
        except ConfigError:  # the secret's file is gone or empty
            raise failure(Reason.MISCONFIGURED) from None
        except (TwilioException, ValueError, TypeError, KeyError, AttributeError):
            # JSON, but not what Twilio answers. Statuses and broken connections are judged in ``twilio_http``.
            raise failure(Reason.UNREADABLE) from None

    def _connected(self) -> "Client":
        if self._client is None:
            from twilio.rest import Client  # noqa: PLC0415 - see above

            from sensor_guard.notify.twilio_http import Transport  # noqa: PLC0415 - imports the client

            token = self._read_token()
            key = _API_KEY.fullmatch(token)
            user, password = (key[1], key[2]) if key else (self._settings.account_sid, token)
            base_url = self._settings.base_url
            # An environment that is not empty, so that the client does not look into the process's own.
            client = Client(
                user,
                password,
                self._settings.account_sid,
                http_client=Transport(self._settings.timeout, is_local=base_url is not None),
                environment={"TWILIO_REGION": ""},
            )
            if base_url is not None:
                client.api.base_url = base_url
            self._client = client
        return self._client


def open_twilio(settings: NotifiersSettings, read_token: Callable[[], str]) -> Notifier:
    """Make the channel that config.yaml describes; nothing is connected before the first text."""
    assert settings.twilio is not None
    # All that a text needs, which is a hundred files; a client that is broken is told of when it is used.
    with suppress(ImportError):
        import twilio.rest.api  # type: ignore[import-untyped] # noqa: F401, PLC0415 - see above

        import sensor_guard.notify.twilio_http  # noqa: F401, PLC0415 - likewise
    return TwilioNotifier(settings.twilio, read_token)


# Any: the client has no types; what is read from it is checked here.
def _receipt_of(text: Any) -> Receipt:  # noqa: ANN401
    """Say where a text is.

    Raises:
        NotifyError: that is no text of Twilio's.
    """
    if not isinstance(text.sid, str) or not _SID.fullmatch(text.sid):
        raise failure(Reason.UNREADABLE)
    state = _STATES.get(str(text.status), NotificationState.ACCEPTED)
    if state is not NotificationState.FAILED:
        return Receipt(text.sid, state)
    code = text.error_code if isinstance(text.error_code, int) else None
    return Receipt(text.sid, state, worded(reason_of_receipt(code), code))


def _created_at(text: Any) -> Instant:  # noqa: ANN401
    # A text without a date is taken for a new one: adopted wrongly it is polled, overlooked it is sent twice.
    return round(text.date_created.timestamp() * SECOND) if text.date_created is not None else 1 << 60


def _better(one: Receipt | None, other: Receipt) -> Receipt:
    """Of two texts with the same code take the one that got further."""
    rank = (NotificationState.FAILED, NotificationState.ACCEPTED, NotificationState.DELIVERED)
    return other if one is None or rank.index(other.state) > rank.index(one.state) else one
