"""The telephone on the terminal."""

import io

import pytest

from sensor_guard.errors import NotifyError
from sensor_guard.model import NotificationState
from sensor_guard.notify.console import WIDTH, ConsoleNotifier, drawn_telephone, width
from tests.notify.line import Clock, Line, Person, text

BODY = "3号楼301 用电低于5W已12小时，请上门查看（昨晚20:15起，其中2小时20分无数据）[K7PW]"


def test_a_text_is_drawn_with_its_recipient_and_how_to_answer():
    screen = io.StringIO()
    line = Line(ConsoleNotifier(screen), Clock())
    line.write(text("p1", code="K7PW"))
    line.run(1_000)

    assert line.told() == [("delivered", "")]
    assert "人1 (p1)" in screen.getvalue()
    assert "用电低于5W已12小时" in screen.getvalue()
    assert "sensor-guard ack K7PW" in screen.getvalue()


def test_names_may_be_left_out():
    screen = io.StringIO()
    ConsoleNotifier(screen, names=False).send(text("p1"), Person(), BODY)
    assert "王芳" not in screen.getvalue()
    assert "p1" in screen.getvalue()


@pytest.mark.parametrize("body", [BODY, "short", "x" * 160, "看" * 70, "three words only", "", "é" * 100])
def test_every_line_of_the_telephone_is_equally_wide(body):
    lines = drawn_telephone("王芳 (wang)", body, "K7PW").strip("\n").splitlines()
    assert {width(line) for line in lines} == {WIDTH + 4}


def test_nothing_of_the_text_is_lost_in_drawing():
    drawn = drawn_telephone("王芳", BODY, "K7PW")
    inside = "".join(line[2:-2].strip() for line in drawn.splitlines() if line.startswith("│"))
    assert BODY.replace(" ", "") in inside.replace(" ", "")


def test_a_terminal_that_knows_no_chinese_still_shows_the_code():
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    ConsoleNotifier(screen).send(text(code="K7PW"), Person(), BODY)
    assert b"K7PW" in screen.buffer.getvalue()


def test_a_closed_terminal_is_a_channel_that_does_not_work():
    screen = io.StringIO()
    screen.close()
    with pytest.raises(NotifyError) as caught:
        ConsoleNotifier(screen).send(text(), Person(), BODY)
    assert caught.value.reason == "unreachable"


def test_what_was_drawn_has_arrived_and_what_may_have_been_is_drawn_again():
    console = ConsoleNotifier(io.StringIO())
    assert console.receipt("console-1").state is NotificationState.DELIVERED
    assert console.find(Person(), ["K7PW"], 0) == {}
    console.close()
