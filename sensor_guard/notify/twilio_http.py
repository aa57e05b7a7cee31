"""What lies between Twilio's client and the network: time-outs, and what a broken connection or an odd answer means.

Imported with the client, when the channel is opened.
"""

import json
import logging
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3.exceptions
from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]
from twilio.http.response import Response  # type: ignore[import-untyped]

from sensor_guard.model import HOUR, SECOND, Span
from sensor_guard.notify.outcome import Reason, failure, reason_of_answer

CONNECT_TIMEOUT: Span = 5 * SECOND
ASK_TIMEOUT: Span = 5 * SECOND
"""Of an answer to a question. Nothing is in doubt when it is late, and an alarm may be waiting behind it."""
RETRY_AFTER_LIMIT: Span = HOUR
"""A longer Retry-After is taken for a mistake of a proxy and cut to this."""

# urllib3 writes the whole address of each request to its debug log, and the list's address holds a telephone number.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)


class Transport(TwilioHttpClient):  # type: ignore[misc]
    """Twilio's own HTTP client with time-outs, no redirects, no log, and a new connection for every request.

    A kept connection may have died unseen behind a router that forgot it: the next alarm would then be in doubt for
    the length of a time-out. A new one costs a tenth of a second. ``timeout``: of the answer to a text that is sent.
    """

    def __init__(self, timeout: Span, *, is_local: bool) -> None:
        super().__init__(pool_connections=False)
        self._timeout = timeout
        self._is_local = is_local

    def log_request(self, kwargs: dict[str, Any]) -> None:
        """Say nothing: the client would log the query, and with it the number."""

    def log_response(self, status_code: int, response: requests.Response) -> None:
        """Say nothing."""

    def request(  # noqa: PLR0913, PLR0917 - the client's own signature
        self,
        method: str,
        url: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - ours
        allow_redirects: bool = False,  # noqa: ARG002 - never
    ) -> Response:
        """Make one request and give its answer, which is a 2xx with a JSON object.

        Raises:
            NotifyError: everything else.
        """
        patience = self._timeout if method == "POST" else min(self._timeout, ASK_TIMEOUT)
        self.timeout = (min(CONNECT_TIMEOUT, patience) / SECOND, patience / SECOND)
        try:
            # A session of its own for each request: the client would leave the one that it makes to the collector.
            with requests.Session() as self.session:
                # HTTPS_PROXY and the like are for the way out, never for a test server on this machine.
                self.session.trust_env = not self._is_local
                response = super().request(method, url, params=params, data=data, headers=headers, auth=auth)
        except requests.RequestException as error:
            raise failure(reason_of_break(error)) from None
        except UnicodeError:  # a token that cannot be sent
            raise failure(Reason.UNAUTHORISED) from None
        finally:
            self._test_only_last_request = None
        _check(response, is_list=method == "GET" and url.partition("?")[0].endswith("/Messages.json"))
        return response


def reason_of_break(error: requests.RequestException) -> Reason:
    """Say what a request without an answer means: whether anything can have left the box."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return Reason.UNREACHABLE
    if isinstance(error, requests.Timeout):
        return Reason.TIMED_OUT
    cause = error.args[0] if error.args else None
    cause = getattr(cause, "reason", cause)
    # Also no such host: NameResolutionError is one.
    if isinstance(cause, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
        return Reason.UNREACHABLE
    if isinstance(error, requests.exceptions.SSLError):
        # The certificate is judged before a byte of the request is sent; any other break of TLS may come later.
        inner = cause.args[0] if isinstance(cause, Exception) and cause.args else None
        return Reason.UNTRUSTED if isinstance(inner, ssl.SSLCertVerificationError) else Reason.CONNECTION_LOST
    if isinstance(error, ValueError):
        return Reason.MISCONFIGURED  # an address or header that cannot be
    return Reason.CONNECTION_LOST


def _check(response: Response, *, is_list: bool) -> None:
    """Let a success pass.

    Raises:
        NotifyError: what the answer means instead.
    """
    status = response.status_code
    body = _json_object(response.text)
    if 200 <= status < 300:
        # An empty list of texts would mean that a text was never sent. It must really be one.
        if not body or (is_list and not isinstance(body.get("messages"), list)):
            raise failure(Reason.UNREADABLE)
        return
    code = body.get("code")
    code = code if isinstance(code, int) else None
    raise failure(reason_of_answer(status, code), code=code, retry_after=retry_after(response.headers))


def _json_object(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def retry_after(headers: Mapping[str, str]) -> Span | None:
    """Read Retry-After: seconds, or a date, which counts from the answer's own Date (RFC 9110, 10.2.3)."""
    text = headers.get("Retry-After")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            asked = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
        except (ValueError, TypeError):
            return None
        seconds = asked.total_seconds()
    # Also turns "nan", for which every comparison is false, into no wait at all.
    return min(RETRY_AFTER_LIMIT, round(seconds * SECOND)) if 0 < seconds < 1e9 else None
