"""After an outage, and in a storm: the newest call for help first, and what is stale in one text. Nothing is lost."""

import pytest

from sensor_guard.errors import CommandRefusedError
from sensor_guard.model import HOUR, MINUTE, SECOND, NotificationState
from sensor_guard.notify.limits import Limits
from sensor_guard.notify.outcome import Reason, failure
from sensor_guard.notify.protocol import Receipt
from sensor_guard.operations import Operations
from sensor_guard.testing import VirtualClock
from tests.fakes.twilio import LOSE_REPLY, RESET, FakeTwilio, error, segments
from tests.notify.box import Box, plan, tally
from tests.notify.line import START, notifier

ON_DUTY = ("p1", "p2", "p3")


def down(request):
    return error(503) if request.method == "POST" else None


@pytest.fixture
def make(tmp_path):
    """Make a box with a strict provider of its own."""
    made = []

    def build(the_plan, **more):
        clock = VirtualClock(START)
        twilio = FakeTwilio(clock=clock.now, list_lag=3 * SECOND)
        twilio.__enter__()
        box = Box(tmp_path / "journal.db", the_plan, lambda: notifier(twilio), clock, **more)
        made.append((box, twilio))
        return box, twilio

    yield build
    for box, twilio in made:
        box.close()
        twilio.__exit__()


def sent_to(twilio, person):
    number = f"+8613800{int(person[1:]):06}"
    return [text.body for text in twilio.texts if text.to == number]


@pytest.mark.parametrize("hours", [1, 24])
def test_an_outage_of_the_provider_loses_nothing_and_ends_with_the_newest_urgent_first(make, hours):
    box, twilio = make(plan(24, ("p1",)))
    twilio.choose = down
    for home in range(12):
        box.cry(home)
        box.cry(home + 12, quantity="door_open")
        box.run(hours * HOUR // 12)
    assert twilio.texts == []
    assert [fault.active for fault in box.faults] == [True]

    twilio.choose = lambda _request: None
    began = box.clock.now()
    box.settle()
    bodies = [text.body for text in twilio.texts]
    critical = [row[0] for row in box.rows("SELECT code FROM outbox WHERE urgency = 0 ORDER BY alarm_at DESC")]
    assert [body[-5:-1] for body in bodies[:12]] == critical
    assert twilio.texts[0].created_at - began <= 30 * SECOND
    assert tally(box, bodies) == (0, 0)
    digests = [text for text in twilio.texts if "短信延误" in text.body]
    assert len(digests) == 1
    box.run(MINUTE)
    assert box.states() == {"delivered": 24}


def test_what_is_stale_becomes_one_text_that_says_how_many_and_which(make):
    box, twilio = make(plan(5, ("p1",)))
    box.names.labels.update({f"h{home}": f"3号楼30{home}" for home in range(5)})
    twilio.choose = down
    for home in range(5):
        box.cry(home, quantity="door_open")
        box.run(MINUTE)
    box.run(HOUR)
    twilio.choose = lambda _request: None
    box.run(2 * MINUTE)

    (body,) = sent_to(twilio, "p1")
    assert body.startswith("短信延误，5条报警待处理：3号楼304 ")
    assert segments(body) <= 2
    (code,) = box.codes("kind = 'digest'")
    assert body.endswith(f"[{code}]")
    assert box.states() == {"delivered": 5}


def test_a_digest_answers_nothing_and_what_was_answered_meanwhile_is_not_in_it(make):
    box, twilio = make(plan(8, ("p1",)))
    twilio.choose = down
    box.cry(*range(8), quantity="door_open")
    box.run(HOUR)
    for home in range(3):
        box.answer(home, by="p9")
    twilio.choose = lambda _request: None
    box.run(2 * MINUTE)

    (body,) = sent_to(twilio, "p1")
    assert body.startswith("短信延误，5条报警待处理")
    assert box.states() == {"cancelled": 3, "delivered": 5}
    assert [str(alarm.response) for alarm in box.journal.reader.alarms(open_only=True)].count("unanswered") == 5


def test_a_digest_of_which_nothing_is_needed_any_more_is_taken_back(make):
    box, twilio = make(plan(5, ("p1",)))
    twilio.choose = down
    box.cry(*range(5), quantity="door_open")
    box.run(HOUR)
    for home in range(5):
        box.answer(home, by="p9")
    twilio.choose = lambda _request: None
    box.run(10 * MINUTE)

    assert sent_to(twilio, "p1") == []
    assert set(box.states("1")) == {"cancelled"}


def test_a_digest_that_cannot_be_delivered_sends_every_ladder_to_the_next_person(make):
    """To the engine, each text in it has failed: it counts as told if, and only if, the digest arrives."""
    box, twilio = make(plan(6, ("p1",), ("p2",)))
    twilio.fate("+8613800000001", "undelivered", 30005)
    box.cry(*range(6), quantity="door_open")
    box.run(9 * MINUTE)

    assert box.states("recipient_id = 'p1' AND kind <> 'digest'") == {"failed": 6}
    assert box.states("recipient_id = 'p2' AND kind <> 'digest'") == {"delivered": 6}
    assert len(sent_to(twilio, "p2")) <= 3


def test_a_digest_that_fails_once_goes_out_again_with_what_has_come_since(make):
    box, twilio = make(plan(9, ("p1",)))
    box.cry(*range(6), quantity="door_open")
    box.run(30 * SECOND)
    twilio.choose = down
    box.run(2 * MINUTE)
    box.cry(6, 7, 8, quantity="door_open")
    box.run(5 * MINUTE)
    twilio.choose = lambda _request: None
    box.run(15 * MINUTE)

    _first, _second, digest = sent_to(twilio, "p1")
    assert "7条报警待处理" in digest
    assert len(box.codes("kind = 'digest'")) == 1
    assert box.states() == {"delivered": 9}


def test_a_storm_is_three_texts_to_a_person_the_first_within_a_minute(make):
    """300 homes at once, three people: who gets 300 texts reads none."""
    box, twilio = make(plan(300, ON_DUTY))
    began = box.clock.now()
    for start in range(0, 300, 50):
        box.cry(*range(start, start + 50), quantity="door_open")
        box.run(5 * SECOND)
    box.run(10 * MINUTE)

    for person in ON_DUTY:
        bodies = sent_to(twilio, person)
        assert 1 <= len(bodies) <= 3
        assert any("298条报警待处理" in body for body in bodies)
    assert min(text.created_at for text in twilio.texts) - began <= MINUTE
    assert box.states() == {"delivered": 900}
    assert len(box.journal.reader.alarms(open_only=True, limit=1_000)) == 300


def test_calls_for_help_pass_a_storm(make):
    box, twilio = make(plan(60, ("p1",)))
    box.cry(*range(50), quantity="door_open")
    box.cry(*range(50, 60))
    box.run(2 * MINUTE)
    assert box.states("urgency = 0") == {"delivered": 10}
    assert "50条报警待处理" in sent_to(twilio, "p1")[10]
    assert len(sent_to(twilio, "p1")) == 10 + 1


def test_three_alarms_in_a_morning_are_three_texts(make):
    box, twilio = make(plan(3, ("p1",)))
    for home in range(3):
        box.cry(home, quantity="door_open")
        box.run(15 * MINUTE)
    assert len(sent_to(twilio, "p1")) == 3
    assert box.codes("kind = 'digest'") == []


def test_a_third_text_within_ten_minutes_waits_a_minute_for_company_and_goes_alone_if_none_comes(make):
    box, twilio = make(plan(3, ("p1",)))
    for home in range(3):
        box.cry(home, quantity="door_open")
        box.run(SECOND)
    box.run(50 * SECOND)
    assert len(sent_to(twilio, "p1")) == 2
    box.run(20 * SECOND)
    assert len(sent_to(twilio, "p1")) == 3
    assert box.codes("kind = 'digest'") == []


def test_a_digest_whose_reply_is_lost_is_found_by_its_code(make):
    box, twilio = make(plan(6, ("p1",)))
    box.cry(*range(6), quantity="door_open")
    box.run(30 * SECOND)
    twilio.script([LOSE_REPLY])
    box.run(5 * MINUTE)
    assert len(sent_to(twilio, "p1")) == 3
    assert box.states("1") == {"delivered": 7}


@pytest.mark.parametrize("after", ["lease", "post", "report"])
def test_a_kill_at_any_step_of_a_digest_neither_doubles_nor_loses_it(make, after):
    box, twilio = make(plan(6, ("p1",)))
    box.cry(*range(6), quantity="door_open")
    box.run(30 * SECOND)
    while not box.rows("SELECT 1 FROM outbox WHERE kind = 'digest' AND state = 'sending'"):
        box.commit()
        if not box.rows("SELECT 1 FROM outbox WHERE kind = 'digest' AND state = 'sending'"):
            box.worker.step(box.clock.now())
            box.clock.at += SECOND
    if after != "lease":
        box.worker.step(box.clock.now())
    if after == "report":
        box.commit()
    box.kill()
    assert box.differences == 0
    box.run(5 * MINUTE)

    assert len(sent_to(twilio, "p1")) == 3
    assert box.states("1") == {"delivered": 7}


def test_a_text_that_waits_does_not_wait_longer_for_a_clock_that_is_set_back(make):
    box, twilio = make(plan(1, ("p1",)))
    twilio.choose = down
    box.cry(0, quantity="door_open")
    box.run(5 * MINUTE)
    twilio.choose = lambda _request: None
    box.clock.step(-30 * 24 * HOUR)
    box.run(2 * MINUTE)
    assert len(sent_to(twilio, "p1")) == 1


def test_a_long_retry_after_holds_a_new_call_for_help_for_half_a_minute_only(make):
    box, twilio = make(plan(3, ("p1",)))
    twilio.choose = lambda request: error(429, 20429, Retry_After="3600") if request.method == "POST" else None
    box.cry(0, quantity="door_open")
    box.run(MINUTE)
    tried = len(twilio.posts())
    box.cry(1)
    box.run(10 * MINUTE)
    gaps = [
        later.at - earlier.at
        for earlier, later in zip(twilio.posts()[tried:], twilio.posts()[tried + 1 :], strict=False)
    ]
    assert len(gaps) >= 15
    assert max(gaps) <= 31 * SECOND
    twilio.choose = lambda _request: None
    box.run(30 * SECOND)
    assert box.states("urgency = 0") == {"accepted": 1} or box.states("urgency = 0") == {"delivered": 1}


def test_a_long_retry_after_is_honoured_by_everything_else(make):
    box, twilio = make(plan(1, ("p1",)))
    twilio.script([error(429, 20429, Retry_After="3600")])
    box.cry(0, quantity="door_open")
    box.run(59 * MINUTE)
    assert len(twilio.posts()) == 1
    box.run(2 * MINUTE)
    assert box.states() == {"delivered": 1}


def test_a_person_who_had_too_many_texts_today_is_told_by_digests(make):
    box, twilio = make(plan(12, ("p1",)))
    for home in range(6):
        box.cry(home, quantity="door_open")
        box.run(HOUR)
    assert len(sent_to(twilio, "p1")) == 6
    box.cry(*range(6, 12), quantity="door_open")
    box.run(2 * MINUTE)
    assert "6条报警待处理" in sent_to(twilio, "p1")[-1]
    assert box.states() == {"delivered": 12}


def test_one_alarm_alone_beyond_the_day_is_told_by_a_digest_as_well(make):
    """With one person on the ladder a text that the budget refuses would tell nobody."""
    box, twilio = make(plan(8, ("p1",)))
    for home in range(8):
        box.cry(home, quantity="door_open")
        box.run(20 * MINUTE)
    assert len(sent_to(twilio, "p1")) == 8
    assert box.states("kind = 'alarm'") == {"delivered": 8}
    assert len(box.codes("kind = 'digest'")) == 2


def test_beyond_the_days_digests_the_ladders_go_on(make):
    box, twilio = make(plan(12, ("p1",), ("p2",)), limits=Limits(per_day_digests=0))
    box.cry(*range(12), quantity="door_open")
    box.run(9 * MINUTE)
    assert len(sent_to(twilio, "p1")) == 2
    assert box.states("recipient_id = 'p1' AND kind = 'alarm' AND folded_into IS NOT NULL") == {"failed": 10}
    assert len(box.codes("recipient_id = 'p2' AND kind = 'alarm'")) == 10


def test_the_code_of_a_digest_answers_nothing_and_says_which_codes_do(make):
    """To answer five alarms with one word would be to say that somebody goes to all five."""
    box, _twilio = make(plan(5, ("p1",)))
    box.cry(*range(5), quantity="door_open")
    box.run(2 * MINUTE)
    operations = Operations(box.core, lambda: {"p1"}, dict)
    (code,) = box.codes("kind = 'digest'")
    told = box.rows("SELECT alarm_id, code FROM outbox WHERE folded_into IS NOT NULL")
    assert len(told) == 3

    with pytest.raises(CommandRefusedError) as refusal:
        operations.prepare({"verb": "ack", "target": code.lower(), "by": "p1"}, 0, box.clock.now())
    for alarm_id, alarm_code in told:
        assert f"{alarm_code} {alarm_id}" in str(refusal.value)
        command = operations.prepare({"verb": "ack", "target": alarm_code, "by": "p1"}, 0, box.clock.now())
        assert command.target_id == alarm_id


# The second way


class Terminal:
    """A channel that says of everything that it has arrived."""

    def __init__(self, *, broken=False):
        self.sent = []
        self.broken = broken

    def send(self, notification, contact, text, /):
        if self.broken:
            raise failure(Reason.UNREACHABLE)
        self.sent.append((contact.phone, text))
        return Receipt("terminal-1", NotificationState.DELIVERED)

    def receipt(self, receipt_id, /):
        raise AssertionError("nobody asks")

    def find(self, contact, codes, since, /):
        raise AssertionError("nobody asks")

    def close(self):
        pass


def test_while_the_first_channel_is_down_calls_for_help_also_go_out_on_the_next_within_a_minute(make):
    terminal = Terminal()
    box, twilio = make(plan(40, ("p1", "p2")), backup=[("console", terminal)])
    twilio.choose = lambda request: error(401, 20003)
    box.cry(0)
    box.cry(1, quantity="door_open")
    box.run(MINUTE)
    assert [fault.active for fault in box.faults] == [True]
    assert sorted(phone for phone, _text in terminal.sent) == ["+8613800000001", "+8613800000002"]

    box.cry(*range(2, 12))
    box.run(MINUTE)
    assert len(terminal.sent) == 22
    assert len({text for _phone, text in terminal.sent}) == 22
    # Nobody knows whether a terminal was looked at: to the ladder they are not told.
    assert "delivered" not in box.states()

    twilio.choose = lambda _request: None
    box.run(5 * MINUTE)
    assert box.states("urgency = 0") == {"delivered": 22}
    assert len(terminal.sent) == 22


def test_a_stumble_of_the_first_channel_is_no_reason_for_the_second(make):
    terminal = Terminal()
    box, twilio = make(plan(1, ("p1",)), backup=[("console", terminal)])
    twilio.script([error(503), error(503)])
    box.cry(0)
    box.run(5 * MINUTE)
    assert terminal.sent == []


def test_a_text_in_doubt_goes_out_on_the_second_way_too(make):
    terminal = Terminal()
    box, twilio = make(plan(1, ("p1",)), backup=[("console", terminal)])
    twilio.choose = lambda _request: RESET
    box.cry(0)
    box.run(3 * MINUTE)
    assert box.states() == {"ambiguous": 1}
    assert len(terminal.sent) == 1


def test_a_second_way_that_fails_is_tried_again_and_then_a_third_one(make):
    second, third = Terminal(broken=True), Terminal()
    box, twilio = make(plan(1, ("p1",)), backup=[("console", second), ("pager", third)])
    twilio.choose = lambda request: error(401, 20003)
    third.broken = True
    box.cry(0)
    box.run(MINUTE)
    assert third.sent == []
    third.broken = False
    box.run(MINUTE)
    assert len(third.sent) == 1


@pytest.mark.parametrize("quantity", ["panic", "door_open"])
def test_a_ladder_that_climbs_through_an_outage_leaves_one_text_a_person(make, quantity):
    """Every ten minutes everybody is asked again: 36 calls in six hours, and nobody could be told."""
    box, twilio = make(plan(1, ("p1",), ("p2",), repeat_every=10 * MINUTE))
    twilio.choose = down
    box.cry(0, quantity=quantity)
    box.run(6 * HOUR)
    assert len(box.codes()) > 60
    twilio.choose = lambda _request: None
    box.run(2 * MINUTE)
    for person in ("p1", "p2"):
        (body,) = sent_to(twilio, person)
        assert body.startswith("无人应答")
    assert set(box.states()) == {"delivered"}

    box.run(10 * MINUTE)
    assert [len(sent_to(twilio, person)) for person in ("p1", "p2")] == [2, 2]


def test_a_call_that_waits_and_is_superseded_is_cancelled_with_the_rest(make):
    box, twilio = make(plan(1, ("p1",), repeat_every=10 * MINUTE))
    twilio.choose = down
    box.cry(0, quantity="door_open")
    box.run(HOUR)
    box.answer(0, by="p9")
    twilio.choose = lambda _request: None
    box.run(10 * MINUTE)
    assert set(box.states()) == {"cancelled"}
    assert twilio.texts == []
