"""The one door to the engine's thread."""

import threading

import pytest

from sensor_guard.inbox import BATCH_LIMIT, BEST_EFFORT_LIMIT, COMPANY, Inbox
from sensor_guard.model import DeliveryReport, Drained, LinkLost, Message

NOTHING = 0.0
LONG = 60.0


def message(n, *, qos=1):
    return Message("t", b"", qos, False, False, n, 0, 0)


@pytest.fixture
def inbox():
    return Inbox(linger=0.0)


def test_the_urgent_lane_is_emptied_alone_and_first(inbox):
    inbox.put(message(1))
    inbox.put(message(2), urgent=True)
    inbox.put(message(3))
    inbox.put(message(4), urgent=True)

    assert [m.packet_id for m in inbox.take(NOTHING)] == [2, 4]
    assert [m.packet_id for m in inbox.take(NOTHING)] == [1, 3]
    assert inbox.take(NOTHING) == []


def test_a_batch_is_at_most_its_limit_in_the_order_of_arrival(inbox):
    for n in range(BATCH_LIMIT + 10):
        inbox.put(message(n))

    assert [m.packet_id for m in inbox.take(NOTHING)] == list(range(BATCH_LIMIT))
    assert inbox.depth() == 10
    assert [m.packet_id for m in inbox.take(NOTHING)] == list(range(BATCH_LIMIT, BATCH_LIMIT + 10))


def test_of_too_many_only_best_effort_messages_are_dropped(inbox):
    for n in range(BEST_EFFORT_LIMIT):
        assert inbox.put(message(n, qos=0))

    assert not inbox.put(message(-1, qos=0))
    assert inbox.put(message(-2, qos=1))
    assert inbox.put(message(-3, qos=0), urgent=True)
    assert inbox.put(Drained(0))
    assert inbox.dropped_count == 1
    assert inbox.depth() == BEST_EFFORT_LIMIT + 3


def taken_by_a_thread(inbox, timeout=LONG):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(inbox.take(timeout)))
    thread.start()
    return thread, taken


@pytest.mark.parametrize("wake", ["urgent", "half full", "close"])
def test_a_lingering_batch_is_ended_by_urgency_by_half_a_lane_and_by_the_end(wake):
    inbox = Inbox(linger=LONG, linger_count=3)
    inbox.put(message(1))
    thread, taken = taken_by_a_thread(inbox)

    if wake == "urgent":
        inbox.put(message(9), urgent=True)
    elif wake == "half full":
        inbox.put(message(2))
        inbox.put(message(3))
    else:
        inbox.close()
    thread.join(LONG)

    expected = {"urgent": [9], "half full": [1, 2, 3], "close": [1]}[wake]
    assert [m.packet_id for m in taken[0]] == expected


def test_a_lane_that_has_stopped_growing_is_taken_and_its_size_is_remembered_as_the_window():
    """A broker with a window of 20 says nothing more before it is acknowledged: to linger is to stand still."""
    inbox = Inbox(linger=LONG)
    for n in range(COMPANY * 2):
        inbox.put(message(n))
    thread, taken = taken_by_a_thread(inbox)
    thread.join(LONG)
    assert [m.packet_id for m in taken[0]] == list(range(COMPANY * 2))

    thread, taken = taken_by_a_thread(inbox)
    for n in range(COMPANY * 2):
        inbox.put(message(n))
    thread.join(LONG)
    assert len(taken[0]) >= COMPANY


def test_few_messages_wait_for_the_whole_linger():
    inbox = Inbox(linger=LONG)
    for n in range(COMPANY - 1):
        inbox.put(message(n))
    thread, taken = taken_by_a_thread(inbox)
    thread.join(0.1)
    assert thread.is_alive()
    inbox.close()
    thread.join(LONG)
    assert len(taken[0]) == COMPANY - 1


def test_the_first_message_ends_the_wait(inbox):
    thread, taken = taken_by_a_thread(inbox)
    inbox.put(message(1))
    thread.join(LONG)

    assert [m.packet_id for m in taken[0]] == [1]


def test_after_close_nothing_waits_and_nothing_is_lost(inbox):
    inbox.put(message(1))
    inbox.close()

    assert [m.packet_id for m in inbox.take(LONG)] == [1]
    assert inbox.take(LONG) == []


# -- while the disk takes less than everything ------------------------------------------------------------------------


def test_only_the_urgent_lane_is_taken_while_nothing_can_be_stored(inbox):
    inbox.put(message(1))
    inbox.put(message(2), urgent=True)

    assert [m.packet_id for m in inbox.take_urgent()] == [2]
    assert inbox.take_urgent() == []
    assert inbox.depth() == 1


def test_readings_and_the_links_story_stay_in_their_order_while_there_is_no_room_for_them(inbox):
    report = DeliveryReport("h1.panic.x.1", "delivered", 0)
    for event in (message(1), LinkLost(0), report, message(3), Drained(1)):
        inbox.put(event)
    inbox.put(message(2), urgent=True)

    assert inbox.take_small(NOTHING) == [message(2), report]
    assert inbox.take_small(NOTHING) == []
    assert inbox.take(NOTHING) == [message(1), LinkLost(0), message(3), Drained(1)]


def test_what_is_small_ends_the_wait_for_it(inbox):
    threading.Timer(0.05, lambda: inbox.put(DeliveryReport("n", "delivered", 0))).start()
    assert len(inbox.take_small(LONG)) == 1


def test_a_word_that_all_has_come_is_taken_back(inbox):
    for event in (Drained(1), message(1), Drained(2)):
        inbox.put(event)
    inbox.forget_drained()
    assert inbox.take(NOTHING) == [message(1)]
