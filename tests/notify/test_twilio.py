"""The real Twilio client against everything that can go wrong between it and Twilio."""

import shutil
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
import urllib3.exceptions

from sensor_guard.config.settings import NotifiersSettings
from sensor_guard.errors import ConfigError, NotifyError, Problem
from sensor_guard.model import MINUTE, SECOND, NotificationState
from sensor_guard.notify import NOTIFIERS
from sensor_guard.notify.outcome import Action, Reason, action_of
from sensor_guard.notify.twilio import TwilioNotifier
from sensor_guard.notify.twilio_http import reason_of_break, retry_after
from tests.fakes.influx_faults import refused_url
from tests.fakes.twilio import (
    ACCOUNT_SID,
    AUTH_TOKEN,
    HANG,
    HANG_AFTER_ACCEPT,
    LOGIN_PAGE,
    LOGIN_REDIRECT,
    LOSE_REPLY,
    NO_FAULT,
    OTHER_JSON,
    RESET,
    SENDER,
    SERVICE_SID,
    TRUNCATED,
    Fault,
    error,
)
from tests.notify.line import Person, notifier, settings, text

PERSON = Person()
BODY = "3号楼301 用电低于5W已12小时，请上门查看[K7PW]"


def failure_of(twilio, fault, **more):
    """Post a text into a fault and give what is raised."""
    twilio.script([fault])
    with pytest.raises(NotifyError) as caught:
        notifier(twilio, **more).send(text(), PERSON, BODY)
    return caught.value


def test_a_text_is_posted_with_number_sender_body_and_validity(twilio):
    receipt = notifier(twilio).send(text(), PERSON, BODY)

    assert receipt.state is NotificationState.ACCEPTED
    assert twilio.texts[0].sid == receipt.receipt_id
    assert dict(twilio.posts()[0].fields) == {
        "To": PERSON.phone,
        "From": SENDER,
        "Body": BODY,
        "ValidityPeriod": "600",
    }


def test_the_first_text_waits_for_no_import(twilio):
    """A hundred files: a tenth of a second here, seconds on a cheap box, and the first text may be a call for help."""
    script = f"""
import sys
from types import SimpleNamespace
from sensor_guard.config.settings import NotifiersSettings
from sensor_guard.notify import NOTIFIERS
written = {{"account_sid": {ACCOUNT_SID!r}, "from": {SENDER!r}, "base_url": {twilio.url!r}}}
settings = NotifiersSettings.model_validate({{"order": ["twilio"], "twilio": written}})
assert "twilio" not in sys.modules
channel = NOTIFIERS["twilio"](settings, lambda: {AUTH_TOKEN!r})
before = set(sys.modules)
channel.send(None, SimpleNamespace(phone={PERSON.phone!r}), "help")
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
    assert len(twilio.posts()) == 1


def test_a_messaging_service_takes_the_place_of_the_number(twilio):
    channel = TwilioNotifier(
        settings(twilio, **{"from": None, "messaging_service_sid": SERVICE_SID}), lambda: AUTH_TOKEN
    )
    channel.send(text(), PERSON, BODY)

    assert twilio.posts()[0].get("MessagingServiceSid") == SERVICE_SID
    assert twilio.posts()[0].get("From") is None


@pytest.mark.parametrize(
    ("fault", "reason", "action"),
    [
        (RESET, Reason.CONNECTION_LOST, Action.RECONCILE),
        (LOSE_REPLY, Reason.CONNECTION_LOST, Action.RECONCILE),
        (TRUNCATED, Reason.CONNECTION_LOST, Action.RECONCILE),
        (error(500, 20500), Reason.SERVER_ERROR, Action.RECONCILE),
        (error(500, 20500, accept=True), Reason.SERVER_ERROR, Action.RECONCILE),
        (error(502), Reason.SERVER_ERROR, Action.RECONCILE),
        (error(504), Reason.SERVER_ERROR, Action.RECONCILE),
        (Fault(status=502, body=b"<html>bad gateway"), Reason.SERVER_ERROR, Action.RECONCILE),
        (LOGIN_PAGE, Reason.UNREADABLE, Action.RECONCILE),
        (OTHER_JSON, Reason.UNREADABLE, Action.RECONCILE),
        (Fault(status=201, body=b""), Reason.UNREADABLE, Action.RECONCILE),
        (Fault(status=201, body=b"[1, 2]"), Reason.UNREADABLE, Action.RECONCILE),
        (Fault(status=201, body=b"[" * 100_000), Reason.UNREADABLE, Action.RECONCILE),
        (Fault(status=201, body=b'{"sid": "x", "status": "queued"}'), Reason.UNREADABLE, Action.RECONCILE),
        (Fault(status=201, body=b"\xb5\xc7\xc2\xbc"), Reason.UNREADABLE, Action.RECONCILE),
        (LOGIN_REDIRECT, Reason.REDIRECTED, Action.RECONCILE),
        (error(503), Reason.UNAVAILABLE, Action.RETRY),
        (error(429, 20429), Reason.RATE_LIMITED, Action.RETRY),
        (error(400, 21611), Reason.SENDER_BUSY, Action.RETRY),
        (error(400, 21211), Reason.INVALID_NUMBER, Action.NEXT_PERSON),
        (error(400, 21610), Reason.OPTED_OUT, Action.NEXT_PERSON),
        (error(400, 21408), Reason.REGION_DISABLED, Action.NEXT_PERSON),
        (error(400, 21614), Reason.NOT_MOBILE, Action.NEXT_PERSON),
        (Fault(status=400, body=b'{"code": "x"}'), Reason.REFUSED, Action.NEXT_PERSON),
        (error(401, 20003), Reason.UNAUTHORISED, Action.CHANNEL_DOWN),
        (error(403, 20403), Reason.FORBIDDEN, Action.CHANNEL_DOWN),
        (error(404, 20404), Reason.MISCONFIGURED, Action.CHANNEL_DOWN),
    ],
)
def test_every_fault_has_its_reason(twilio, fault, reason, action):
    raised = failure_of(twilio, fault)
    assert (raised.reason.partition(":")[0], action_of(raised)) == (reason, action)
    assert len(twilio.posts()) == 1


@pytest.mark.parametrize("fault", [HANG, HANG_AFTER_ACCEPT])
def test_a_provider_that_hangs_is_given_up_and_in_doubt(twilio, fault):
    twilio.script([fault])
    channel = TwilioNotifier(settings(twilio).model_copy(update={"timeout": 200}), lambda: AUTH_TOKEN)
    with pytest.raises(NotifyError) as caught:
        channel.send(text(), PERSON, BODY)
    assert caught.value.reason == Reason.TIMED_OUT


def test_a_refused_connection_is_certainly_not_a_sent_text(twilio):
    with pytest.raises(NotifyError) as caught:
        notifier(twilio, base_url=refused_url()).send(text(), PERSON, BODY)
    assert caught.value.reason == Reason.UNREACHABLE


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (requests.ConnectTimeout(), Reason.UNREACHABLE),
        (requests.exceptions.ProxyError(), Reason.UNREACHABLE),
        (requests.ReadTimeout(), Reason.TIMED_OUT),
        (
            requests.ConnectionError(
                urllib3.exceptions.MaxRetryError(
                    None, "/", urllib3.exceptions.NameResolutionError("api.invalid", None, OSError())
                )
            ),
            Reason.UNREACHABLE,
        ),
        (
            requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError())),
            Reason.CONNECTION_LOST,
        ),
        (requests.exceptions.SSLError("bad record mac"), Reason.CONNECTION_LOST),
        (requests.exceptions.ChunkedEncodingError(), Reason.CONNECTION_LOST),
        (requests.exceptions.InvalidURL(), Reason.MISCONFIGURED),
        (requests.RequestException(), Reason.CONNECTION_LOST),
    ],
)
def test_only_what_surely_never_left_is_not_in_doubt(broken, reason):
    assert reason_of_break(broken) == reason


def test_a_server_that_cannot_prove_who_it_is_gets_nothing(tmp_path):
    """A login page that breaks into TLS, or a box whose clock is wrong: nothing was sent, and a person must look."""
    openssl = shutil.which("openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = f"req -x509 -newkey rsa:2048 -nodes -subj /CN=portal -keyout {key} -out {certificate}"
    subprocess.run([openssl, *made.split()], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        channel = TwilioNotifier(
            NotifiersSettings.model_validate(
                {
                    "order": ["twilio"],
                    "twilio": {
                        "account_sid": ACCOUNT_SID,
                        "from": SENDER,
                        "base_url": f"https://127.0.0.1:{server.server_port}",
                    },
                }
            ).twilio,
            lambda: AUTH_TOKEN,
        )
        with pytest.raises(NotifyError) as caught:
            channel.send(text(), PERSON, BODY)
        server.shutdown()
    assert caught.value.reason == Reason.UNTRUSTED


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7 * SECOND),
        ({"Retry-After": "Mon, 02 Mar 2026 00:02:00 GMT", "Date": "Mon, 02 Mar 2026 00:01:00 GMT"}, MINUTE),
        ({"Retry-After": "Mon, 02 Mar 2026 00:02:00 GMT"}, None),
        ({"Retry-After": "86400"}, 60 * MINUTE),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, wait):
    assert retry_after(headers) == wait


def test_retry_after_reaches_the_error(twilio):
    assert failure_of(twilio, error(429, 20429, Retry_After="7")).retry_after == 7 * SECOND


def test_a_receipt_follows_the_text_through_its_life(twilio, clock):
    channel = notifier(twilio)
    receipt_id = channel.send(text(), PERSON, BODY).receipt_id
    assert channel.receipt(receipt_id).state is NotificationState.ACCEPTED

    clock.at += 10 * SECOND
    assert channel.receipt(receipt_id).state is NotificationState.DELIVERED


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        ("undelivered", 30003, "handset_off"),
        ("failed", 30007, "filtered"),
        ("undelivered", 39999, "undelivered:39999"),
        ("canceled", None, "undelivered"),
        ("partially_delivered", None, "undelivered"),
    ],
)
def test_a_receipt_of_failure_says_why(twilio, clock, status, code, reason):
    twilio.fate(PERSON.phone, status, code)
    channel = notifier(twilio)
    receipt_id = channel.send(text(), PERSON, BODY).receipt_id
    clock.at += 10 * SECOND
    receipt = channel.receipt(receipt_id)
    assert (receipt.state, receipt.reason) == (NotificationState.FAILED, reason)


def test_a_receipt_of_a_text_that_is_not_there_says_so(twilio):
    with pytest.raises(NotifyError) as caught:
        notifier(twilio).receipt("SM" + "0" * 32)
    assert caught.value.reason == Reason.NOT_FOUND


@pytest.mark.parametrize("fault", [RESET, LOGIN_PAGE, OTHER_JSON, LOGIN_REDIRECT, error(500), error(401, 20003)])
def test_a_list_that_is_none_never_means_that_a_text_was_not_sent(twilio, fault):
    channel = notifier(twilio)
    channel.send(text(), PERSON, BODY)
    twilio.script([fault], "GET")
    with pytest.raises(NotifyError):
        channel.find(PERSON, ["K7PW"], 0)

    assert {"K7PW"} == set(channel.find(PERSON, ["K7PW", "AAAA"], 0))


def test_a_list_that_breaks_off_on_its_second_page_never_means_that_a_text_was_not_sent(twilio):
    channel = notifier(twilio)
    for number in range(101):
        channel.send(text(), PERSON, f"text {number}")
    twilio.script([NO_FAULT, error(500)], "GET")
    with pytest.raises(NotifyError):
        channel.find(PERSON, ["K7PW"], 0)


def test_a_search_without_end_is_given_up(twilio, monkeypatch):
    channel = notifier(twilio)
    channel.send(text(), PERSON, BODY)
    for number in range(4):
        channel.send(text(), PERSON, f"text {number}")
    monkeypatch.setattr("sensor_guard.notify.twilio.PAGE_SIZE", 1)
    monkeypatch.setattr("sensor_guard.notify.twilio.PAGE_LIMIT", 3)
    assert channel.find(PERSON, ["K7PW"], 0) == {}
    assert len(twilio.gets()) == 3


@pytest.mark.parametrize(
    "body", [b'{"messages": [1]}', b'{"messages": [], "more": []}', b'{"messages": [{"sid": 7, "date_created": 5}]}']
)
def test_a_list_of_something_else_never_means_that_a_text_was_not_sent(twilio, body):
    twilio.script([Fault(status=200, body=body)], "GET")
    with pytest.raises(NotifyError) as caught:
        notifier(twilio).find(PERSON, ["K7PW"], 0)
    assert caught.value.reason == Reason.UNREADABLE


def test_of_two_texts_with_one_code_the_one_that_arrived_counts(twilio, clock):
    channel = notifier(twilio)
    twilio.fate(PERSON.phone, "failed", 30008)
    channel.send(text(), PERSON, BODY)
    twilio.fate(PERSON.phone, "delivered")
    good = channel.send(text(), PERSON, BODY).receipt_id
    clock.at += MINUTE
    assert channel.find(PERSON, ["K7PW"], 0)["K7PW"].receipt_id == good


def test_a_rotated_token_takes_effect_without_a_restart(twilio):
    tokens = ["the old one"]
    channel = TwilioNotifier(settings(twilio), lambda: tokens[0])
    with pytest.raises(NotifyError):
        channel.send(text(), PERSON, BODY)
    tokens[0] = AUTH_TOKEN
    assert channel.send(text(), PERSON, BODY).receipt_id


def test_an_api_key_takes_the_place_of_the_token(twilio):
    key = "SK" + "0" * 32
    twilio.credentials = {key: "secret"}
    channel = TwilioNotifier(settings(twilio), lambda: f"{key}:secret")
    assert channel.send(text(), PERSON, BODY).receipt_id
    assert f"/Accounts/{ACCOUNT_SID}/" in twilio.posts()[0].path


def missing():
    raise ConfigError([Problem("SENSOR_GUARD_TWILIO_AUTH_TOKEN", 0, 0, "", "is missing")])


@pytest.mark.parametrize(
    ("read_token", "reason"), [(missing, Reason.MISCONFIGURED), (lambda: "令牌", Reason.UNAUTHORISED)]
)
def test_a_token_that_cannot_be_sent_brings_the_channel_down(twilio, read_token, reason):
    with pytest.raises(NotifyError) as caught:
        TwilioNotifier(settings(twilio), read_token).send(text(), PERSON, BODY)
    assert caught.value.reason == reason
    assert twilio.requests == []


def test_every_request_has_a_connection_of_its_own(twilio):
    """A kept one may have died behind a router: the next alarm would be in doubt."""
    channel = notifier(twilio)
    channel.send(text(), PERSON, BODY)
    channel.send(text(), PERSON, BODY)
    assert len({request.client_port for request in twilio.requests}) == 2


def test_the_environment_of_the_process_changes_nothing(twilio, monkeypatch):
    for name in ("TWILIO_REGION", "TWILIO_EDGE", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert notifier(twilio).send(text(), PERSON, BODY).receipt_id


def test_the_table_opens_every_channel_that_the_settings_know(twilio):
    chosen = NotifiersSettings.model_validate(
        {
            "order": ["twilio", "console"],
            "console": {},
            "twilio": {"account_sid": ACCOUNT_SID, "from": SENDER, "base_url": twilio.url},
        }
    )
    assert set(NOTIFIERS) == set(chosen.order)
    channel = NOTIFIERS["twilio"](chosen, lambda: AUTH_TOKEN)
    assert channel.send(text(), PERSON, BODY).receipt_id
    assert NOTIFIERS["console"](chosen, lambda: "").receipt("x").state is NotificationState.DELIVERED
