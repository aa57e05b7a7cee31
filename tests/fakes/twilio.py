"""A strict stand-in for Twilio's REST API: messages with a life of their own, and everything that can go wrong.

    with FakeTwilio(clock=clock.now) as twilio:
        twilio.script([LOSE_REPLY, error(503)])      # the next two POSTs
        ... TwilioSettings(base_url=twilio.url, ...)
        assert ["..."] == [text.body for text in twilio.texts]

It knows what Twilio's OpenAPI knows (``twilio_openapi.py``) and refuses whatever else it is sent; stricter than Twilio
where Twilio is lenient, because a test is the place to hear of it.
"""

import base64
import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.fakes.twilio_openapi import E164, Spec, load

ACCOUNT_SID = "AC" + "0123456789abcdef" * 2
AUTH_TOKEN = "canary-token-5f3a"
SENDER = "+15005550006"
SERVICE_SID = "MG" + "0123456789abcdef" * 2

LIFE = ((0, "queued"), (1_000, "sending"), (2_000, "sent"), (5_000, "delivered"))
"""Milliseconds after the sender gets to a text, and its status from then on; the last one is its fate."""


@dataclass(frozen=True)
class Fault:
    """One misbehaviour, used up by one request. ``accept``: the request is carried out all the same."""

    status: int = 0  # 0: no answer at all
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    accept: bool = False
    hang: bool = False  # keep the connection and say nothing until the server ends
    reset: bool = False  # drop it with a reset, instead of a plain close
    truncate: bool = False  # promise more body than comes


def error(status: int, code: int = 0, *, accept: bool = False, **headers: str) -> Fault:
    """Answer with an error in Twilio's form; header names with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(status=status, body=_error_body(status, code), headers=named, accept=accept)


NO_FAULT = Fault(accept=True)  # for scripts such as [NO_FAULT, RESET]
LOSE_REPLY = Fault(accept=True, reset=True)
RESET = Fault(reset=True)
HANG = Fault(hang=True)
HANG_AFTER_ACCEPT = Fault(hang=True, accept=True)
PAGE = b"<html><head><title>Welcome to the guest network</title></head><body>Please sign in</body></html>"
LOGIN_PAGE = Fault(status=200, body=PAGE, headers={"Content-Type": "text/html"})
LOGIN_REDIRECT = Fault(status=302, headers={"Location": "http://portal.invalid/login"})
OTHER_JSON = Fault(status=200, body=b'{"status": "ok"}', headers={"Content-Type": "application/json"})
TRUNCATED = Fault(status=201, body=b'{"sid": "SM0', accept=True, truncate=True)


@dataclass
class Text:
    """A message as Twilio keeps it. ``fate``: where it ends; ``error_code`` with it."""

    sid: str
    to: str
    sender: str | None
    service: str | None
    body: str
    created_at: int
    send_at: int
    fate: str = "delivered"
    error_code: int | None = None

    def status(self, now: int) -> str:
        """Say where it is at that time."""
        if self.fate == "failed" and now - self.send_at >= LIFE[1][0]:
            return "failed"  # it never leaves Twilio
        if now < self.send_at:
            return "accepted" if self.service else "queued"
        word = [word for after, word in LIFE if now - self.send_at >= after][-1]
        return self.fate if word == "delivered" else word


@dataclass
class Request:
    """What was asked. ``fields``: of the form or the query, in their order."""

    method: str
    path: str
    fields: list[tuple[str, str]]
    headers: dict[str, str]
    at: int
    client_port: int = 0

    def get(self, name: str) -> str | None:
        return dict(self.fields).get(name)


class FakeTwilio:
    """``clock`` gives ms since 1970; without one the wall clock is used. ``list_lag``: ms until a text is listed.

    ``listen`` False: no server; ``answer`` is asked directly.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] | None = None,
        list_lag: int = 0,
        account_sid: str = ACCOUNT_SID,
        auth_token: str = AUTH_TOKEN,
        listen: bool = True,
    ) -> None:
        self.clock = clock or (lambda: time.time_ns() // 1_000_000)
        self.list_lag = list_lag
        self.account_sid = account_sid
        self.credentials = {account_sid: auth_token}
        self.senders = {SENDER}
        self.services = {SERVICE_SID}
        self.fates: dict[str, tuple[str, int | None]] = {}
        self.choose: Callable[[Request], Fault | None] = lambda _request: None
        self.texts: list[Text] = []
        self._texts_of: dict[str, list[Text]] = {}  # by number
        self._text_by_sid: dict[str, Text] = {}
        self.requests: list[Request] = []
        self.spec = Spec(load())
        self.lock = threading.Lock()
        self._scripts: dict[str, deque[Fault]] = {"GET": deque(), "POST": deque()}
        self._sender_free_at: dict[str, int] = {}
        self._ended = threading.Event()
        self._server: _Server | None = None
        self.url = ""
        if listen:
            self._server = _Server(self)
            self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        assert self._server is not None
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def script(self, faults: Iterable[Fault], method: str = "POST") -> None:
        """Use these faults for the next requests of that method, one each."""
        self._scripts[method].extend(faults)

    def fate(self, number: str, status: str, code: int | None = None) -> None:
        """Let texts to this number end like that: delivered, undelivered, failed, or stay sent."""
        self.fates[number] = (status, code)

    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    def gets(self) -> list[Request]:
        return [request for request in self.requests if request.method == "GET"]

    def wait_for_end(self) -> None:
        """Hold a connection open."""
        self._ended.wait()

    def text(self, sid: str) -> Text | None:
        """Give one text."""
        return self._text_by_sid.get(sid)

    def listed(self, number: str | None, at: int) -> list[Text]:
        """Give the texts to a number (None: to all) that the list shows at that time, the newest first."""
        texts = self.texts if number is None else self._texts_of.get(number, [])
        return [text for text in reversed(texts) if at - text.created_at >= self.list_lag]

    # -- what the API does ----------------------------------------------------------------------------------------

    def fault_for(self, request: Request) -> Fault | None:
        script = self._scripts.get(request.method)
        return script.popleft() if script else self.choose(request)

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Carry a request out and give status and body."""
        refusal = self._unauthorised(request)
        if refusal:
            return refusal
        root = f"/2010-04-01/Accounts/{self.account_sid}"
        one = re.fullmatch(rf"{root}/Messages/((?:SM|MM)[0-9a-fA-F]{{32}})\.json", request.path)
        if request.path == f"{root}/Messages.json":
            return self._create(request) if request.method == "POST" else self._list(request)
        if one and request.method == "GET":
            found = self.text(one[1])
            return (200, _json(self.message_json(found, request.at))) if found else _refuse(404, 20404)
        if request.path == f"{root}/Balance.json" and request.method == "GET":
            return 200, _json({"account_sid": self.account_sid, "balance": "12.34", "currency": "USD"})
        return _refuse(404, 20404)

    def _unauthorised(self, request: Request) -> tuple[int, bytes] | None:
        kind, _, word = request.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(word).decode().partition(":") if kind == "Basic" else ("", "", "")
        return None if password and self.credentials.get(user) == password else _refuse(401, 20003)

    def _create(self, request: Request) -> tuple[int, bytes]:
        code = self._fault_of_form(request)
        if code:
            return _refuse(400, code)
        form = dict(request.fields)
        number, sender, service = form["To"], form.get("From"), form.get("MessagingServiceSid")
        # A number sends one segment a second; what is too much waits, and is given up after its validity.
        free_at = max(request.at, self._sender_free_at.get(sender or service or "", 0))
        self._sender_free_at[sender or service or ""] = free_at + 1_000 * segments(form["Body"])
        fate, error_code = self.fates.get(number, ("delivered", None))
        if free_at - request.at > 1_000 * int(form.get("ValidityPeriod", "36000")):
            fate, error_code = "failed", 30036
        sid = f"SM{len(self.texts) + 1:032x}"
        text = Text(sid, number, sender, service, form["Body"], request.at, free_at, fate, error_code)
        self.texts.append(text)
        self._texts_of.setdefault(number, []).append(text)
        self._text_by_sid[sid] = text
        return 201, _json(self.message_json(text, request.at))

    def _fault_of_form(self, request: Request) -> int:  # noqa: PLR0911 - a list of checks
        """Give Twilio's code for what is wrong with a new message, 0 if nothing is."""
        form, known = dict(request.fields), self.spec.create_fields()
        if request.headers.get("Content-Type") != "application/x-www-form-urlencoded":
            return 20001
        if len(form) != len(request.fields) or not set(form) <= set(known):
            return 20001
        if not set(self.spec.create_required()) <= set(form):
            return 21604
        if not E164.fullmatch(form["To"]):
            return 21211
        if any(self.spec.fault_of(value, known[name]) for name, value in form.items()):
            return 20001
        if ("From" in form) == ("MessagingServiceSid" in form):
            return 21603
        if "From" in form and form["From"] not in self.senders:
            return 21606 if E164.fullmatch(form["From"]) else 21212
        if "MessagingServiceSid" in form and form["MessagingServiceSid"] not in self.services:
            return 21701
        if not form.get("Body"):
            return 21602
        if len(form["Body"]) > 1_600:
            return 21617
        return 0 if 1 <= int(form.get("ValidityPeriod", "36000")) <= 36_000 else 90007

    def _list(self, request: Request) -> tuple[int, bytes]:
        query, known = dict(request.fields), self.spec.list_fields()
        if not set(query) <= set(known) or any(self.spec.fault_of(query[name], known[name]) for name in query):
            return _refuse(400, 20001)
        listed = [text for text in self.listed(query.get("To"), request.at) if self._is_asked(text, query, request.at)]
        size = int(query.get("PageSize", "50"))
        start = int(query.get("PageToken", "PT0").removeprefix("PT"))
        page = listed[start : start + size]
        more = start + size < len(listed)
        asked = {name: value for name, value in query.items() if name not in ("Page", "PageToken")}
        return 200, _json(
            {
                "messages": [self.message_json(text, request.at) for text in page],
                "start": start,
                "end": start + max(0, len(page) - 1),
                "page": start // size,
                "page_size": size,
                "uri": f"{request.path}?{urlencode(query)}",
                "first_page_uri": f"{request.path}?{urlencode({**asked, 'Page': 0})}",
                "next_page_uri": f"{request.path}?{urlencode({**asked, 'PageToken': f'PT{start + size}'})}"
                if more
                else None,
                "previous_page_uri": None,
            }
        )

    def _is_asked(self, text: Text, query: dict[str, str], now: int) -> bool:
        if "To" in query and text.to != query["To"]:
            return False
        if "From" in query and text.sender != query["From"]:
            return False
        days = {name: value[:10] for name, value in query.items() if name.startswith("DateSent")}
        if not days:
            return True
        if text.status(now) not in ("sent", "delivered", "undelivered"):
            return False  # date_sent is null until then: this filter hides what has just been accepted
        sent = datetime.fromtimestamp(text.send_at / 1_000, UTC).strftime("%Y-%m-%d")
        return (
            sent == days.get("DateSent", sent)
            and sent <= days.get("DateSent<", sent)
            and sent >= days.get("DateSent>", sent)
        )

    def message_json(self, text: Text, now: int) -> dict[str, Any]:
        status = text.status(now)
        ended = status in ("failed", "undelivered")
        uri = f"/2010-04-01/Accounts/{self.account_sid}/Messages/{text.sid}"
        waits = status in ("accepted", "queued", "sending", "failed")
        return {
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": text.body,
            "date_created": _rfc2822(text.created_at),
            "date_sent": None if waits else _rfc2822(text.send_at + LIFE[2][0]),
            "date_updated": _rfc2822(max(text.created_at, min(now, text.send_at + LIFE[-1][0]))),
            "direction": "outbound-api",
            "error_code": text.error_code if ended else None,
            "error_message": "it did not arrive" if ended else None,
            "from": text.sender,
            "messaging_service_sid": text.service,
            "num_media": "0",
            "num_segments": "0" if status == "accepted" else str(segments(text.body)),
            "price": None,
            "price_unit": "USD",
            "sid": text.sid,
            "status": status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": text.to,
            "uri": f"{uri}.json",
        }


def segments(body: str) -> int:
    """Count segments the long way round, not with the code under test: 70 and 67 units, or 160 and 153 septets."""
    basic = (
        "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
        "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
    )
    if all(letter in basic + "\f^{}\\[~]|€" for letter in body):
        length, whole, part = len(body) + sum(letter in "\f^{}\\[~]|€" for letter in body), 160, 153
    else:
        length, whole, part = len(body.encode("utf-16-le")) // 2, 70, 67
    return 1 if length <= whole else -(-length // part)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, owner: FakeTwilio) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, *_: object) -> None:
        """A client that has hung up is the purpose of this server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's delayed ACK
    server: _Server

    def do_GET(self) -> None:
        self.serve(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self.serve(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def serve(self, encoded: str) -> None:
        owner = self.server.owner
        fields = parse_qsl(encoded, keep_blank_values=True, strict_parsing=bool(encoded), errors="strict")
        with owner.lock:
            path, headers = urlsplit(self.path).path, dict(self.headers.items())
            request = Request(self.command, path, fields, headers, owner.clock(), self.client_address[1])
            owner.requests.append(request)
            fault = owner.fault_for(request) or NO_FAULT
            status, body = owner.answer(request) if fault.accept else (0, b"")
        if fault.hang:
            owner.wait_for_end()
        if fault.hang or fault.reset:
            self.drop(reset=fault.reset)
        elif fault.status:
            self.say(fault.status, fault.body, fault.headers, missing=100 if fault.truncate else 0)
        else:
            self.say(status, body, {})

    def say(self, status: int, body: bytes, headers: dict[str, str], *, missing: int = 0) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + missing))
        self.end_headers()
        self.wfile.write(body)
        if missing:
            self.drop(reset=False)

    def drop(self, *, reset: bool) -> None:
        if reset:
            # SO_LINGER 0 makes the close a reset, as a crashed server or a cut wire would look.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the connection was dropped on purpose
            super().finish()

    def log_message(self, *_: object) -> None:
        """The requests are kept in the list."""


def _refuse(status: int, code: int) -> tuple[int, bytes]:
    return status, _error_body(status, code)


def _error_body(status: int, code: int) -> bytes:
    shown = code or status
    more = f"https://www.twilio.com/docs/errors/{shown}"
    return _json({"code": shown, "message": f"refused with {shown}", "more_info": more, "status": status})


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _rfc2822(at: int) -> str:
    return format_datetime(datetime.fromtimestamp(at // 1_000, UTC))
