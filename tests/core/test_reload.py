"""Another configuration in the middle of everything: what it does not concern does not notice."""

import random
from dataclasses import replace

import pytest

from sensor_guard.config import WrittenPlan
from sensor_guard.engine.plan import Condition, Form, HomePlan, Ladder, Plan, Step
from sensor_guard.inbox import NewPlan, Request
from sensor_guard.journal.errors import JournalFullError
from sensor_guard.model import HOUR, AlarmOutcome, CommandKind
from sensor_guard.testing import default_ladders, one_sensor_of_each_kind, span
from tests.core.conftest import Box, at, plan


def changed(before: Plan, rule_id: str, **more) -> Plan:
    """The plan with another condition in one of its rules."""
    rules = [
        replace(rule, condition=replace(rule.condition, **more)) if rule.rule_id == rule_id else rule
        for rule in before.rules
    ]
    return replace(before, rules=tuple(rules))


def without(before: Plan, *rule_ids: str) -> Plan:
    return replace(before, rules=tuple(rule for rule in before.rules if rule.rule_id not in rule_ids))


def reload(box: Box, offset, new: Plan) -> Plan:
    box.step(offset, Request(NewPlan(WrittenPlan.of(new)), box.answers.append))
    assert box.answers[-1] is None
    box.plan = new
    return new


def raised(box: Box, rule_id: str) -> list[str]:
    return [alarm_id for alarm_id, _, _ in box.alarms() if alarm_id.split(".")[1] == rule_id]


def low_until(box: Box, first: str, last: str) -> None:
    now = at(first)
    while now <= at(last):
        box.step(now, box.message("h1/power_w", 3, now))
        now += span("30m")


def test_a_hold_that_is_half_filled_completes_to_the_millisecond(box):
    first = at("0s") + 1
    box.step(first, box.message("h1/power_w", 3, first))
    low_until(box, "30m", "5h")
    reload(box, at("5h1m") + 17, changed(plan(), "no_movement", hold_for=7 * HOUR))
    low_until(box, "5h30m", "12h")

    box.step(at("12h"))
    assert raised(box, "electricity_low") == []
    box.step(at("12h") + 1)

    assert raised(box, "electricity_low") == ["h1.electricity_low.20260301T120000Z"]
    assert box.journal.reader.alarms()[0].raised_at == at("12h") + 1


def test_another_threshold_starts_the_hold_again(box):
    box.says("0s", "h1/power_w", 3)
    low_until(box, "30m", "5h")
    reload(box, "5h1m", changed(plan(), "electricity_low", threshold=4.0))
    low_until(box, "5h30m", "17h")

    box.step(at("17h1m") - 1)
    assert raised(box, "electricity_low") == []
    box.step("17h1m")

    assert raised(box, "electricity_low") == ["h1.electricity_low.20260301T170100Z"]


def test_a_home_that_is_listed_anew_leaves_the_timers_of_the_others_alone(box):
    box.says("0s", "h1/power_w", 3)
    low_until(box, "30m", "11h")
    reload(box, "11h1m", plan("h1", "h2"))
    box.says("11h2m", "h2/power_w", 3)
    low_until(box, "11h30m", "12h")

    assert raised(box, "electricity_low") == ["h1.electricity_low.20260301T120000Z"]


def test_an_open_alarm_stays_open_and_its_ladder_climbs_at_its_time(box):
    box.says("1m", "h1/panic", 1)
    reload(box, "2m", changed(plan(), "no_movement", hold_for=7 * HOUR))
    assert [row[2] for row in box.outbox()] == ["worker1", "family1"]

    box.step(at("4m") - 1)
    assert [row[2] for row in box.outbox()] == ["worker1", "family1"]
    box.step("4m")

    assert [row[2] for row in box.outbox()] == ["worker1", "family1", "boss1"]


def test_an_alarm_whose_rule_is_gone_stays_until_somebody_closes_it(box):
    box.says("1m", "h1/panic", 1)
    reload(box, "2m", without(plan(), "panic"))
    box.says("3m", "h1/panic", 1)
    box.step("59m")

    assert box.alarms() == [("h1.panic.20260301T000100Z", "true", "unanswered")]
    assert "boss1" in [row[2] for row in box.outbox()]
    assert box.asks("59m", CommandKind.CLOSE, "h1.panic.20260301T000100Z", outcome=AlarmOutcome.FINE) is None
    assert box.alarms() == [("h1.panic.20260301T000100Z", "true", "closed")]


def test_a_sensor_that_is_gone_raises_nothing_any_more(box):
    box.says("1m", "h1/power_w", 3)
    home, gateway = plan().homes
    fewer = replace(home, sensors=tuple(sensor for sensor in home.sensors if sensor.kind != "power"))
    reload(box, "2m", replace(plan(), homes=(fewer, gateway)))
    box.says("3m", "h1/power_w", 3)
    box.step("13h")

    assert raised(box, "electricity_low") == []


def test_other_people_are_told_from_the_next_step_on(box):
    ladders = dict(default_ladders())
    urgent = ladders["urgent"]
    ladders["urgent"] = Ladder((urgent.steps[0], Step(urgent.steps[1].after, ("boss2",))), HOUR, HOUR)
    home, gateway = plan().homes
    box.says("1m", "h1/panic", 1)

    reload(box, "2m", replace(plan(), homes=(replace(home, ladders=tuple(ladders.items())), gateway)))
    box.step("4m")

    assert [row[2] for row in box.outbox()] == ["worker1", "family1", "boss2"]


def test_a_hold_that_the_new_rule_makes_complete_does_not_fire_on_the_past(box):
    """Ten quiet hours under a rule of twelve are not a minute under a rule of six: it has not been watched for."""
    box.says("0s", "h1/power_w", 3)
    low_until(box, "30m", "10h")
    reload(box, "10h1m", changed(plan(), "electricity_low", hold_for=6 * HOUR))

    assert raised(box, "electricity_low") == []


def test_the_reload_is_an_event_of_the_journal_and_is_replayed(box):
    box.says("0s", "h1/power_w", 3)
    low_until(box, "30m", "5h")
    reload(box, "5h1m", plan("h1", "h2"))
    box.says("5h2m", "h2/panic", 1)
    before = (box.alarms(), box.trail(), box.outbox())
    box.off()

    assert box.on(at("5h3m"), settle=False) == 0

    assert (box.alarms(), box.trail(), box.outbox()) == before
    assert set(box.core.engine.homes) == {"h1", "h2", "gateway"}
    low_until(box, "5h30m", "12h")
    assert raised(box, "electricity_low") == ["h1.electricity_low.20260301T120000Z"]


def test_a_reload_waits_for_a_full_disk_and_then_is_what_it_would_have_been(box):
    box.says("0s", "h1/power_w", 3)
    low_until(box, "30m", "5h")
    took = []
    turn = box.core.turn([NewPlan(WrittenPlan.of(plan("h1", "h2")), lambda: took.append(True))], at("5h1m"))
    box.journal.failing = 3
    for _ in range(3):
        with pytest.raises(JournalFullError):
            box.core.commit(turn)
        assert took == []
    box.core.commit(turn)
    box.plan = plan("h1", "h2")

    assert took == [True]
    box.off()
    box.on(at("5h2m"))
    low_until(box, "5h30m", "12h")
    assert raised(box, "electricity_low") == ["h1.electricity_low.20260301T120000Z"]
    assert set(box.core.engine.homes) == {"h1", "h2", "gateway"}


def test_only_homes_that_it_concerns_are_written_anew(tmp_path):
    names = [f"h{number}" for number in range(50)]
    box = Box(tmp_path / "journal.db", plan(*names))
    box.core.checkpoint_all(at("1m"))
    before = {row.home_id: row.upto_seq for row in box.journal.home_states()}

    reload(box, "2m", plan(*names, "h50"))

    after = {row.home_id: row.upto_seq for row in box.journal.home_states()}
    assert {home for home, seq in after.items() if seq != before.get(home)} == {"h50"}
    box.off()


@pytest.mark.parametrize(("seed", "reloads"), [(0, 1_000), (1, 100), (2, 100)])
def test_a_thousand_reloads_under_load_reset_no_timer_and_lose_no_reading(tmp_path, seed, reloads):
    """Twelve quiet hours with readings and a reload every 43 s, each in one batch; killed now and then."""
    chosen = random.Random(seed)
    names = [f"h{number}" for number in range(6)]
    box = Box(tmp_path / "journal.db", plan(*names))
    stored = at("0s")
    count = 0
    for home in names:
        box.step(stored, box.message(f"{home}/power_w", 3, stored))
        count += 1
    for number in range(1, reloads + 1):
        now = at("0s") + number * (43_000_000 // reloads)
        events = []
        if number % (reloads // 50) == 0:
            events = [box.message(f"{home}/power_w", 3, now) for home in names]
            count += len(events)
        strangers = [f"x{chosen.randrange(5)}"] if chosen.random() < 0.7 else []
        new = changed(plan(*names, *strangers), "no_movement", hold_for=chosen.randrange(7, 30) * HOUR)
        events.insert(chosen.randrange(len(events) + 1), Request(NewPlan(WrittenPlan.of(new)), box.answers.append))
        box.step(now, *events)
        box.plan = new
        if chosen.random() < 0.01:
            box.off()
            box.on(now)
    box.step("12h")

    low = [alarm for alarm in box.journal.reader.alarms() if alarm.rule_id == "electricity_low"]
    assert sorted(alarm.home_id for alarm in low) == names
    assert {alarm.raised_at for alarm in low} == {at("12h")}
    rows = box.journal.reader._rows("SELECT count(*) FROM readings", ())
    assert [tuple(row) for row in rows] == [(count,)]
    box.off()


def test_a_plan_that_is_the_same_writes_no_home(box):
    box.core.checkpoint_all(at("1m"))
    before = {row.home_id: row.upto_seq for row in box.journal.home_states()}

    reload(box, "2m", plan())

    assert {row.home_id: row.upto_seq for row in box.journal.home_states()} == before


def test_a_new_rule_sees_what_is_true_already(box):
    hot = replace(plan().rules[0], rule_id="door_open", condition=Condition(Form.IS, "door", hold_for=HOUR))
    box.says("1m", "h1/door_open", 1)

    reload(box, "2m", replace(plan(), rules=(*plan().rules, hot)))
    box.step("1h2m")

    assert raised(box, "door_open") == ["h1.door_open.20260301T010200Z"]


def test_a_home_that_comes_back_with_its_open_alarm_is_watched_again(box):
    box.says("1m", "h1/panic", 1)
    _, gateway = plan().homes
    reload(box, "2m", replace(plan(), homes=(gateway,)))
    home = HomePlan("h1", "site1", "b1", tuple(one_sensor_of_each_kind()), default_ladders())
    reload(box, "3m", replace(plan(), homes=(home, gateway)))
    box.says("4m", "h1/smoke", 1)

    assert [alarm_id for alarm_id, _, _ in box.alarms()] == [
        "h1.panic.20260301T000100Z",
        "h1.smoke.20260301T000400Z",
    ]
