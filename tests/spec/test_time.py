"""Order, lateness, the broker's queue, our own blindness, and the wall clock."""

from sensor_guard.engine.plan import Sensor
from sensor_guard.model import (
    DEVICE_TIME,
    HOUR,
    MINUTE,
    ClockStepped,
    Drained,
    Fault,
    LinkLost,
    LinkUp,
    PlanChanged,
    Reading,
)
from sensor_guard.testing import Home, plan_for, span
from tests.spec.conftest import GATEWAY_RULES, RULES


def named(*rule_ids):
    return [r for r in RULES + GATEWAY_RULES if r.rule_id in rule_ids]


def test_six_hours_without_the_daemon_with_proofs_of_life_in_the_broker(home_with):
    """The readings that waited are judged at their own time: nothing that they disprove rises."""
    home = home_with("electricity_low", "no_movement").reads(power_w=3, every="5m", until="10h").reads(motion=1)
    home.passes("10h")
    lost = home.clock.at
    home.feed(LinkLost(lost))
    home.passes("6h")  # 16 h after the last movement: nothing may fire while the queue is not here
    assert home.alarms() == []

    home.feed(LinkUp(home.clock.at, session_present=True))
    now = home.clock.at
    waiting = [Reading("h1", "power", "power_w", 3.0, lost + n * 5 * MINUTE, now, flags=1) for n in range(1, 72)]
    waiting.append(Reading("h1", "power", "power_w", 1500.0, lost + HOUR, now, seq=1, flags=1))
    waiting.append(Reading("h1", "motion", "motion", 1.0, lost + HOUR, now, flags=1))
    home.feed(*sorted(waiting, key=lambda r: r.observed_at))  # the broker keeps the order in which they were sent
    home.feed(Drained(now))
    assert home.raised() == []
    home.reads(power_w=3, every="5m").passes("7h5m")
    assert home.raised() == [("no_movement", "23h0m"), ("electricity_low", "23h5m")]


def test_a_deadline_inside_the_outage_fires_at_its_own_time_when_nothing_disproves_it(home_with):
    home = home_with("electricity_low").reads(power_w=3, every="5m", until="10h").passes("10h")
    lost = home.clock.at
    home.feed(LinkLost(lost))
    home.passes("6h")
    home.feed(LinkUp(home.clock.at, session_present=True))
    now = home.clock.at
    home.feed(*[Reading("h1", "power", "power_w", 3.0, lost + n * 5 * MINUTE, now, flags=1) for n in range(1, 72)])
    home.feed(Drained(now))
    assert home.raised() == [("electricity_low", "12h0m")]
    alarm = home.open_alarm("electricity_low")
    assert alarm.noticed_at == now


def test_a_word_under_way_as_the_box_was_killed_disproves_what_fell_due_a_moment_before(home_with):
    """Of what came together one half was stored; the other half is handed over again after the start."""
    plan = plan_for(named("water_running"), [Sensor("water", "water", 6 * HOUR)], lateness=5_000)
    home = home_with("water_running", plan=plan).reads(flow_l_min=6).passes("2h4s")
    killed = home.clock.at
    home.feed(LinkLost(killed))
    home.passes("2s")
    assert home.raised() == []

    home.feed(LinkUp(home.clock.at, session_present=True))
    home.says("water", "flow_l_min", 0, observed_at=killed - 5_000, flags=DEVICE_TIME)
    home.feed(Drained(home.clock.at))
    assert home.passes("1h").raised() == []


def test_what_was_lost_for_good_is_blind_and_pauses_every_hold(home_with):
    home = home_with("no_movement").reads(motion=1).passes("10h")
    lost = home.clock.at
    home.feed(LinkLost(lost))
    home.passes("6h")
    home.feed(LinkUp(home.clock.at, session_present=False, blind_from=lost), Drained(home.clock.at))
    assert home.passes("1h59m").alarms() == []
    home.passes("1m")
    assert home.raised() == [("no_movement", "18h0m")]
    evidence = home.open_alarm("no_movement").evidence
    assert (evidence.observed_for, evidence.blind_for) == (12 * HOUR, 6 * HOUR)


def test_our_own_blindness_is_one_alarm_of_the_box_never_silent_sensors(home_with):
    home = (
        home_with("sensor_silent", "broker_offline", sensors=[Sensor("power", "power", HOUR)])
        .reads(power_w=3, every="5m", until="1h")
        .passes("1h")
    )
    lost = home.clock.at
    home.feed(LinkLost(lost), Fault("broker_offline", True, lost))
    home.passes("50h")
    home.feed(
        Fault("broker_offline", False, home.clock.at),
        LinkUp(home.clock.at, session_present=True, blind_from=lost),
        Drained(home.clock.at),
    )
    home.passes("30m")
    assert home.alarms() == []
    assert home.engine.homes["gateway"].cases.open_alarm("broker_offline") is not None
    assert home.texts()[0] == ("keeper1", "alarm")
    home.passes("31m")
    assert home.alarms() == [("sensor_silent", "active")]


def test_a_short_loss_of_the_broker_is_no_alarm(home_with):
    home = home_with("broker_offline")
    home.feed(Fault("broker_offline", True, home.clock.at))
    home.passes("59s")
    home.feed(Fault("broker_offline", False, home.clock.at))
    home.passes("1h")
    assert home.engine.homes["gateway"].cases.alarms == {}


def test_readings_that_overtook_each_other_are_put_in_order():
    plan = plan_for(named("electricity_low"), [Sensor("m", "power", HOUR)], lateness=5_000)
    home = Home((), plan=plan)
    start = home.clock.at
    home.clock.at += 2_000
    home.says("m", "power_w", 3.0, observed_at=start + 1_000)
    home.says("m", "power_w", 900.0, observed_at=start)
    home.reads(sensor="m", power_w=3, every="5m").passes("12h1m")
    # the first 3 W came after the 900 W, whatever the network did; the hold is stamped with its own time
    assert home.raised() == [("electricity_low", "12h0m1s")]


def test_activity_learnt_too_late_still_takes_back_the_hold_it_interrupts(home_with):
    home = home_with("no_movement").reads(motion=1).passes("10h")
    home.says("motion", "motion", 1, observed_at=home.clock.at - 3 * HOUR)
    home.passes("8h59m")
    assert home.alarms() == []
    home.passes("1m")
    assert home.raised() == [("no_movement", "19h0m")]


def test_old_news_does_not_clear_a_live_alarm(home_with):
    home = home_with("no_movement").reads(motion=1).passes("13h")
    home.says("motion", "motion", 1, observed_at=home.clock.at - 12 * HOUR)
    assert home.alarms() == [("no_movement", "active")]


def test_a_press_that_comes_hours_late_is_still_a_cry(home_with):
    home = home_with("panic").passes("10h")
    home.says("panic", "panic", 1, observed_at=home.clock.at - 3 * HOUR)
    assert home.raised() == [("panic", "7h0m")]


def test_a_step_of_the_wall_clock_moves_no_deadline(home_with):
    for offset in (2 * HOUR, -2 * HOUR, 30 * 24 * HOUR, -30 * 24 * HOUR):
        home = home_with("electricity_low").reads(power_w=3, every="5m").passes("6h")
        before = home.clock.at
        home.clock.at += offset
        home.start += offset
        home.silent()
        home.feed(ClockStepped(before, offset))
        home.reads(power_w=3, every="5m").passes("5h59m")
        assert home.alarms() == []
        assert home.passes("1m").raised() == [("electricity_low", "12h0m")]


def test_a_new_plan_keeps_the_timers_of_unchanged_rules(home_with):
    home = home_with("electricity_low").reads(power_w=3, every="5m").passes("11h")
    home.plan = plan_for(named("electricity_low", "smoke", "water_none"), home.plan.homes[0].sensors)
    home.feed(PlanChanged("other", home.clock.at))
    assert home.passes("1h").alarms() == [("electricity_low", "active")]


def test_a_home_taken_out_of_the_files_keeps_its_open_alarm():
    home = Home(named("panic")).reads(panic=1)
    home.plan = plan_for(named("panic"), home.plan.homes[0].sensors, home_id="other")
    home.feed(PlanChanged("other", home.clock.at))
    assert home.alarms() == [("panic", "active")]
    home.passes("3m")
    assert home.texts()[-1] == ("boss1", "alarm")


def test_the_urgent_connection_that_is_ahead_does_not_overtake_what_the_other_one_still_brings(home_with):
    """Found by killing the daemon: a panic button's sign of life let a meter fall silent whose words were waiting."""
    sensors = [Sensor("m", "power", 4 * HOUR), Sensor("button", "panic", 48 * HOUR)]
    home = home_with("sensor_silent", sensors=sensors).reads(sensor="m", power_w=30)
    lost = home.clock.at
    home.feed(LinkLost(lost))
    home.passes("6h")
    now = home.clock.at
    home.feed(LinkUp(now, session_present=True))
    home.feed(Reading("h1", "button", "panic", 0.0, now - HOUR, now, flags=1))
    home.feed(*[Reading("h1", "m", "power_w", 30.0, lost + n * HOUR, now, flags=1) for n in (1, 2, 3, 4, 5)])
    home.feed(Drained(now))
    assert home.raised() == []


def test_a_word_without_a_time_that_waited_in_the_broker_is_a_sign_of_life(home_with):
    """An outage longer than its silence: it has spoken meanwhile, nobody knows when, and nobody is told of it."""
    home = home_with("sensor_silent", sensors=[Sensor("m", "power", 4 * HOUR)]).reads(sensor="m", power_w=30)
    lost = home.clock.at
    home.feed(LinkLost(lost))
    home.passes("6h")
    now = home.clock.at
    home.feed(LinkUp(now, session_present=True), Reading("h1", "m", "power_w", 30.0, now, now))
    home.feed(Drained(now))
    assert home.passes("3h59m").raised() == []
    assert home.passes("3m").raised() == [("sensor_silent", "10h0m")]


def test_a_sensor_of_which_nothing_waited_in_the_broker_was_silent_at_its_own_time(home_with):
    sensors = [Sensor("m", "power", 4 * HOUR), Sensor("n", "power", 4 * HOUR)]
    home = home_with("sensor_silent", sensors=sensors).reads(sensor="m", power_w=30).reads(sensor="n", power_w=30)
    home.feed(LinkLost(home.clock.at))
    home.passes("6h")
    now = home.clock.at
    home.feed(LinkUp(now, session_present=True), Reading("h1", "m", "power_w", 30.0, now, now), Drained(now))
    assert home.raised() == [("sensor_silent", "4h0m")]


def test_a_late_word_of_a_silent_sensor_takes_back_its_silence(home_with):
    home = home_with("sensor_silent", sensors=[Sensor("m", "power", 4 * HOUR)]).reads(power_w=30).passes("5h")
    assert home.alarms() == [("sensor_silent", "active")]
    home.says("m", "power_w", 30, observed_at=home.clock.at - 2 * HOUR)
    assert home.alarms() == [("sensor_silent", "cleared")]
    assert home.passes("2h1m").alarms() == [("sensor_silent", "active")]


def test_use_that_a_device_kept_for_us_while_we_were_blind_takes_the_hold_back(home_with):
    home = home_with("electricity_low")
    home.reads(power_w=3, every="30m").passes("6h").silent()
    home.feed(LinkLost(home.clock.at))
    lost_at = home.clock.at
    home.clock.passes("4h")
    home.feed(LinkUp(home.clock.at, session_present=True, blind_from=lost_at))
    for offset, watts in (("1h", 3), ("2h", 1_800), ("3h", 3)):
        home.says("power", "power_w", watts, observed_at=lost_at + span(offset), flags=DEVICE_TIME)
    home.feed(Drained(home.clock.at))

    home.reads(power_w=3, every="30m").passes("11h59m")
    assert home.alarms() == []
    home.passes("1m")
    assert home.raised() == [("electricity_low", "22h0m")]
