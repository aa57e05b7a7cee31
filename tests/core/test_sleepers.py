"""After a restart a home sleeps until somebody asks for it."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from sensor_guard.beginning import begin
from sensor_guard.config import WrittenPlan
from sensor_guard.core import Core
from sensor_guard.engine.plan import Condition, Form
from sensor_guard.engine.views import count_blind
from sensor_guard.inbox import NewPlan
from sensor_guard.journal import JournalCorruptError, open_or_mend, suspect
from sensor_guard.model import HOUR, MINUTE, CommandKind, Drained, LinkUp
from sensor_guard.operations import Operations
from tests.core.conftest import Box, FakeReader, at, plan

HOMES = tuple(f"h{n}" for n in range(1, 6))


@pytest.fixture
def box(tmp_path):
    """Five homes whose electricity is low, saved; the box is off."""
    made = Box(tmp_path / "journal.db", plan(*HOMES))
    for home in HOMES:
        made.says("1m", f"{home}/power_w", 3)
    made.core.checkpoint_all(at("2m"))
    made.off()
    yield made
    assert made.journal.check(full=True) == []
    made.off()


def asleep(box):
    homes = box.core.engine.homes
    return [home_id for home_id in sorted(homes) if homes.sleeper(home_id) is not None]


def saved(box):
    return {row.home_id: row.upto_seq for row in box.journal.home_states()}


def by_hand(box, sql):
    with closing(sqlite3.connect(box.path, isolation_level=None)) as db:
        db.execute(sql)


def test_a_reading_wakes_its_own_home_alone(box):
    box.on(at("3m"))
    assert asleep(box) == list(HOMES)

    box.says("3m", "h2/power_w", 3)

    assert asleep(box) == ["h1", "h3", "h4", "h5"]


def test_a_deadline_wakes_a_home_that_nobody_has_asked_for(box):
    box.on(at("3m"))
    box.step("62m")
    assert [alarm_id for alarm_id, _, _ in box.alarms()] == [f"{home}.sensor_silent.20260301T010000Z" for home in HOMES]


def test_a_home_with_an_open_alarm_is_awake(box):
    box.on(at("3m"))
    box.says("3m", "h1/panic", 1)
    box.core.checkpoint_all(at("4m"))
    box.off()
    assert box.on(at("5m")) == 0
    assert asleep(box) == ["h2", "h3", "h4", "h5"]


def test_a_row_of_one_that_sleeps_is_left_as_it_is(box):
    box.on(at("3m"))
    before = saved(box)
    box.says("3m", "h2/power_w", 3)
    with box.journal.batch(at("4m")) as batch:
        box.core.save_all(batch)
    assert {home for home, seq in saved(box).items() if seq != before[home]} == {"h2", "gateway"}
    box.off()
    assert box.on(at("5m")) == 0
    assert asleep(box) == list(HOMES)


def test_how_a_home_stands_can_be_asked_while_it_sleeps(box):
    box.on(at("3m"))
    assert count_blind(box.core.engine) == 0
    assert asleep(box) == list(HOMES)
    views = Operations(box.core, set, dict)._homes({})["homes"]
    assert [sensor["level"] for view in views for sensor in view["sensors"] if sensor["kind"] == "power"] == [3.0] * 5


@pytest.mark.parametrize("sql", [
    "UPDATE meta SET value = json_set(value, '$.program', 'an older one') WHERE key = 'engine_state'",
    "UPDATE meta SET value = json_remove(value, '$.program') WHERE key = 'engine_state'",
])  # fmt: skip
def test_after_an_upgrade_every_home_is_awake_and_written_anew(box, sql):
    """When a home wants to be looked at is what the program thinks that wrote its row."""
    by_hand(box, sql)
    box.on(at("3m"))
    assert asleep(box) == []
    before = saved(box)
    box.says("9m", "h2/power_w", 3)
    assert all(seq > before[home] for home, seq in saved(box).items())
    box.off()
    box.on(at("10m"))
    assert asleep(box) == list(HOMES)


def test_a_row_from_before_there_were_sleepers_is_read_at_once(box):
    by_hand(box, "UPDATE home_state SET wakes_at = NULL, seen_until = NULL WHERE home_id = 'h3'")
    assert box.on(at("3m")) == 0
    assert asleep(box) == ["h1", "h2", "h4", "h5"]
    assert box.core.engine.homes["h3"].sensors["power"].level == 3.0


def test_another_configuration_wakes_whom_it_concerns(box):
    box.on(at("3m"))
    homes = [
        replace(home, muted_rules=("no_movement",)) if home.home_id == "h2" else home for home in plan(*HOMES).homes
    ]
    box.step("4m", NewPlan(WrittenPlan.of(replace(plan(*HOMES), homes=tuple(homes[:3] + homes[4:])))))
    assert asleep(box) == ["h1", "h3", "h5"]
    assert "h4" not in box.core.engine.homes
    box.plan = box.core.engine.plan


def test_another_rule_wakes_everybody_as_the_old_rules_left_him(box):
    box.on(at("3m"))
    hot = replace(
        plan().rules[0], rule_id="hot", condition=Condition(Form.ABOVE, "power", threshold=1.0, hold_for=HOUR)
    )
    new = replace(plan(*HOMES), rules=(*plan().rules, hot))
    box.step("4m", NewPlan(WrittenPlan.of(new)))
    assert asleep(box) == []
    holds = {watch.rule.rule_id: watch.since for watch in box.core.engine.homes["h1"].watches}
    assert (holds["electricity_low"], holds["hot"]) == (at("1m"), at("4m"))
    box.plan = new


def test_a_mute_of_one_home_wakes_that_one(box):
    box.on(at("3m"))
    assert box.asks("3m", CommandKind.MUTE, "no_movement", until=at("9h"), home_id="h4") is None
    assert asleep(box) == ["h1", "h2", "h3", "h5"]


def test_a_state_that_cannot_be_read_when_it_is_asked_for_is_mended_once(box):
    by_hand(box, "UPDATE home_state SET state = json_remove(state, '$.sensors') WHERE home_id = 'h2'")
    box.on(at("3m"))
    with pytest.raises(JournalCorruptError, match="a stored state: KeyError 'sensors'"):
        box.says("3m", "h2/panic", 1)
    box.off()
    suspect(box.path, "a stored state")

    box.journal, mended = open_or_mend(box.path, stamp="20260301T000400Z", clock=lambda: 0.0)
    box.core = Core(box.journal, box.plan, FakeReader())
    begin(box.core, mended, at("4m"))

    assert asleep(box) == []
    box.says("5m", "h2/panic", 1)
    assert [alarm_id for alarm_id, _, _ in box.alarms() if "panic" in alarm_id] == ["h2.panic.20260301T000500Z"]


def test_a_state_that_is_no_json_shows_at_once(box):
    state = json.dumps({"home": []})[:-1]
    by_hand(box, f"UPDATE home_state SET state = '{state}' WHERE home_id = 'h2'")
    with pytest.raises(JournalCorruptError, match="a stored state"):
        box.on(at("3m"))


def test_a_stretch_in_which_the_broker_was_down_is_slept_through_and_kept(box):
    """Half an hour could not be seen: the alarm rises half an hour later, over two restarts and a checkpoint."""
    box.on(at("31m"), blind_start=True)
    box.step("31m", LinkUp(at("31m"), session_present=False, blind_from=at("1m")), Drained(at("31m")))
    assert asleep(box) == list(HOMES)

    box.off()
    box.on(at("32m"))
    assert asleep(box) == list(HOMES)
    box.core.checkpoint_all(at("33m"))  # it is written with what it has slept through
    assert asleep(box) == []
    box.off()
    box.on(at("34m"))
    assert asleep(box) == list(HOMES)
    for minutes in range(40, 14 * 60, 20):
        box.says(f"{minutes}m", "h1/power_w", 3)

    low = [alarm for alarm in box.journal.reader.alarms() if alarm.rule_id == "electricity_low"]
    assert [(alarm.home_id, alarm.raised_at) for alarm in low] == [("h1", at("12h31m"))]
    assert low[0].evidence.blind_for == 30 * MINUTE


def test_who_is_due_within_the_stretch_is_woken(box):
    box.on(at("62m"), blind_start=True)
    box.step("62m", LinkUp(at("62m"), session_present=False, blind_from=at("1m")), Drained(at("62m")))
    assert asleep(box) == []
    assert box.alarms() == []  # its silence was ours
