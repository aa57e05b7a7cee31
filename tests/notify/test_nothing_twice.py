"""Every alarm is texted once: none missing, none twice, whatever becomes of the replies."""

import random

import pytest

from sensor_guard.model import HOUR, MINUTE, SECOND
from tests.fakes.twilio import LOSE_REPLY, FakeTwilio, error
from tests.notify.line import Clock, Line, Names, notifier, text


def chaos(seed):
    """40 % of the replies to texts are lost, 20 % are a 500 after the text was accepted, 20 % a 503."""
    dice = random.Random(seed)

    def choose(request):
        if request.method != "POST":
            return None
        throw = dice.random()
        if throw < 0.4:
            return LOSE_REPLY
        if throw < 0.6:
            return error(500, 20500, accept=True)
        return error(503) if throw < 0.8 else None

    return choose


def tally(line, twilio):
    """Count alarms that nobody was texted, and texts too many."""
    bodies = [one.body for one in twilio.texts]
    copies = [sum(f"[{row.code}]" in body for body in bodies) for row in line.rows.values()]
    return copies.count(0), sum(copy - 1 for copy in copies if copy)


def test_three_hundred_alarms_through_a_bad_line_each_go_out_once(twilio, line):
    twilio.list_lag = 5 * SECOND
    twilio.choose = chaos(1)
    line.write(*(text(f"p{number % 25}") for number in range(300)))
    line.settle()

    assert tally(line, twilio) == (0, 0)
    assert len(twilio.texts) == 300
    assert all(row.receipt_id for row in line.rows.values())


def test_the_same_without_reconciling_would_send_many_twice(twilio, line):
    """The test above must be able to fail: a channel that never finds a text again."""
    twilio.choose = chaos(1)
    line.channel.find = lambda *_: {}
    line.write(*(text(f"p{number % 25}") for number in range(60)))
    line.settle()

    missing, twice = tally(line, twilio)
    assert missing == 0
    assert twice > 20


def test_a_list_that_lags_longer_than_we_wait_may_double_a_text_but_never_loses_one(twilio, line):
    twilio.list_lag = 5 * MINUTE
    twilio.script([LOSE_REPLY])
    line.write(text())
    line.settle()

    assert tally(line, twilio) == (0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_kill_at_any_moment_changes_nothing(seed):
    clock, dice = Clock(), random.Random(seed)
    with FakeTwilio(clock=clock.now, list_lag=3 * SECOND) as twilio:
        twilio.choose = chaos(seed)
        line = Line(notifier(twilio), clock, names=Names())
        line.write(*(text(f"p{number % 5}") for number in range(40)))
        for _ in range(60):
            for _ in range(dice.randint(0, 12)):
                line.turn()
            line.lease()  # killed right after the commit, before or after the POST
            if dice.random() < 0.5:
                line.worker.step(clock.at)
            line.restart()
        line.settle()

        assert tally(line, twilio) == (0, 0)


def test_a_lost_reply_waits_for_the_list_before_it_asks(twilio, clock, line):
    twilio.script([LOSE_REPLY])
    line.write(text())
    line.run(9 * SECOND)
    assert twilio.gets() == []
    assert line.states() == ["ambiguous"]

    line.run(2 * SECOND)
    assert line.told() == [("ambiguous", "connection_lost"), ("delivered", "")]
    assert twilio.texts[0].sid == next(iter(line.rows.values())).receipt_id
    assert len(twilio.texts) == 1


def test_a_text_that_never_reached_the_provider_is_sent_again(twilio, line):
    twilio.script([error(500, 20500)])
    line.write(text())
    line.settle()

    assert line.told() == [("ambiguous", "server_error"), ("pending", "not_found"), ("accepted", "")]
    assert tally(line, twilio) == (0, 0)


def test_a_text_stays_in_doubt_as_long_as_nobody_answers(twilio, line):
    twilio.script([LOSE_REPLY])
    twilio.choose = lambda request: error(503) if request.method == "GET" else None
    line.write(text())
    line.run(2 * HOUR)
    assert line.states() == ["ambiguous"]
    assert len(twilio.texts) == 1

    twilio.choose = lambda _request: None
    line.run(2 * MINUTE)
    assert tally(line, twilio) == (0, 0)
    assert line.states() == ["delivered"]


def test_one_list_serves_all_texts_in_doubt_of_a_person(twilio, line):
    twilio.script([LOSE_REPLY, LOSE_REPLY, LOSE_REPLY])
    line.write(*(text("p1", severity="critical") for _ in range(3)))
    line.run(SECOND)
    assert line.states() == ["ambiguous"] * 3

    line.run(13 * SECOND)
    assert line.states() == ["delivered"] * 3
    assert len([request for request in twilio.gets() if request.get("To")]) == 1


def test_the_list_is_searched_beyond_its_first_page(twilio, clock, line):
    channel = notifier(twilio)
    person = line.names.contact("p1")
    lost = text()
    twilio.script([LOSE_REPLY])
    line.write(lost)
    line.run(SECOND)
    for number in range(250):
        clock.at += 10
        channel.send(text(), person, f"text {number}")
    line.settle()

    assert line.told() == [("ambiguous", "connection_lost"), ("delivered", "")]
    assert len([request for request in twilio.gets() if request.get("To")]) == 3


def test_the_same_code_of_another_week_is_another_text(twilio, clock, line):
    old, new = text(code="K7PW"), text(code="K7PW")
    line.write(old)
    line.settle()
    clock.at += 8 * 24 * HOUR
    twilio.script([error(500, 20500)])
    line.write(new)
    line.settle()

    assert len(twilio.texts) == 2


def test_a_code_within_another_word_is_no_match(twilio, clock, line):
    person = line.names.contact("p1")
    notifier(twilio).send(text(), person, "XK7PWX")
    assert notifier(twilio).find(person, ["K7PW"], 0) == {}


def test_a_wrong_clock_of_the_box_does_not_double_a_text(twilio, clock, line):
    """Twilio dates texts by its own clock; ours may be hours ahead."""
    twilio.clock = lambda: clock.at - 20 * HOUR
    twilio.script([LOSE_REPLY])
    line.write(text())
    line.settle()

    assert len(twilio.texts) == 1


def test_what_an_earlier_process_was_sending_is_looked_for_at_start(twilio, clock, line):
    line.write(text())
    line.lease()
    line.take_report = lambda _report: None  # killed between the answer and the commit of it
    line.worker = line.make_worker()
    line.worker.submit(next(iter(line.rows.values())))
    line.worker.step(clock.at)
    del line.take_report
    line.restart()
    line.settle()

    assert line.told() == [("delivered", "")]
    assert len(twilio.texts) == 1


def test_a_text_in_doubt_to_somebody_who_has_left_is_failed(twilio, clock, line):
    twilio.script([LOSE_REPLY])
    line.write(text("p1"))
    line.run(SECOND)
    line.names.gone.add("p1")
    line.settle()

    assert line.told()[-1] == ("failed", "no_contact")
