"""What people do about an alarm, and who is told when."""

from sensor_guard.engine.alarm import CONDITION_TABLE, RESPONSE_TABLE
from sensor_guard.model import CommandKind, DeliveryReport, Response, Truth
from sensor_guard.testing import Home


def report(home: Home, index: int, state: str, reason: str = "") -> None:
    home.feed(DeliveryReport(home.notifications[index].notification_id, state, home.clock.at, reason))


def low(home_with) -> Home:
    return home_with("electricity_low").reads(power_w=3, every="5m").passes("12h")


def test_the_ladder_climbs_until_somebody_answers(home_with):
    home = low(home_with)
    assert home.texts() == [("worker1", "alarm")]
    home.passes("14m")
    assert len(home.texts()) == 1
    home.passes("1m")
    assert home.texts()[1:] == [("family1", "alarm")]
    home.passes("1h")
    assert home.texts()[2:] == [("worker1", "reminder"), ("family1", "reminder")]
    home.acknowledge("electricity_low")
    home.passes("10h")
    assert len(home.texts()) == 4


def test_a_condition_that_clears_does_not_stop_the_ladder(home_with):
    home = low(home_with).reads(power_w=1000, every="5m").passes("2h")
    assert home.alarms() == [("electricity_low", "cleared")]
    assert home.texts()[:2] == [("worker1", "alarm"), ("family1", "alarm")]


def test_a_text_that_fails_sends_the_ladder_to_the_next_person_at_once(home_with):
    home = low(home_with)
    report(home, 0, "failed", "21211")
    assert home.texts() == [("worker1", "alarm"), ("family1", "alarm")]
    report(home, 0, "failed", "21211")
    assert len(home.texts()) == 2


def test_a_text_not_delivered_in_two_minutes_does_the_same(home_with):
    home = low(home_with)
    report(home, 0, "accepted")
    home.passes("2m")
    report(home, 0, "accepted", "undelivered_2min")
    assert home.texts() == [("worker1", "alarm"), ("family1", "alarm")]


def test_whoever_was_told_may_stand_down_and_hears_how_it_ended(home_with):
    home = low(home_with).passes("15m")
    report(home, 0, "delivered")
    report(home, 1, "delivered")
    home.acknowledge("electricity_low", by="family1")
    assert home.texts()[2:] == [("worker1", "stand_down")]
    home.close("electricity_low", "fine", by="family1")
    assert home.texts()[3:] == [("worker1", "closed")]
    assert ("outcome", "fine") in home.notifications[-1].params


def test_who_was_never_reached_is_not_told_to_stand_down_and_waiting_texts_are_cancelled(home_with):
    home = low(home_with)
    home.acknowledge("electricity_low", by="boss1")
    assert home.texts() == [("worker1", "alarm")]
    assert home.cancelled == [home.notifications[0].notification_id]


def test_a_text_that_went_out_while_somebody_answered_is_followed_by_a_stand_down(home_with):
    home = low(home_with)
    home.acknowledge("electricity_low", by="boss1")
    report(home, 0, "accepted")
    assert home.texts()[1:] == [("worker1", "stand_down")]


def test_an_answered_alarm_that_nobody_closes_comes_back(home_with):
    home = low(home_with)
    report(home, 0, "accepted")
    home.acknowledge("electricity_low")
    home.passes("11h59m")
    assert len(home.texts()) == 1
    home.passes("1m")
    assert home.texts()[1:] == [("worker1", "unclosed")]


def test_an_alarm_can_be_answered_once_and_closed_once(home_with):
    home = low(home_with)
    alarm_id = home.open_alarm("electricity_low").alarm_id
    assert home.acknowledge("electricity_low").refused == []
    assert "already answered by worker1" in home.acknowledge("electricity_low").refused[0][1]
    assert "needs an outcome" in home.command(CommandKind.CLOSE, alarm_id).refused[0][1]
    home.close("electricity_low")
    assert "was closed by worker1" in home.command(CommandKind.CLOSE, alarm_id, outcome="fine").refused[0][1]
    assert "no open alarm" in home.command(CommandKind.CLOSE, "h1.panic.20200101T000000Z", outcome="fine").refused[0][1]
    assert "no home" in home.command(CommandKind.AWAY, "h9").refused[0][1]


def test_nothing_leads_out_of_closed_and_a_clear_alarm_stays_clear_when_unseen():
    assert not [step for step in RESPONSE_TABLE if step[0] is Response.CLOSED]
    assert (Truth.FALSE, "unseen") not in CONDITION_TABLE
    assert all(after is not Truth.FALSE for (_, happening), after in CONDITION_TABLE.items() if happening == "unseen")


def test_only_a_close_ends_an_alarm(home):
    """Promise 3: days of normal life, of silence, and every other command leave it open."""
    home.reads(power_w=3, every="5m", until="12h").passes("13h").reads(power_w=200, every="5m", until="2d").passes("3d")
    home.away("2h")
    home.passes("4h")
    home.back()
    home.command(CommandKind.MUTE, "electricity_low", until="1h")
    home.passes("5d")
    assert ("electricity_low", "cleared") in home.alarms()


def test_away_suspends_and_coming_back_starts_afresh(home_with):
    home = home_with("electricity_low").reads(power_w=3, every="5m").passes("11h")
    home.away(until="3d")
    home.passes("2d")
    assert home.alarms() == []
    home.back()
    assert home.passes("11h59m").alarms() == []
    assert home.passes("1m").alarms() == [("electricity_low", "active")]


def test_away_ends_by_itself(home_with):
    home = home_with("electricity_low").reads(power_w=3, every="5m")
    home.away(until="1d")
    assert home.passes("35h59m").alarms() == []
    assert home.passes("1m").raised() == [("electricity_low", "36h0m")]


def test_smoke_and_panic_do_not_care_about_away_or_mute(home):
    home.away(until="3d")
    for rule_id in ("smoke", "panic"):
        assert "can never be muted" in home.command(CommandKind.MUTE, rule_id, until="1h").refused[0][1]
    home.reads(smoke=1).reads(panic=1)
    assert [rule for rule, _ in home.alarms()] == ["smoke", "panic"]


def test_a_mute_must_end_and_what_it_held_back_rises_when_it_does(home_with):
    home = home_with("electricity_low").reads(power_w=3, every="5m").passes("11h")
    assert "must end" in home.command(CommandKind.MUTE, "electricity_low").refused[0][1]
    assert home.command(CommandKind.MUTE, "electricity_low", until="6h", note="meter is being changed").refused == []
    assert home.passes("5h59m").alarms() == []
    assert home.passes("1m").raised() == [("electricity_low", "17h0m")]


def test_unmute_ends_a_mute_early(home_with):
    home = home_with("electricity_low").reads(power_w=3, every="5m").passes("11h")
    home.command(CommandKind.MUTE, "electricity_low", until="6h")
    home.passes("2h")
    home.command(CommandKind.UNMUTE, "electricity_low")
    assert home.raised() == [("electricity_low", "13h0m")]


def test_test_mode_texts_nobody_and_ends_its_alarms(home):
    home.command(CommandKind.TEST_MODE, until="15m", by="keeper1")
    home.reads(panic=1).reads(smoke=1).reads(smoke=0)
    assert [rule for rule, _ in home.alarms()] == ["panic", "smoke"]
    home.passes("15m")
    assert home.alarms() == []
    assert home.texts() == []
    assert {t.note for t in home.transitions if t.reason == "closed"} == {"test: test mode ended"}


def test_smoke_that_is_still_there_after_the_test_is_real(home):
    home.command(CommandKind.TEST_MODE, until="15m")
    home.reads(smoke=1).passes("16m")
    assert home.alarms() == [("smoke", "active")]
    assert home.texts() == [("worker1", "alarm"), ("family1", "alarm")]


def test_a_recurrence_after_an_answer_is_a_new_cry(home_with):
    home = low(home_with)
    report(home, 0, "accepted")
    home.acknowledge("electricity_low")
    home.reads(power_w=900).passes("1m").reads(power_w=3, every="5m").passes("12h")
    assert home.alarms() == [("electricity_low", "active")]
    assert home.texts()[-1] == ("worker1", "reminder")
    assert home.raised() == [("electricity_low", "12h0m")]


def test_a_test_text_goes_to_the_contact(home):
    home.command(CommandKind.NOTIFY_TEST, "family1", by="keeper1")
    assert home.texts() == [("family1", "test")]
