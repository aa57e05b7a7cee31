"""What each answer, and each kind of silence, means."""

import pytest

from sensor_guard.errors import ConfigError, Problem
from sensor_guard.model import HOUR, SECOND
from sensor_guard.sinks.client import failure_of
from sensor_guard.sinks.protocol import SinkError
from tests.fakes.influx_faults import DROP, HANG, SLOW, STORED_BUT_TIMED_OUT, TRUNCATED, Fault, refused_url, status
from tests.sinks.rows import connection

LINE = b"reading,home=h,quantity=power_w,sensor=s value=1.0,seq=1i 1772366400000000001"
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


def write(url, **settings):
    with connection(url, "sensor_guard", **settings) as opened:
        opened.write(LINE)


def failure_from(url, **settings):
    with pytest.raises(SinkError) as caught:
        write(url, **settings)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (status(400, "unable to parse 'x'"), "refused"),
        (status(401, "unauthorized access"), "misconfigured"),
        (status(403, "forbidden"), "misconfigured"),
        (status(404, "bucket not found"), "misconfigured"),
        (status(405), "misconfigured"),
        (status(408), "outage"),
        (status(413, "request entity too large"), "too_large"),
        (status(422, "failure writing points: field type conflict"), "refused"),
        (status(429, "limit", Retry_After="7"), "outage"),
        (status(500, "engine: error"), "server_error"),
        (status(502), "outage"),
        (status(503, "unavailable"), "outage"),
        (status(504), "outage"),
        (status(302, Location="http://127.0.0.1:9/login"), "outage"),
        (status(200, "<html>log in</html>"), "outage"),
        (Fault(status=511, body="请登录".encode("gbk")), "outage"),
        (DROP, "outage"),
        (TRUNCATED, "outage"),
    ],
)
def test_an_answer_other_than_204_has_a_meaning(scripted, fault, failure):
    scripted.script([fault])
    assert failure == failure_from(scripted.url).failure


@pytest.mark.parametrize("fault", [HANG, STORED_BUT_TIMED_OUT])
def test_a_silent_server_is_an_outage_after_the_timeout(scripted, fault):
    scripted.script([fault])
    assert failure_from(scripted.url, timeout=100).failure == "outage"


def test_nobody_listening_is_an_outage_that_says_so():
    error = failure_from(refused_url())
    assert (error.failure, "refused" in error.detail) == ("outage", True)


def test_a_server_without_tls_is_an_outage(scripted):
    assert failure_from(scripted.url.replace("http", "https")).failure == "outage"


def test_a_slow_answer_is_an_answer(scripted):
    scripted.script([SLOW])
    write(scripted.url)


def test_the_lines_are_compressed_and_the_token_is_sent(scripted):
    write(scripted.url, token="t0ken")
    assert scripted.bodies == [LINE]
    sent = scripted.headers[0]
    assert (sent["Content-Encoding"], sent["Authorization"]) == ("gzip", "Token t0ken")


@pytest.mark.parametrize("token", ["bad\ntoken", "令牌"])
def test_a_token_that_http_does_not_allow_is_a_misconfiguration_and_stays_secret(scripted, token):
    error = failure_from(scripted.url, token=token)
    assert error.failure == "misconfigured"
    assert token not in f"{error!r}{error.detail}"
    assert error.__suppress_context__


def test_a_token_that_is_not_there_is_a_misconfiguration(scripted):
    def nowhere():
        raise ConfigError([Problem("influxdb_token", 0, 0, "", "the secret is missing")])

    error = failure_from(scripted.url, token=nowhere)
    assert (error.failure, error.detail) == ("misconfigured", "influxdb_token: the secret is missing")


def test_a_rotated_token_is_read_again_after_a_401(scripted):
    tokens = iter(["old", "new"])
    scripted.script([status(401)])
    with connection(scripted.url, "sensor_guard", token=lambda: next(tokens)) as opened:
        with pytest.raises(SinkError):
            opened.write(LINE)
        opened.write(LINE)
        opened.write(LINE)
    assert [each["Authorization"] for each in scripted.headers] == ["Token old", "Token new", "Token new"]


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7 * SECOND),
        ({"Retry-After": "0.5"}, 500),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT", "Date": DATE}, 30 * SECOND),
        ({"Retry-After": "86400"}, HOUR),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT"}, None),
        ({"Retry-After": "Sun, 01 Mar 2026 11:00:30 GMT", "Date": DATE}, None),
        ({"Retry-After": "-7"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_longer_than_an_hour(headers, wait):
    assert wait == failure_of(429, "", headers).retry_after


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (400, '{"error":"partial write: points beyond retention policy dropped=2"}'),
        (
            422,
            '{"code":"unprocessable entity","message":"failure writing points to database: partial write: dropped 2'
            " points outside retention policy of duration 72h0m0s - oldest point reading,home=h at"
            " 2025-08-26T03:26:38Z dropped because it violates a Retention Policy Lower Bound at"
            ' 2025-09-02T09:04:10.7684903Z, newest ... dropped=2 for database: 9f282d63c7d3a5c0"}',
        ),
    ],
)
def test_rows_older_than_the_server_keeps_are_counted_by_the_server(code, body):
    error = failure_of(code, body, {})
    assert (error.failure, error.dropped) == ("expired", 2)


def test_a_text_of_the_server_is_cut_to_one_short_line():
    detail = failure_of(400, "a\nb\x00c\u202e" + "x" * 5_000, {}).detail
    assert detail.isprintable()
    assert len(detail) <= 500
