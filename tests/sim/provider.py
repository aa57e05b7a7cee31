"""The provider of texts and the history, in memory, with what they do wrong."""

import base64
import json
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence

from sensor_guard.model import Instant, Notification, NotificationState, Span
from sensor_guard.notify.outcome import Reason, failure, reason_of_answer, reason_of_receipt, worded
from sensor_guard.notify.protocol import Contact, Receipt
from sensor_guard.notify.twilio import _STATES
from sensor_guard.sinks.protocol import Row, SinkError, SinkFailure
from tests.fakes.twilio import ACCOUNT_SID, AUTH_TOKEN, SENDER, FakeTwilio, Request, Text

_ROOT = f"/2010-04-01/Accounts/{ACCOUNT_SID}"
_HEADERS = {
    "Authorization": "Basic " + base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode(),
    "Content-Type": "application/x-www-form-urlencoded",
}
Failpoint = Callable[[str], None]


class SimNotifier:
    """The channel above the strict stand-in for Twilio; ``world_now`` is the provider's own clock.

    ``is_down``: no connection. ``rates``: how often a POST goes wrong in which way, drawn by code and attempt.
    """

    def __init__(self, seed: int, world_now: Callable[[], Instant], failpoint: Failpoint, told: Callable[[str], None]):
        self.twilio = FakeTwilio(clock=world_now, list_lag=8_000, listen=False)
        self.is_down = False
        self.refuses_all: Reason | None = None
        self.rates: dict[str, float] = {}
        self._seed, self._now, self._failpoint, self._told = seed, world_now, failpoint, told

    def send(self, notification: Notification, contact: Contact, text: str, /) -> Receipt:
        self._failpoint("before_post")
        self._reach()
        rng = random.Random(f"{self._seed}:sms:{notification.notification_id}:{notification.attempts}")
        draw, fault = rng.random(), ""
        for name, rate in self.rates.items():
            draw -= rate
            if draw < 0:
                fault = name
                break
        if fault:
            self._told(f"sms_{fault}")
        if fault in ("503", "429", "500"):
            self._refuse(fault, rng)
        fields = [("To", contact.phone), ("From", SENDER), ("Body", text), ("ValidityPeriod", "600")]
        status, body = self._ask("POST", f"{_ROOT}/Messages.json", fields)
        self._failpoint("after_post")
        if fault == "lost_reply":
            raise failure(rng.choice((Reason.CONNECTION_LOST, Reason.TIMED_OUT)))
        if fault == "500_after_accept":
            raise failure(Reason.SERVER_ERROR)
        if fault == "login_page":
            raise failure(Reason.UNREADABLE)
        return self._receipt(status, body)

    def receipt(self, receipt_id: str, /) -> Receipt:
        self._reach()
        text = self.twilio.text(receipt_id)
        if text is None:
            raise failure(Reason.NOT_FOUND, code=20404)
        return self._receipt_of(text)

    def find(self, contact: Contact, codes: Collection[str], since: Instant, /) -> Mapping[str, Receipt]:
        self._reach()
        found: dict[str, Receipt] = {}
        for text in self.twilio.listed(contact.phone, self._now()):
            for code in codes:
                if code in text.body and re.search(rf"(?<![0-9A-Za-z]){code}(?![0-9A-Za-z])", text.body):
                    found.setdefault(code, self._receipt_of(text))
        return found

    def close(self) -> None:
        """Nothing is kept open."""

    def _reach(self) -> None:
        if self.is_down:
            raise failure(Reason.UNREACHABLE)
        if self.refuses_all is not None:
            raise failure(self.refuses_all)

    def _refuse(self, fault: str, rng: random.Random) -> None:
        reason = {"503": Reason.UNAVAILABLE, "429": Reason.RATE_LIMITED, "500": Reason.SERVER_ERROR}[fault]
        raise failure(reason, retry_after=rng.choice((None, 5_000, 60_000)) if fault != "500" else None)

    def _ask(self, method: str, path: str, fields: list[tuple[str, str]]) -> tuple[int, dict]:
        status, body = self.twilio.answer(Request(method, path, fields, _HEADERS, self._now()))
        return status, json.loads(body)

    def _receipt(self, status: int, body: dict) -> Receipt:
        if status >= 300:
            raise failure(reason_of_answer(status, body["code"]), code=body["code"])
        return self._known(body["sid"], body["status"], body["error_code"])

    def _receipt_of(self, text: Text) -> Receipt:
        """What the API would say of it, without the way over JSON: a world asks ten thousand times."""
        return self._known(text.sid, text.status(self._now()), text.error_code)

    def _known(self, sid: str, status: str, code: int | None) -> Receipt:
        state = _STATES.get(status, NotificationState.ACCEPTED)
        return Receipt(sid, state, worded(reason_of_receipt(code), code) if state is NotificationState.FAILED else "")


class SimSecondChannel:
    """Another way to people, behind the first one in ``order``. ``told``: (when, code) of what it was given."""

    def __init__(self, world_now: Callable[[], Instant], told: Callable[[str], None]) -> None:
        self.told: list[tuple[Instant, str]] = []
        self._now, self._count = world_now, told

    def send(self, notification: Notification, _contact: Contact, _text: str, /) -> Receipt:
        self._count("told_elsewhere")
        self.told.append((self._now(), notification.code))
        return Receipt("", NotificationState.ACCEPTED)

    def receipt(self, receipt_id: str, /) -> Receipt:
        return Receipt(receipt_id, NotificationState.ACCEPTED)

    def find(self, _contact: Contact, _codes: Collection[str], _since: Instant, /) -> Mapping[str, Receipt]:
        return {}

    def close(self) -> None:
        """Nothing is kept open."""


class SimSink:
    """A history that stores a row twice as once. ``mode``: ok, outage, partial, server_error, misconfigured, small."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self.rows: dict[int, Row] = {}
        self.buried: set[int] = set()
        self.mode = "ok"
        self.poisoned: Callable[[Row], bool] = lambda _row: False
        self._told = told

    def write(self, rows: Sequence[Row]) -> None:
        if self.mode != "ok":
            self._told(f"influx_{self.mode}")
        if self.mode == "outage":
            raise SinkError(SinkFailure.OUTAGE, "nobody there", retry_after=self._patience(rows))
        if self.mode == "misconfigured":
            raise SinkError(SinkFailure.MISCONFIGURED, "401")
        if self.mode == "server_error":
            raise SinkError(SinkFailure.SERVER_ERROR, "500")
        if self.mode == "small" and len(rows) > 20:
            raise SinkError(SinkFailure.TOO_LARGE, "413")
        if any(self.poisoned(row) for row in rows):
            self._told("influx_refused_row")
            raise SinkError(SinkFailure.REFUSED, "400")
        if self.mode == "partial":
            self.rows.update({row[0]: row for row in rows[: len(rows) // 2]})
            raise SinkError(SinkFailure.OUTAGE, "reset in the middle")
        self.rows.update({row[0]: row for row in rows})

    def probe(self, _now: Instant) -> None:
        if self.mode in ("outage", "misconfigured", "server_error", "partial"):
            raise SinkError(SinkFailure.OUTAGE if self.mode != "misconfigured" else SinkFailure.MISCONFIGURED, "no")

    def render(self, row: Row) -> str:
        return f"row {row[0]}"

    def close(self) -> None:
        """Nothing is kept open."""

    def _patience(self, rows: Sequence[Row]) -> Span | None:
        return 30_000 if len(rows) % 3 == 0 else None
