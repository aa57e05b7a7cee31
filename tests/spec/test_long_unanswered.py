"""An alarm that nobody answers for weeks: everybody is asked again and again, and its home does not grow by it."""

from sensor_guard.engine import snapshot
from sensor_guard.engine.escalation import ASKED_LIMIT
from sensor_guard.model import DeliveryReport, NotificationState

PEOPLE = ("worker1", "family1", "boss1")


def climb_of(home):
    (climb,) = home.engine.homes["h1"].cases.climbs.values()
    return climb


def test_the_memory_of_who_was_asked_is_bounded(home_with):
    home = home_with("panic").reads(panic=1).passes("48h")
    asked = climb_of(home).asked
    assert len(home.notifications) > 3 * 200
    assert len(asked) <= ASKED_LIMIT * len(PEOPLE)
    # The newest of each person's, and nobody is forgotten: whoever was asked is reminded.
    newest = [text for text in home.notifications if text.recipient_id == "boss1"][-ASKED_LIMIT:]
    assert {text.notification_id for text in newest} == {nid for nid, (who, _, _) in asked.items() if who == "boss1"}
    assert {text.kind for text in home.notifications[-3:]} == {"reminder"}
    assert len(str(snapshot.save_home(home.engine.homes["h1"]))) < 30_000


def test_an_answer_takes_back_every_call_the_forgotten_ones_too(home_with):
    home = home_with("panic").reads(panic=1).passes("48h")
    home.acknowledge("panic")
    assert {text.notification_id for text in home.notifications} == set(home.cancelled)
    assert len(home.cancelled) == len(set(home.cancelled))


def test_what_is_forgotten_is_taken_back_when_a_newer_call_to_the_same_person_is_there(home_with):
    home = home_with("panic").reads(panic=1).passes("48h")
    for notification_id in home.cancelled:
        number = int(notification_id.rpartition(".")[2])
        (person,) = {text.recipient_id for text in home.notifications if text.notification_id == notification_id}
        newer = [text for text in home.notifications if text.recipient_id == person]
        assert sum(int(text.notification_id.rpartition(".")[2]) > number for text in newer) >= ASKED_LIMIT


def test_a_report_on_a_forgotten_text_changes_nothing(home_with):
    home = home_with("panic").reads(panic=1).passes("48h")
    first = home.notifications[0].notification_id
    assert first not in climb_of(home).asked
    before = climb_of(home).due_at
    home.feed(DeliveryReport(first, NotificationState.FAILED, home.clock.at))
    assert climb_of(home).due_at == before
