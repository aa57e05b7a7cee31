"""No number, no name, no text and no token in a log, in an error, or in anything that may be printed."""

import io
import logging
import traceback

import pytest
import structlog

from sensor_guard.errors import NotifyError
from sensor_guard.model import HOUR, MINUTE
from tests.fakes.influx_faults import refused_url
from tests.fakes.twilio import AUTH_TOKEN, LOGIN_PAGE, LOSE_REPLY, OTHER_JSON, RESET, error
from tests.notify.line import Line, Person, notifier, text

PERSON = Person("王芳", "+8613812345678")
BODY = "3号楼301 用电低于5W已12小时[K7PW]"
SECRETS = (AUTH_TOKEN, "13812345678", "王芳", "3号楼301", "用电低于")


@pytest.fixture
def everything():
    """Collect what anybody logs, at every level, the standard library's way and structlog's."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level, before = root.level, structlog.get_config()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)],
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
    structlog.configure(**before)


def test_a_bad_day_leaves_no_secret_in_the_log(twilio, clock, everything):
    line = Line(notifier(twilio), clock)
    line.names.people["p1"] = PERSON
    faults = [LOSE_REPLY, error(503), error(500), RESET, LOGIN_PAGE, OTHER_JSON, error(401, 20003), error(400, 21211)]
    twilio.script(faults)
    twilio.script(faults, "GET")
    twilio.fate(PERSON.phone, "undelivered", 30008)
    line.write(*(text("p1", severity="critical") for _ in range(5)))
    line.run(2 * HOUR)
    line.names.label = lambda _home_id: 1 / 0
    line.write(text("p1", severity="critical"))
    line.run(MINUTE)

    assert "notification.reconciled" in everything.getvalue()
    assert "text.failed" in everything.getvalue()
    assert [word for word in SECRETS if word in everything.getvalue()] == []


@pytest.mark.parametrize("fault", [RESET, LOGIN_PAGE, error(400, 21211), error(401, 20003)])
@pytest.mark.parametrize("call", ["send", "find"])
def test_an_error_carries_no_secret(twilio, everything, fault, call):
    channel = notifier(twilio)
    twilio.script([fault], "POST" if call == "send" else "GET")
    with pytest.raises(NotifyError) as caught:
        channel.send(text(), PERSON, BODY) if call == "send" else channel.find(PERSON, ["K7PW"], 0)
    printed = "".join(traceback.format_exception(caught.value))
    assert [word for word in SECRETS if word in printed] == []


def test_an_address_that_cannot_be_reached_carries_no_number(everything):
    class Nowhere:
        url = refused_url()

    with pytest.raises(NotifyError) as caught:
        notifier(Nowhere).find(PERSON, ["K7PW"], 0)
    printed = "".join(traceback.format_exception(caught.value)) + everything.getvalue()
    assert [word for word in SECRETS if word in printed] == []
