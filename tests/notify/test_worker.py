"""When and how often: the channel's health, the limits, the order, receipts, a restart."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from sensor_guard.errors import NotifyError
from sensor_guard.model import DAY, HOUR, MINUTE, SECOND, NotificationKind, NotificationState
from sensor_guard.notify.channel import BACKOFF_LIMIT, ChannelState
from sensor_guard.notify.limits import Limits
from sensor_guard.notify.outcome import Reason, failure
from sensor_guard.notify.protocol import Receipt
from tests.fakes.twilio import LOGIN_PAGE, LOGIN_REDIRECT, LOSE_REPLY, NO_FAULT, RESET, error
from tests.notify.line import START, WIDE, Line, notifier, params, text


def always(fault, method="POST"):
    return lambda request: fault if request.method == method else None


# The channel's health


def test_a_text_is_accepted_and_its_arrival_is_learnt_within_fifteen_seconds(line):
    line.write(text())
    line.run(15 * SECOND + 1)
    assert line.told() == [("accepted", ""), ("delivered", "")]
    assert line.reports[0].receipt_id == line.reports[1].receipt_id


@pytest.mark.parametrize("fault", [error(401, 20003), error(403, 20403), error(400, 30002), error(400, 21606)])
def test_a_broken_channel_is_told_at_once_and_everything_waits(twilio, line, fault):
    twilio.choose = always(fault)
    line.write(*(text(f"p{number}") for number in range(20)))
    line.run(10 * MINUTE)

    assert line.down() == [True]
    assert {"pending"} == set(line.states())
    assert line.worker.status().state is ChannelState.DOWN
    # Only the try goes out, not every text at every try: the outbox would fill with attempts.
    assert line.leases < 80

    twilio.choose = always(None)
    line.settle()
    assert line.down() == [True, False]
    assert len(twilio.texts) == 20
    assert line.worker.status().state is ChannelState.UP


@pytest.mark.parametrize("fault", [LOGIN_PAGE, LOGIN_REDIRECT])
def test_a_login_page_of_the_network_is_no_success(twilio, line, fault):
    twilio.choose = lambda _request: fault
    line.write(text())
    line.run(10 * MINUTE)
    assert line.states() == ["ambiguous"]
    assert line.down() == [True]

    twilio.choose = always(None)
    line.settle()
    assert len(twilio.texts) == 1
    assert line.down() == [True, False]


@pytest.mark.parametrize("fault", [error(503), error(500), RESET])
def test_an_outage_is_told_after_a_minute_and_not_for_a_stumble(twilio, line, fault):
    twilio.script([fault, fault])
    line.write(text())
    line.settle()
    assert line.down() == [False]  # nothing was ever wrong, as far as anybody needs to know

    twilio.choose = lambda _request: fault
    line.write(text())
    line.run(50 * SECOND)
    assert line.down() == [False]
    line.run(MINUTE)
    assert line.down() == [False, True]

    twilio.choose = always(None)
    line.run(2 * BACKOFF_LIMIT)
    assert line.down() == [False, True, False]
    line.settle()
    assert len(twilio.texts) == 2


def test_after_an_outage_all_go_out_the_newest_urgent_one_first(twilio, line):
    twilio.choose = always(error(503))
    for number in range(6):
        line.write(
            text(f"p{number}", due_at=line.clock.at, code=f"W{number}"),
            text(f"p{number}", severity="critical", due_at=line.clock.at, code=f"C{number}"),
        )
        line.run(10 * MINUTE)
    assert twilio.texts == []

    twilio.choose = always(None)
    line.run(2 * MINUTE)
    codes = [one.body[-3:-1] for one in twilio.texts]
    # That some have been tried again and again in the meantime does not move them.
    assert codes == [f"{urgency}{number}" for urgency in "CW" for number in range(5, -1, -1)]


def test_retry_after_is_honoured(twilio, clock, line):
    twilio.script([error(429, 20429, Retry_After="90")])
    line.write(text())
    line.run(89 * SECOND)
    assert len(twilio.posts()) == 1
    line.run(2 * SECOND)
    assert len(twilio.posts()) == 2


def test_tries_during_an_outage_come_ever_rarer_up_to_half_a_minute(twilio, clock, line):
    twilio.choose = always(error(503))
    line.write(text())
    line.run(10 * MINUTE)
    at = [request.at for request in twilio.posts()]
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert SECOND <= gaps[0] <= 2 * SECOND
    assert BACKOFF_LIMIT // 2 <= gaps[-1] <= BACKOFF_LIMIT
    assert all(gap <= BACKOFF_LIMIT for gap in gaps)


def test_two_boxes_do_not_try_in_step(twilio, clock):
    gaps = set()
    for seed in range(8):
        line = Line(notifier(twilio), clock)
        line.worker._channel._jitter = random.Random(seed)
        twilio.script([error(503)])
        line.write(text())
        line.turn()
        gaps.add(line.reports[-1].retry_at - line.reports[-1].at)
    assert len(gaps) > 4


def test_a_critical_text_has_its_first_try_while_others_wait(twilio, clock, line):
    twilio.script([error(503)])
    line.write(text("p1", severity="critical"), text("p2", severity="critical"), text("p3"))
    line.lease()
    for _ in range(5):
        line.worker.step(clock.at)
    assert sorted(line.told()) == [("accepted", ""), ("pending", "unavailable"), ("pending", "unavailable")]
    assert len(twilio.posts()) == 2


def test_a_critical_text_in_doubt_is_settled_though_others_keep_failing(twilio, line):
    twilio.script([LOSE_REPLY])
    twilio.choose = always(error(503))
    line.write(text("p1", severity="critical"))
    line.turn()
    line.write(*(text(f"p{number}") for number in range(2, 60)))
    line.run(45 * SECOND)
    assert line.states()[0] in ("accepted", "delivered")
    assert len(twilio.texts) == 1


def test_there_is_no_room_while_the_channel_is_held(twilio, clock, line):
    assert line.worker.room(clock.at) == WIDE.waiting
    assert line.worker.room_at(clock.at) == clock.at
    twilio.script([error(503)])
    line.write(text())
    line.lease()
    line.worker.step(clock.at)
    assert line.worker.room(clock.at) == 0
    held_until = line.worker.room_at(clock.at)
    assert held_until > clock.at
    assert line.worker.room(held_until) == 1


def test_a_number_that_takes_no_texts_goes_to_the_next_person_and_harms_nobody_else(twilio, line):
    twilio.script([error(400, 21610)])
    line.write(text("p1"))
    line.run(MINUTE)
    line.write(text("p2"))
    line.settle()
    assert line.told()[0] == ("failed", "opted_out")
    assert line.states() == ["failed", "accepted"]
    assert line.down() == [False]


def test_a_provider_that_refuses_everybody_is_a_fault_though_each_refusal_looks_personal(twilio, line):
    twilio.choose = always(error(400, 29999))
    line.write(*(text(f"p{number}") for number in range(4)))
    line.run(MINUTE)
    assert line.states() == ["failed"] * 4
    assert line.down() == [False, True]
    assert line.faults[-1].detail == "refused:29999"

    twilio.choose = always(None)
    line.write(text("p9"))
    line.run(MINUTE)
    assert line.down() == [False, True, False]


def test_questions_that_are_answered_do_not_hide_that_no_text_goes_out(twilio, line):
    line.write(text("p1"))
    twilio.fate("+8613800000001", "sent")
    line.run(SECOND)
    twilio.choose = always(error(403, 20403))
    line.write(text("p2"))
    line.run(HOUR)
    assert line.down() == [False, True]


def test_a_fault_that_only_questions_showed_ends_when_they_are_answered(twilio, line):
    twilio.fate("+8613800000001", "sent")
    line.write(text("p1"))
    line.run(SECOND)
    twilio.choose = always(error(401, 20003), "GET")
    line.run(10 * MINUTE)
    assert line.down() == [False, True]
    twilio.choose = always(None)
    line.run(10 * MINUTE)
    assert line.down() == [False, True, False]


def test_somebody_who_mends_the_token_need_not_wait(twilio, clock, line):
    twilio.script([error(429, 20429, Retry_After="3600")])
    line.write(text())
    line.run(MINUTE)
    line.worker.resume()
    line.worker.step(clock.at)
    assert line.worker.room(clock.at) == 1


# Limits


def test_a_sender_sends_one_a_second_after_a_first_burst(twilio, clock):
    line = Line(notifier(twilio), clock, limits=Limits())
    line.write(*(text(f"p{number}") for number in range(20)))
    line.settle()
    at = [request.at - START for request in twilio.posts()]
    assert at[:5] == [0] * 5
    assert all(later - earlier >= SECOND for earlier, later in pairwise(at[4:]))
    assert 15 * SECOND <= at[-1] <= 16 * SECOND


def test_what_waits_for_the_pace_waits_in_the_outbox(twilio, clock):
    """There it can still be called back when somebody answers."""
    line = Line(notifier(twilio), clock, limits=Limits())
    line.write(*(text(f"p{number}") for number in range(50)))
    line.turn()
    assert line.states().count("sending") <= Limits().waiting
    assert line.states().count("pending") >= 45


def test_a_critical_text_overtakes_what_waits(twilio, clock):
    line = Line(notifier(twilio), clock, limits=Limits())
    line.write(*(text(f"p{number}") for number in range(20)))
    line.run(3 * SECOND)
    line.write(text("p77", severity="critical"))
    asked_at = clock.at
    line.run(3 * SECOND)
    call = next(request for request in twilio.posts() if request.get("To") == "+8613800000077")
    assert call.at - asked_at <= 2 * SECOND


def test_the_seventh_text_of_a_day_goes_to_the_next_person(twilio, clock):
    line = Line(notifier(twilio), clock, limits=Limits())
    for _ in range(7):
        line.write(text("p1"))
        line.run(MINUTE)
    assert line.states() == ["delivered"] * 6 + ["failed"]
    assert ("failed", "over_budget") in line.told()

    line.run(DAY)
    line.write(text("p1"))
    line.run(MINUTE)
    assert line.states()[-1] == "delivered"


def test_life_at_stake_is_not_held_back_by_the_days_count(twilio, clock):
    line = Line(notifier(twilio), clock, limits=Limits())
    for _ in range(61):
        line.write(text("p1", severity="critical"))
        line.run(MINUTE)
    assert line.states() == ["delivered"] * 60 + ["failed"]


def test_news_of_an_answer_leaves_room_for_the_next_alarm(twilio, clock):
    line = Line(notifier(twilio), clock, limits=Limits())
    for kind in (NotificationKind.CLOSED, NotificationKind.STAND_DOWN) * 3:
        line.write(text("p1", kind=kind))
        line.run(MINUTE)
    line.write(text("p1"), text("p1"))
    line.run(MINUTE)
    assert line.states() == ["delivered"] * 4 + ["failed"] * 2 + ["delivered"] * 2


def test_a_text_that_is_sent_again_counts_once(twilio, clock):
    line = Line(notifier(twilio), clock, limits=Limits())
    twilio.script([error(503), error(503), LOSE_REPLY, error(500)])
    line.write(text("p1"))
    line.run(5 * MINUTE)
    for _ in range(5):
        line.write(text("p1"))
        line.run(MINUTE)
    assert line.states() == ["delivered"] * 6


def test_texts_before_a_restart_count_into_the_day(twilio, clock):
    line = Line(notifier(twilio), clock, limits=Limits())
    for hour in range(6):
        line.worker.remember("p1", START - hour * HOUR)
    line.write(text("p1"))
    line.run(SECOND)
    assert line.told() == [("failed", "over_budget")]


# Receipts


def test_receipts_are_asked_for_ever_more_rarely_for_a_day(twilio, clock, line):
    twilio.fate("+8613800000001", "sent")
    line.write(text("p1"))
    line.run(25 * HOUR)
    at = [request.at - START for request in twilio.gets()]
    assert at[:6] == [15 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 7 * MINUTE, 12 * MINUTE]
    assert DAY - 5 * MINUTE <= at[-1] <= DAY
    assert line.told() == [("accepted", ""), ("accepted", "undelivered_2min"), ("accepted", "no_receipt")]
    assert line.reports[1].at == START + 2 * MINUTE


def test_a_late_arrival_is_still_learnt(twilio, clock, line):
    twilio.fate("+8613800000001", "sent")
    line.write(text("p1"))
    line.run(HOUR)
    twilio.texts[0].fate = "delivered"
    line.run(5 * MINUTE)
    assert line.told()[-2:] == [("accepted", "undelivered_2min"), ("delivered", "")]


def test_a_handset_that_is_off_sends_the_ladder_on_at_once(twilio, line):
    twilio.fate("+8613800000001", "undelivered", 30003)
    line.write(text("p1"))
    line.run(20 * SECOND)
    assert line.told() == [("accepted", ""), ("failed", "handset_off")]


def test_a_text_that_the_network_lost_is_sent_three_times_in_all(twilio, line):
    twilio.fate("+8613800000001", "undelivered", 30008)
    line.write(text("p1"))
    line.run(HOUR)
    assert line.told() == [("accepted", ""), ("pending", "delivery_failed")] * 2 + [
        ("accepted", ""),
        ("failed", "delivery_failed"),
    ]
    assert len(twilio.texts) == 3


def test_an_account_without_funds_shows_in_a_receipt(twilio, line):
    numbers = [f"+861380000000{number}" for number in range(1, 9)]
    for number in numbers:
        twilio.fate(number, "failed", 30002)
    line.write(text("p1"))
    line.run(15 * SECOND + 1)
    assert line.told() == [("accepted", ""), ("pending", "account_suspended")]
    line.write(*(text(f"p{number}") for number in range(2, 9)))
    line.run(10 * MINUTE)
    assert line.down() == [False, True]  # that Twilio goes on accepting texts does not end the fault
    assert len(twilio.texts) < 20

    for number in numbers:
        twilio.fate(number, "delivered")
    line.run(15 * MINUTE)
    assert line.down() == [False, True, False]
    assert line.states() == ["delivered"] * 8


def test_not_to_know_is_not_to_have_arrived(twilio, line):
    twilio.choose = always(error(503), "GET")
    line.write(text("p1"))
    line.run(3 * MINUTE)
    assert line.told()[:2] == [("accepted", ""), ("accepted", "undelivered_2min")]


def test_a_restart_goes_on_where_it_was(twilio, clock, line):
    twilio.fate("+8613800000001", "sent")
    line.write(text("p1"), text("p2"))
    line.run(40 * SECOND)
    assert sorted(line.states()) == ["accepted", "delivered"]
    twilio.texts[0].fate = twilio.texts[1].fate = "delivered"
    line.restart()
    line.run(SECOND)
    assert line.states() == ["delivered"] * 2
    assert len(twilio.texts) == 2


# A clock that is set, contacts that change, plug-ins that break


@pytest.mark.parametrize("offset", [-2 * HOUR, 2 * HOUR, -30 * DAY, 30 * DAY])
def test_a_clock_that_is_set_moves_every_wait_with_it(twilio, clock, line, offset):
    twilio.clock = lambda: clock.at - moved[0]  # theirs was right all the time, or wrong: it does not move with ours
    moved = [0]
    twilio.fate("+8613800000002", "sent")
    line.worker.remember("p1", START)
    line.worker.remember("p1", START - HOUR)
    twilio.script([NO_FAULT, LOSE_REPLY, error(503)])
    line.write(text("p3"))
    line.turn()
    line.write(text("p1"))
    line.turn()
    line.write(text("p2"))
    line.run(3 * SECOND)
    clock.at, moved[0] = clock.at + offset, offset
    line.worker.shift(offset)
    line.rows = {key: replace(row, due_at=row.due_at + offset) for key, row in line.rows.items()}
    line.run(3 * MINUTE)

    assert len(twilio.texts) == 3
    assert line.states() == ["delivered", "delivered", "accepted"]
    assert line.told()[-1] == ("accepted", "undelivered_2min")


def test_somebody_who_is_gone_is_a_failed_text(line):
    line.names.gone.add("p1")
    line.write(text("p1"))
    line.run(SECOND)
    assert line.told() == [("failed", "no_contact")]


def test_a_number_that_was_mended_counts_from_the_next_text_on(twilio, line):
    line.write(text("p1"))
    line.run(SECOND)
    names = type(line.names)()
    names.contact("p1").phone = "+8613911111111"
    line.worker.use(names)
    line.write(text("p1"))
    line.run(SECOND)
    assert [one.to for one in twilio.texts] == ["+8613800000001", "+8613911111111"]


class Broken:
    """A plug-in with a fault of its own."""

    def __init__(self, fault):
        self.fault = fault
        self.sent = []

    def send(self, notification, contact, words, /):
        if self.fault:
            raise self.fault
        self.sent.append(notification)
        return Receipt("1", NotificationState.DELIVERED)

    def receipt(self, receipt_id, /):
        raise self.fault

    def find(self, contact, codes, since, /):
        if self.fault:
            raise self.fault
        return {}

    def close(self):
        pass


@pytest.mark.parametrize("fault", [error(403, 20403), error(400, 20001)])
def test_a_provider_that_will_not_say_what_it_was_sent_is_sent_it_again_at_last(twilio, line, fault):
    """An API key that may send and not list: twice is better than never."""
    twilio.script([error(500, 20500)])
    twilio.choose = lambda request: fault if request.get("To") and request.method == "GET" else None
    line.write(text())
    line.run(10 * MINUTE)
    assert line.states() == ["ambiguous"]
    line.run(2 * MINUTE)
    assert len(twilio.texts) == 1


def test_a_receipt_that_is_not_there_is_asked_for_again(twilio, line):
    line.write(text())
    line.run(SECOND)
    lost = twilio.texts.pop()
    line.run(20 * SECOND)
    assert line.down() == [False]
    twilio.texts.append(lost)
    line.run(20 * SECOND)
    assert line.states() == ["delivered"]


def test_a_fault_in_a_plug_in_is_doubt_and_does_not_end_the_worker(clock):
    channel = Broken(ZeroDivisionError("canary +8613800000001"))
    line = Line(channel, clock)
    line.write(text())
    line.run(5 * MINUTE)
    assert line.states() == ["ambiguous"]
    assert line.down() == [True]
    channel.fault = None
    line.settle()
    assert line.states() == ["delivered"]


def test_a_plug_in_may_have_words_of_its_own(clock):
    line = Line(Broken(NotifyError("no_such_pager", retryable=False)), clock)
    line.write(text())
    line.run(SECOND)
    assert line.told() == [("failed", "no_such_pager")]


def test_a_plug_in_that_breaks_over_a_receipt_is_asked_again(clock):
    channel = Broken(None)
    channel.send = lambda *_: Receipt("1")
    channel.fault = ZeroDivisionError()
    line = Line(channel, clock)
    line.write(text())
    line.run(3 * MINUTE)
    assert line.told() == [("accepted", ""), ("accepted", "undelivered_2min")]
    assert line.down() == [False, True]


def test_a_fault_in_a_name_does_not_keep_an_alarm_from_being_sent(twilio, line):
    def label(_home_id):
        raise KeyError("h1")

    line.names.label = label
    one = text(params=params(since_ms=10**14))
    line.write(one)
    line.run(SECOND)
    assert twilio.texts[0].body == f"{one.home_id} electricity_low [{one.code}]"


def test_a_step_says_how_long_nothing_is_to_do(twilio, clock, line):
    assert line.worker.step(clock.at) == 60.0
    line.write(text())
    line.lease()
    assert line.worker.step(clock.at) == 0.0
    assert line.worker.step(clock.at) == 15.0


def test_the_status_counts_what_is_where(twilio, clock, line):
    twilio.fate("+8613800000001", "sent")
    twilio.script([error(200), LOSE_REPLY][1:])
    line.write(text("p2", severity="critical"))
    line.run(SECOND)
    line.write(text("p1"))
    line.run(3 * SECOND)
    status = line.worker.status()
    assert (status.waiting_count, status.ambiguous_count, status.open_count) == (0, 1, 1)
    assert status.state is ChannelState.UP


def test_every_error_of_a_channel_says_what_to_do_about_the_text():
    assert {failure(reason).reason for reason in Reason} == {str(reason) for reason in Reason}
