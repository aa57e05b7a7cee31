"""The last net: whatever is logged by mistake, no number, name or secret gets through."""

import io
import json
import logging

import pytest
import structlog

from sensor_guard.config.settings import LogSettings
from sensor_guard.logs import configure_log, redacted

PHONE, TOKEN = "+8613812345678", "f00dfeedcafe4242f00dfeedcafe4242"


@pytest.fixture(params=["json", "console"])
def written(request):
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    configure_log(LogSettings(format=request.param, level="debug"), out)
    yield out
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = handlers, level
    structlog.configure(**before)


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": f"cannot send to {PHONE}: no"},
        {"reason": "POST /Messages.json?To=%2B8613812345678"},
        {"reason": "客户 13812345678 无法接通"},
        {"auth_token": TOKEN},
        {"headers": {"Authorization": f"Token {TOKEN}"}},
        {"detail": f"Authorization: Bearer {TOKEN}"},
        {"detail": [f"http://user:{TOKEN}@host/write", f"/query?p={TOKEN}&q=1"]},
        {"error": ValueError(f"bad number {PHONE}")},
        {"url": "https://hc.example/ping/f00dfeed-cafe-4242-f00d-feedcafe4242/fail"},
        {"contact": "王芳", "label": "3号楼301", "body": "3号楼301 用电低"},
    ],
)
def test_nothing_gets_through_by_name_or_by_its_looks(written, fields):
    structlog.get_logger().error("text.failed", **fields)
    line = written.getvalue()
    assert "text.failed" in line
    for word in (PHONE, "8613812345678", "13812345678", TOKEN, "feedcafe4242", "王芳", "301"):
        assert word not in line


def test_a_traceback_is_kept_and_its_text_is_cleaned(written):
    def fails():
        raise RuntimeError(f"no route to {PHONE}")

    try:
        fails()
    except RuntimeError:
        structlog.get_logger().exception("thread.failed")
    assert "RuntimeError" in written.getvalue()
    assert PHONE not in written.getvalue()


def test_libraries_speak_through_the_same_net(written):
    log = logging.getLogger("urllib3.connectionpool")
    log.debug("POST /Messages.json To=%s", PHONE)
    log.warning("Retrying after connection broken: /ping/f00dfeed-cafe-4242-f00d-feedcafe4242 %s", PHONE)
    text = written.getvalue()
    assert text.count("library.logged") == 1
    assert PHONE not in text
    assert "feedcafe4242" not in text


def test_what_is_no_secret_stays_as_it_is(written):
    kept = {
        "alarm_id": "h1.electricity_low.20260301T121719Z",
        "at": 1_772_367_439_126,
        "offset_ms": -13_812_345_678,
        "reason": "http_503",
        "topic": "guard/site1/b3-301/power",
        "plan_hash": "6159469ad3e7",
        "commit_ms": 13812345678.5,
    }
    structlog.get_logger().info("alarm.raised", **kept)
    line = written.getvalue()
    assert "[hidden]" not in line
    if line.startswith("{"):
        assert kept.items() <= json.loads(line).items()


@pytest.mark.parametrize("text", ["20260301T121719Z", "1772367439126", "12.0.13912345678", "h1-13812345678x"])
def test_ids_and_numbers_of_other_kinds_are_no_telephone_numbers(text):
    assert redacted(text) == text
