"""The link's story without a broker: when LinkUp and Drained come, what counts as blind, which faults begin and end."""

import pytest

from sensor_guard.inbox import BEST_EFFORT_LIMIT
from sensor_guard.model import MINUTE, Drained, Fault, LinkLost, LinkUp, Message
from sensor_guard.mqtt.link import (
    DRAIN_WITHIN,
    DROPPED_FOR,
    GRACE,
    HELD_LIMIT,
    LEARN_WITHIN,
    DropWatch,
    Link,
    Outages,
    Stage,
)

NOW = 1_772_323_200_000


def message(n, qos=1):
    return Message("guard/s/h1/power", str(n).encode(), qos, False, False, n, 1, NOW)


def connected(link, *, session_present=True, uptime=3_600, subscribed=True):
    link.connected(100.0, session_present=session_present)
    if subscribed:
        link.subscribed()
    link.uptime = uptime
    return link


def tick(link, now=NOW, real=100.0, *, settled=True, drained=True):
    return link.tick(now, real, urgent_settled=settled, urgent_drained=drained)


@pytest.fixture
def link():
    """Lost for ten minutes."""
    return Link(NOW - 10 * MINUTE, factor=1.0)


def test_a_gap_that_broker_and_session_outlived_is_not_blind(link):
    assert tick(connected(link)) == [LinkUp(NOW, True, None)]


@pytest.mark.parametrize(
    ("session_present", "uptime"), [(False, 3_600), (True, 599), (True, 0)], ids=["session", "restart", "new"]
)
def test_a_gap_that_one_of_them_did_not_outlive_is_blind(link, session_present, uptime):
    connected(link, session_present=session_present, uptime=uptime)
    assert tick(link) == [LinkUp(NOW, session_present, NOW - 10 * MINUTE)]


def test_on_a_fast_clock_a_second_of_the_broker_is_worth_more(link):
    link._factor = 60.0
    assert tick(connected(link, uptime=10)) == [LinkUp(NOW, True, None)]


def test_messages_are_held_in_order_until_the_link_is_up(link):
    connected(link, subscribed=False)
    assert link.message(message(1)) == []
    assert link.message(message(2)) == []
    assert tick(link) == []
    link.subscribed()
    assert tick(link) == [LinkUp(NOW, True, None), message(1), message(2)]
    assert link.message(message(3)) == [message(3)]


@pytest.mark.parametrize(("uptime", "settled"), [(None, True), (3_600, False)], ids=["uptime", "urgent"])
def test_what_is_not_learnt_in_two_seconds_is_done_without(link, uptime, settled):
    connected(link, uptime=uptime)
    assert tick(link, real=100.0 + LEARN_WITHIN - 0.01, settled=settled) == []
    up = tick(link, real=100.0 + LEARN_WITHIN, settled=settled)
    assert up == [LinkUp(NOW, True, None if uptime else NOW - 10 * MINUTE)]


def test_no_time_out_brings_a_link_up_that_is_not_subscribed(link):
    connected(link, subscribed=False)
    assert tick(link, real=1_000.0) == []


def test_drained_is_when_both_canaries_are_back(link):
    tick(connected(link))
    assert tick(link) == []
    link.canary()
    assert tick(link, drained=False) == []
    assert tick(link) == [Drained(NOW)]
    assert tick(link) == []
    assert link.stage is Stage.DRAINED


def test_drained_is_after_a_minute_all_the_same(link):
    tick(connected(link))
    assert tick(link, real=100.0 + DRAIN_WITHIN - 0.01, drained=False) == []
    assert tick(link, real=100.0 + DRAIN_WITHIN, drained=False) == [Drained(NOW)]


def test_a_connection_lost_before_it_was_up_changes_nothing_and_loses_no_message(link):
    connected(link, subscribed=False)
    link.message(message(1))
    assert link.lost(NOW) == [message(1)]
    assert tick(connected(link, uptime=0), now=NOW + 1) == [LinkUp(NOW + 1, True, NOW - 10 * MINUTE)]


def test_a_link_lost_again_counts_from_there(link):
    tick(connected(link))
    assert link.lost(NOW + 5) == [LinkLost(NOW + 5)]
    assert link.lost(NOW + 6) == []
    assert tick(connected(link, uptime=0), now=NOW + 9) == [LinkUp(NOW + 9, True, NOW + 5)]


@pytest.mark.parametrize(("session_present", "uptime"), [(False, 3_600), (True, 0)], ids=["session", "restart"])
def test_a_broker_without_memory_had_readings_that_were_not_handed_over_yet(link, session_present, uptime):
    tick(connected(link))
    link.lost(NOW + 5, NOW - 7)
    connected(link, session_present=session_present, uptime=uptime)
    assert tick(link, now=NOW + 9) == [LinkUp(NOW + 9, session_present, NOW - 7)]


def test_what_a_broker_that_lived_on_had_not_handed_over_comes_now(link):
    tick(connected(link))
    link.lost(NOW + 5, NOW - 7)
    assert tick(connected(link), now=NOW + 9) == [LinkUp(NOW + 9, True, None)]


def test_what_is_proven_after_the_connection_is_gone_says_nothing_of_the_time_before(link):
    tick(connected(link))
    link.lost(NOW + 5, NOW - 7)
    link.lost(NOW + 6, NOW + 6)
    assert tick(connected(link, uptime=0), now=NOW + 9) == [LinkUp(NOW + 9, True, NOW - 7)]


def test_at_a_start_nothing_is_vouched_for_that_the_last_process_has_not_proven():
    link = Link(NOW - MINUTE, 1.0, NOW - 2 * MINUTE)
    assert link.begin() == LinkLost(NOW - MINUTE)
    assert tick(connected(link, uptime=0)) == [LinkUp(NOW, True, NOW - 2 * MINUTE)]


def test_a_backlog_before_the_answers_is_let_through_and_the_gap_counts_as_blind(link):
    """The answers wait behind it, and more of it comes only when this much is acknowledged."""
    connected(link, subscribed=False, uptime=None)
    for n in range(HELD_LIMIT - 1):
        link.message(message(n))
    assert tick(link) == []
    link.message(message(HELD_LIMIT))
    up, *held = tick(link)
    assert up == LinkUp(NOW, True, NOW - 10 * MINUTE)
    assert len(held) == HELD_LIMIT
    link.subscribed()
    link.canary()
    assert tick(link) == [Drained(NOW)]


def test_a_hold_begins_empty_with_the_next_connection(link):
    for _ in range(3):
        connected(link, subscribed=False)
        for n in range(HELD_LIMIT // 2):
            link.message(message(n))
        assert tick(link) == []
        assert len(link.lost(NOW)) == HELD_LIMIT // 2


def test_a_flood_of_best_effort_messages_is_not_held_without_limit(link):
    connected(link, subscribed=False)
    for n in range(BEST_EFFORT_LIMIT + 5):
        link.message(message(n, qos=0))
    link.message(message(1))
    link.subscribed()
    assert len(tick(link)) == 1 + BEST_EFFORT_LIMIT + 1
    assert link.dropped_count == 5


# -- dropped messages --------------------------------------------------------------------------------------------------


def dropped(active, detail=""):
    return Fault("broker_dropped", active, NOW, detail)


def test_the_first_count_is_no_fault_and_is_remembered():
    watch = DropWatch()
    assert watch.settle(NOW, 0.0) == ([], False)
    watch.seen(7)
    assert watch.settle(NOW, 0.0) == ([], True)
    assert watch.settle(NOW, 0.0) == ([], False)


def test_a_count_that_grew_is_a_fault_until_it_has_been_still_for_a_minute():
    watch = DropWatch()
    watch.seen(7)
    watch.settle(NOW, 0.0)
    watch.seen(9)
    assert watch.settle(NOW, 0.0) == ([dropped(True, "2 messages")], True)
    watch.seen(10)
    assert watch.settle(NOW, 30.0) == ([dropped(True, "1 messages")], True)
    assert watch.settle(NOW, DROPPED_FOR) == ([], False)
    assert watch.settle(NOW, 30.0 + DROPPED_FOR) == ([dropped(False)], False)


def test_a_count_that_fell_is_a_new_brokers():
    watch = DropWatch()
    watch.remembered(7)
    watch.seen(0)
    assert watch.settle(NOW, 0.0) == ([], True)
    watch.seen(3)
    assert watch.settle(NOW, 0.0) == ([dropped(True, "3 messages")], True)
    watch.seen(2)
    assert watch.settle(NOW, 0.0) == ([dropped(True, "2 messages")], True)


def test_what_the_broker_remembers_counts_at_the_start_only():
    watch = DropWatch()
    watch.remembered(None)
    watch.remembered(3)
    watch.seen(5)
    assert watch.settle(NOW, 0.0) == ([dropped(True, "2 messages")], True)
    watch.remembered(3)
    watch.seen(None)
    assert watch.settle(NOW, 0.0) == ([], False)


# -- outages -----------------------------------------------------------------------------------------------------------


def test_a_connection_that_comes_back_at_once_was_no_outage():
    outages = Outages()
    outages.gone("bulk", NOW, 0.0, "why")
    assert outages.settle(NOW, GRACE - 0.01) == []
    outages.back("bulk")
    assert outages.settle(NOW, GRACE) == []


def test_an_outage_counts_from_its_beginning_and_ends_with_the_last_connection():
    outages = Outages()
    outages.gone("urgent", NOW + 1, 1.0, "why")
    outages.gone("bulk", NOW, 0.0, "why")
    outages.gone("bulk", NOW + 500, 0.5, "now another reason")
    assert outages.settle(NOW + 9, GRACE) == [
        Fault("broker_offline", True, NOW, "bulk: now another reason; urgent: why")
    ]
    assert outages.settle(NOW + 9, GRACE + 1) == []
    outages.back("bulk")
    assert outages.settle(NOW + 9, GRACE + 1) == []
    outages.back("urgent")
    assert outages.settle(NOW + 10, GRACE + 1) == [Fault("broker_offline", False, NOW + 10)]


def test_an_outage_that_the_last_process_told_of_ends_with_the_first_connection():
    outages = Outages(is_told=True)
    outages.gone("bulk", NOW, 0.0, "not yet connected")
    assert outages.settle(NOW, GRACE + 1) == []
    outages.back("bulk")
    assert outages.settle(NOW + 9, GRACE + 2) == [Fault("broker_offline", False, NOW + 9)]
    assert outages.settle(NOW + 10, GRACE + 3) == []


def test_readings_that_were_left_in_the_broker_are_drained_anew(link):
    connected(link)
    link.canary()
    assert [type(event) for event in tick(link)] == [LinkUp, Drained]

    link.again(200.0)

    assert link.stage is Stage.DRAINING
    assert tick(link, real=201.0) == []
    link.canary()
    assert tick(link, NOW + 1, real=202.0, drained=False) == []
    assert tick(link, NOW + 2, real=203.0) == [Drained(NOW + 2)]
    link.again(300.0)
    assert tick(link, NOW + 3, real=300.0 + DRAIN_WITHIN) == [Drained(NOW + 3)]


def test_a_connection_that_is_gone_says_so_itself(link):
    link.again(200.0)
    assert link.stage is Stage.LOST
