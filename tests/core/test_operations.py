"""What people can ask and tell: every verb, and every refusal with its way out."""

import pytest

from sensor_guard.errors import CommandRefusedError
from sensor_guard.inbox import Request
from sensor_guard.model import AlarmOutcome, Command, CommandKind
from sensor_guard.operations import Operations
from sensor_guard.testing import span
from tests.core.conftest import at

PANIC = "h1.panic.20260301T000100Z"
NOW = at("2m")


@pytest.fixture
def ask(box):
    """Send a request the whole way; its answer, or the refusal."""
    box.says("1m", "h1/panic", 1)
    operations = Operations(box.core, lambda: {"wang", "li"}, lambda: {"running": True})

    def send(verb, **fields):
        item = operations.prepare({"verb": verb, **fields}, 1000, NOW)
        answers = []
        box.step(NOW, Request(item, answers.append))
        return item if isinstance(item, Command) and answers == [None] else answers[0]

    return send


def refusal(ask, verb, **fields):
    with pytest.raises(CommandRefusedError) as caught:
        ask(verb, **fields)
    return str(caught.value)


@pytest.mark.parametrize("target", [PANIC, f"[{PANIC}]", "the code", "the code, small", "the code, as it is shown"])
def test_an_alarm_is_answered_by_its_id_or_its_code(ask, box, target):
    code = box.journal.reader._rows("SELECT code FROM outbox", ())[0][0]
    named = {"the code": code, "the code, small": f" {code.lower()} ", "the code, as it is shown": f"[{code}]"}.get(
        target, target
    )

    command = ask("ack", target=named, by="wang", note="on my way")

    assert command == Command(
        command.command_id, CommandKind.ACKNOWLEDGE, PANIC, "wang", NOW, note="on my way (uid 1000)"
    )
    assert box.alarms() == [(PANIC, "true", "acknowledged")]


def test_whoever_does_not_say_his_name_is_the_account(ask):
    assert ask("back", target="h1").actor_id == "uid1000"


def test_closing_takes_an_outcome(ask, box):
    command = ask("close", target=PANIC, by="wang", outcome="helped")

    assert (command.kind, command.outcome) == (CommandKind.CLOSE, AlarmOutcome.HELPED)
    assert box.alarms() == [(PANIC, "true", "closed")]


def test_away_mute_and_test_mode_end(ask):
    until = "2026-03-03T08:00:00+08:00"

    assert ask("away", target="h1", until=until).until == at("48h")
    assert ask("mute", target="battery_low", until=until, note="cells are ordered").note == "cells are ordered"
    assert ask("mute", target="battery_low", until=until, note="x", home="h1").home_id == "h1"
    assert ask("unmute", target="battery_low").kind == CommandKind.UNMUTE
    assert ask("test_mode", target="h1", until=until).kind == CommandKind.TEST_MODE


def test_a_test_text_goes_to_a_contact(ask, box):
    ask("notify_test", target="li")

    assert box.outbox()[-1][2] == "li"


def test_homes_and_alarms_are_listed(ask):
    (home,) = ask("homes")["homes"]
    assert (home["home_id"], home["last_sign_at"], home["open_alarms"]) == ("h1", at("1m"), (PANIC,))
    assert ask("home", target="h1")["home"] == home
    assert ask("home", target="h1")["now"] == NOW

    (alarm,) = ask("alarms")["alarms"]
    assert (alarm["alarm_id"], alarm["state"]) == (PANIC, "active")
    assert ask("alarms", home="gateway")["alarms"] == []
    assert ask("alarms", home="h9") == "there is no home h9; `sensor-guard homes` lists them"  # a slip is no "none"
    ask("close", target=PANIC, outcome="fine")
    assert ask("alarms")["alarms"] == []
    assert [found["state"] for found in ask("alarms", all=True, limit=1)["alarms"]] == ["closed"]
    assert len(ask("alarms", all=True, limit="many")["alarms"]) == 1


def test_one_alarm_is_told_with_its_trail(ask):
    ask("ack", target=PANIC, by="wang")

    answer = ask("alarm", target=PANIC)

    assert answer["alarm"]["acknowledged_by"] == "wang"
    steps = [step["reason"] for step in answer["trail"]]
    assert {"raised", "acknowledged"} <= set(steps)
    assert steps.index("raised") < steps.index("acknowledged")


def test_the_status_is_told(ask):
    assert ask("status") == {"running": True}


@pytest.mark.parametrize(
    ("verb", "fields", "why"),
    [
        ("dance", {}, "there is no verb 'dance'; there are ack, close, away"),
        (None, {}, "there is no verb None"),
        (["ack"], {}, "there is no verb ['ack']"),
        ("ack", {}, "target is missing"),
        ("ack", {"target": ""}, "target is missing"),
        ("ack", {"target": 7}, "target must be a text of at most 500 characters"),
        ("ack", {"target": "QQQQ"}, "no text of the last 7 days has the code QQQQ"),
        ("close", {"target": PANIC}, "closing needs an outcome, one of helped, fine"),
        ("close", {"target": PANIC, "outcome": "great"}, "not 'great'"),
        ("close", {"target": PANIC, "outcome": "fine", "note": "x" * 501}, "note must be a text of at most 500"),
        ("away", {"target": "h1"}, "away must end: say until when"),
        ("away", {"target": "h1", "until": "tomorrow"}, "'tomorrow' is not a time"),
        ("away", {"target": "h1", "until": "2026-03-02T08:00:00"}, "has no time zone"),
        ("away", {"target": "h1", "until": "2026-03-01T00:02:00Z"}, "is not within the next 400 days"),
        ("away", {"target": "h1", "until": "2027-06-01T00:00:00Z"}, "is not within the next 400 days"),
        ("mute", {"target": "battery_low", "until": "2026-03-02T08:00:00Z"}, "a mute needs a reason"),
        ("mute", {"target": "battery_low", "note": "x"}, "mute must end"),
        ("test_mode", {"target": "h1"}, "test_mode must end"),
        ("notify_test", {"target": "nobody"}, "there is no contact nobody; there are li, wang"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_way_out(ask, verb, fields, why):
    assert why in refusal(ask, verb, **fields)


@pytest.mark.parametrize(
    ("verb", "fields", "why"),
    [
        ("home", {"target": "h9"}, "there is no home h9"),
        ("alarm", {"target": "h1.panic.x"}, "there is no alarm h1.panic.x"),
        ("alarm", {"target": "QQQQ"}, "no text of the last 7 days has the code QQQQ"),
    ],
)
def test_a_question_that_has_no_answer_stops_nothing(ask, box, verb, fields, why):
    """It is asked on the engine's thread: its refusal is the caller's, not the loop's."""
    answer = ask(verb, **fields)

    assert why in str(answer)
    assert box.alarms() == [(PANIC, "true", "unanswered")]


def test_unprintable_characters_of_a_note_are_left_out(ask):
    command = ask("ack", target=PANIC, note="a\x1b[31m\nb\u202e c")

    assert command.note == "a[31mb c (uid 1000)"


def test_everything_is_within_the_year(ask):
    assert ask("away", target="h1", until="2027-04-01T00:00:00Z").until - NOW < span("400d")


@pytest.mark.parametrize("verb", ["away", "test_mode"])
def test_the_box_itself_is_no_home_that_is_away_or_tried(ask, verb):
    told = refusal(ask, verb, target="gateway", until="2026-03-03T08:00:00+08:00")
    assert told == "gateway is the box itself, no home; `sensor-guard homes` lists the homes"
