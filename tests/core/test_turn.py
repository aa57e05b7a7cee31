"""A turn: stored, decided and answered in one commit, in the order in which things came."""

import pytest

from sensor_guard.inbox import Probe, Request, Work
from sensor_guard.journal.errors import JournalFullError
from sensor_guard.model import AlarmOutcome, Command, CommandKind, DeliveryReport, NotificationState
from tests.core.conftest import Box, at, plan

PANIC = "h1.panic.20260301T000100Z"


def test_a_press_is_an_alarm_with_texts_in_the_same_commit(box):
    turn = box.says("1m", "h1/panic", 1)

    assert box.alarms() == [(PANIC, "true", "unanswered")]
    assert [(state, who) for _, state, who, _ in box.outbox()] == [("pending", "worker1"), ("pending", "family1")]
    assert len(turn.messages()) == 1


def test_inputs_are_numbered_in_the_order_in_which_they_came(box):
    seq = box.journal.last_seq
    box.step(
        "1m",
        box.message("h1/power_w", 80, at("1m")),
        Request(away("2h"), lambda _answer: None),
        box.message("h1/power_w", 90, at("1m")),
        box.message("h1/motion", 1, at("1m")),
    )

    readings = dict(box.journal.reader.readings_after(seq, 10))
    (event,) = (row[0] for row in box.journal.reader._rows("SELECT seq FROM events WHERE seq > ?", (seq,)))
    order = sorted([*readings, event])
    assert [readings[n].value if n in readings else "away" for n in order] == [80.0, "away", 90.0, 1.0]


def away(until, offset="1m"):
    return Command("c", CommandKind.AWAY, "h1", "wang", at(offset), until=at(until))


def test_a_message_that_cannot_be_read_is_kept_and_stops_nothing(box):
    turn = box.step("1m", box.message("h1/x", "bad", at("1m")), box.message("h1/panic", 1, at("1m")), room=0)

    assert len(turn.messages()) == 2
    assert [row.reason for row in box.journal.reader.quarantined()] == ["bad_json"]
    assert box.core.counters.quarantined == {"bad_json": 1}
    assert box.alarms() == [(PANIC, "true", "unanswered")]


def test_a_copy_of_a_packet_is_stored_once_and_acknowledged_twice(box):
    first = box.says("1m", "h1/power_w", 80, packet_id=7)
    again = box.says("2m", "h1/power_w", 80, packet_id=7, duplicate=True)
    other = box.says("3m", "h1/power_w", 80, packet_id=7)

    assert [len(turn.messages()) for turn in (first, again, other)] == [1, 1, 1]
    assert [reading.received_at for _, reading in box.journal.reader.readings_after(0, 9)] == [at("1m"), at("3m")]


def test_a_copy_within_one_turn_is_stored_once(box):
    one = box.message("h1/panic", 1, at("1m"), packet_id=3)
    box.step("1m", one, one._replace(duplicate=True))

    assert len(box.journal.reader.readings_after(0, 9)) == 1


def test_a_reading_with_the_devices_time_is_known_by_it(box):
    box.says("1m", "h1/power_w/ts", 80, packet_id=1)
    box.step("2m", box.message("h1/power_w/ts", 80, at("1m"), packet_id=2))

    assert len(box.journal.reader.readings_after(0, 9)) == 1


def test_a_question_is_answered_after_the_commit_with_what_it_saw(box):
    answers = []
    turn = box.core.turn(
        [
            Request(lambda: box.core.journal.reader.sizes().open_alarms, answers.append),
            box.message("h1/panic", 1, at("1m")),
        ],
        at("1m"),
    )
    assert turn.answers == []

    box.core.commit(turn)

    assert [answer for _, answer in turn.answers] == [1]


@pytest.mark.parametrize(
    ("kind", "target", "more", "refusal"),
    [
        (CommandKind.ACKNOWLEDGE, PANIC, {}, None),
        (CommandKind.ACKNOWLEDGE, "h1.smoke.20260301T000100Z", {}, "there is no open alarm h1.smoke."),
        (CommandKind.ACKNOWLEDGE, "h9.panic.20260301T000100Z", {}, "there is no home h9"),
        (CommandKind.CLOSE, PANIC, {}, "closing needs an outcome"),
        (CommandKind.CLOSE, PANIC, {"outcome": AlarmOutcome.FINE}, None),
        (CommandKind.AWAY, "h9", {"until": at("9h")}, "there is no home h9"),
        (CommandKind.AWAY, "h1", {"until": at("9h")}, None),
        (CommandKind.BACK, "h1", {}, None),
        (CommandKind.MUTE, "panic", {"until": at("9h")}, "panic can never be muted"),
        (CommandKind.MUTE, "nothing", {"until": at("9h")}, "there is no rule nothing"),
        (CommandKind.MUTE, "battery_low", {}, "a mute must end"),
        (CommandKind.MUTE, "battery_low", {"until": at("9h"), "home_id": "h9"}, "there is no home h9"),
        (CommandKind.MUTE, "battery_low", {"until": at("9h"), "home_id": "h1"}, None),
        (CommandKind.UNMUTE, "battery_low", {}, None),
        (CommandKind.TEST_MODE, "h1", {"until": at("9h")}, None),
        (CommandKind.NOTIFY_TEST, "wang", {}, None),
    ],
)
def test_a_command_is_answered_with_nothing_or_with_why_not(box, kind, target, more, refusal):
    box.says("1m", "h1/panic", 1)

    told = box.asks("2m", kind, target, **more)

    assert told is None if refusal is None else told.startswith(refusal)


def test_a_second_answer_is_refused_by_name(box):
    box.says("1m", "h1/panic", 1)
    box.asks("2m", CommandKind.ACKNOWLEDGE, PANIC)

    assert box.asks("3m", CommandKind.ACKNOWLEDGE, PANIC) == f"{PANIC} was already answered by wang"


def test_texts_are_leased_as_far_as_there_is_room(box):
    turn = box.step("1m", box.message("h1/panic", 1, at("1m")), room=1)

    assert [(text.recipient_id, text.attempts, text.channel) for text in turn.leased] == [("worker1", 1, "console")]
    assert [state for _, state, _, _ in box.outbox()] == ["sending", "pending"]
    assert box.core.next_due(room_at=at("1m5s")) == at("1m5s")

    (text,) = box.step("1m5s", room=5).leased
    assert text.recipient_id == "family1"
    assert box.step("1m6s", room=5).leased == []


def test_without_room_nothing_is_leased_and_time_alone_writes_nothing(box):
    box.says("1m", "h1/panic", 1)
    seq = box.journal.last_seq

    assert box.step("1m1s").leased == []
    assert box.journal.last_seq == seq


def test_what_became_of_a_text_moves_the_outbox_and_the_ladder(box):
    first, second = box.step("1m", box.message("h1/panic", 1, at("1m")), room=9).leased

    box.reports("1m1s", first, NotificationState.ACCEPTED, receipt_id="SM1")
    box.reports("1m2s", second, NotificationState.PENDING, reason="busy", retry_at=at("1m30s"))

    assert [row[1] for row in box.outbox()] == ["accepted", "pending"]
    assert box.core.next_due(room_at=at("1m2s")) == at("1m30s")
    assert box.step("1m29s", room=9).leased == []
    (again,) = box.step("1m30s", room=9).leased
    assert (again.notification_id, again.attempts) == (second.notification_id, 2)
    assert box.core.counters.notifications == {"accepted": 1, "pending": 1}


def test_a_report_that_is_no_legal_change_is_not_fed(box):
    (text, _) = box.step("1m", box.message("h1/panic", 1, at("1m")), room=9).leased
    box.reports("1m1s", text, NotificationState.DELIVERED)
    seq = box.journal.last_seq

    box.reports("1m2s", text, NotificationState.PENDING)
    box.step("1m3s", DeliveryReport("nobody.knows.it.1", NotificationState.FAILED, at("1m3s")))

    assert box.outbox()[0][1] == "delivered"
    assert box.journal.last_seq == seq


def test_nobody_answers_and_the_next_rung_is_told_in_time(box):
    box.step("1m", box.message("h1/panic", 1, at("1m")), room=9)

    assert box.core.next_due(room_at=at("1m")) == at("4m")
    assert [text.recipient_id for text in box.step("4m", room=9).leased] == ["boss1"]


def test_work_is_done_in_the_same_commit(box):
    box.step("1m", Work(lambda batch: batch.save_cursor("influxdb", 0)))

    assert box.journal.cursor("influxdb") == 0


# -- commits that fail ------------------------------------------------------------------------------------------------


def busy_turn(box):
    return box.core.turn(
        [
            box.message("h1/power_w", 80, at("1m"), packet_id=1),
            box.message("h1/x", "bad", at("1m")),
            box.message("h1/panic", 1, at("1m"), packet_id=2),
            Request(away("2h"), box.answers.append),
            Work(lambda batch: batch.save_cursor("influxdb", 0)),
        ],
        at("1m"),
    )


def disk(box):
    return (box.alarms(), box.trail(), box.outbox(), box.journal.last_seq, box.journal.reader.readings_after(0, 99))


def test_a_turn_whose_commit_failed_is_committed_again_as_it_was(box, tmp_path):
    smooth = Box(tmp_path / "smooth.db", plan())
    smooth.core.commit(busy_turn(smooth), room=9)
    before, batches = disk(box), box.core.counters.batches
    fed = box.core.engine.feed
    feeds = []
    box.core.engine.feed = lambda inputs, now: feeds.append(now) or fed(inputs, now)
    turn = busy_turn(box)

    box.journal.failing = 3
    for _ in range(3):
        with pytest.raises(JournalFullError):
            box.core.commit(turn, room=9)
        assert disk(box) == before
        assert turn.answers == []
    box.core.commit(turn, room=9)

    assert feeds == [at("1m")]
    assert disk(box) == disk(smooth)
    assert [text.recipient_id for text in turn.leased] == ["worker1", "family1"]
    assert len(turn.answers) == 1
    assert box.core.counters.batches == batches + 1
    assert len(box.journal.reader.quarantined()) == 1
    smooth.off()


def test_time_whose_commit_failed_is_committed_again(box):
    box.step("1m", box.message("h1/panic", 1, at("1m")), room=9)
    turn = box.core.turn([], at("4m"))
    box.journal.failing = 1
    with pytest.raises(JournalFullError):
        box.core.commit(turn, room=9)

    box.core.commit(turn, room=9)

    assert [text.recipient_id for text in turn.leased] == ["boss1"]


def test_a_daemon_that_stops_on_a_full_disk_forgets_what_it_could_not_store(box):
    """The broker has it still, and the next process decides it: with its alarm and its texts."""
    turn = busy_turn(box)
    box.journal.failing = 1
    with pytest.raises(JournalFullError):
        box.core.commit(turn, room=9)
    box.core.checkpoint_all(at("1m"))
    box.off()

    box.on(at("2m"))
    box.step("2m", box.message("h1/panic", 1, at("2m"), packet_id=2, duplicate=True))

    assert box.alarms() == [("h1.panic.20260301T000200Z", "true", "unanswered")]
    assert len(box.outbox()) == 2


def test_a_probe_is_answered_with_the_turn_and_writes_nothing(box):
    seq, answers = box.journal.reader.head(), []
    before = box.journal.reader.sizes()
    box.step("1m", Probe(answers.append), Probe(answers.append, lambda: {"state": "ok"}))

    assert answers == [None, {"state": "ok"}]
    assert box.journal.reader.head() == seq
    assert box.journal.reader.sizes() == before


def test_a_probe_that_comes_with_a_reading_is_answered_only_when_that_is_on_disk(box):
    answers = []
    box.journal.failing = 1
    turn = box.core.turn([box.message("h1/power_w", 80, at("1m")), Probe(answers.append)], at("1m"))
    with pytest.raises(JournalFullError):
        box.core.commit(turn)
    assert not turn.answers

    box.core.commit(turn)
    box.finish(turn)
    assert answers == [None]


def test_a_question_that_raises_is_answered_with_what_it_met(box):
    answers = []
    box.step("1m", Probe(answers.append, lambda: 1 / 0))
    assert answers == ["internal error: ZeroDivisionError: division by zero"]
