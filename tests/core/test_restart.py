"""A restart at any point: the same alarms, the same trail, the same texts as without it."""

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sensor_guard import core as core_module
from sensor_guard.config import WrittenPlan
from sensor_guard.errors import JournalError
from sensor_guard.journal import JournalUnavailableError
from sensor_guard.model import AlarmOutcome, ClockStepped, Command, CommandKind, Fault, NotificationState
from sensor_guard.testing import START, span
from tests.core.conftest import Box, at, plan

HOMES = ("h1", "h2", "h3")
MINUTE = span("1m")


class Story:
    """What happens to a box, the same each time it is told."""

    def __init__(self, path):
        self.box = Box(path, plan(*HOMES))
        self.now = START
        self.count = 0

    def happens(self, step):
        kind, gap, home, value = step
        self.now += gap * MINUTE
        self.count += 1
        box, now = self.box, self.now
        if kind == "command":
            events = [self._command(home, value)]
        elif kind == "time":
            events = []
        else:
            events = [box.message(f"{home}/{kind}", value, now, packet_id=self.count)]
        turn = box.step(now, *events, room=3)
        for n, text in enumerate(turn.leased):
            state = NotificationState.FAILED if (self.count + n) % 5 == 0 else NotificationState.DELIVERED
            box.reports_at(now, text, state)

    def _command(self, home, value):
        n = int(value)
        open_alarms = [alarm for alarm in self.box.journal.reader.alarms(open_only=True) if alarm.home_id == home]
        open_alarms.sort(key=lambda alarm: alarm.alarm_id)
        target = open_alarms[0].alarm_id if open_alarms else f"{home}.none.x"
        kinds = [
            (CommandKind.ACKNOWLEDGE, target, None, None),
            (CommandKind.CLOSE, target, None, AlarmOutcome.FINE),
            (CommandKind.AWAY, home, self.now + 300 * MINUTE, None),
            (CommandKind.BACK, home, None, None),
            (CommandKind.MUTE, "no_movement", self.now + 300 * MINUTE, None),
            (CommandKind.TEST_MODE, home, self.now + 30 * MINUTE, None),
        ]
        kind, target, until, outcome = kinds[n % len(kinds)]
        return Command(f"c{self.count}", kind, target, "wang", self.now, until=until, outcome=outcome)

    def restarts(self, *, clean):
        if clean:
            self.box.core.checkpoint_all(self.now)
        self.box.off()
        assert self.box.on(self.now) == 0

    def comes_to(self):
        alarms = sorted(self.box.journal.reader.alarms(limit=10_000), key=lambda alarm: alarm.alarm_id)
        trail = [
            step._replace(**{name: 0 for name in step._fields if name in ("seq", "batch_seq", "id")})
            for alarm in alarms
            for step in self.box.journal.reader.trail(alarm.alarm_id)
        ]
        return alarms, trail, self.box.outbox()


STEPS = st.tuples(
    st.sampled_from(["power_w", "motion", "panic", "smoke", "door_open", "time", "command", "command"]),
    st.sampled_from([0, 1, 5, 20, 60, 240, 800]),
    st.sampled_from(HOMES),
    st.sampled_from([0, 1, 1, 2, 3, 4, 5]),
)


def sound(step):
    kind, gap, home, value = step
    return (kind, gap, home, value if kind in ("command", "power_w") else min(value, 1))


SEVERAL_HOMES_DUE_AT_ONCE = [
    ("door_open", 800, "h3", 1),
    ("command", 1, "h1", 1),
    ("command", 0, "h3", 5),
    ("time", 240, "h2", 1),
    ("command", 20, "h1", 3),
    ("command", 800, "h3", 1),
    ("power_w", 20, "h1", 5),
    ("motion", 60, "h1", 1),
    ("time", 60, "h1", 1),
    ("command", 5, "h2", 2),
    ("command", 800, "h3", 4),
    ("command", 20, "h2", 5),
]
"""After 800 minutes in one turn two homes have something to tell: the order is the same after a restart."""


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(STEPS.map(sound), min_size=5, max_size=30),
    stops=st.sets(st.integers(0, 39), max_size=4),
    clean=st.booleans(),
)
@example(steps=SEVERAL_HOMES_DUE_AT_ONCE, stops={9, 10}, clean=False)
def test_a_restart_at_any_point_changes_nothing(tmp_path_factory, steps, stops, clean):
    folder = tmp_path_factory.mktemp("restart")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core_module, "CHECKPOINT_SLICE", 2)
        patch.setattr(core_module, "CHECKPOINT_INPUTS", 4)
        through, stopped = Story(folder / "through.db"), Story(folder / "stopped.db")
        for n, step in enumerate(steps):
            through.happens(step)
            if n in stops:
                stopped.restarts(clean=clean)
            stopped.happens(step)
        stopped.restarts(clean=clean)

    assert stopped.comes_to() == through.comes_to()
    through.box.off()
    stopped.box.off()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS.map(sound), min_size=5, max_size=30), fails=st.sets(st.integers(0, 60), max_size=6))
def test_commits_that_fail_and_come_again_change_nothing(tmp_path_factory, steps, fails):
    folder = tmp_path_factory.mktemp("full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core_module, "CHECKPOINT_SLICE", 2)
        patch.setattr(core_module, "CHECKPOINT_INPUTS", 4)
        smooth, rough = Story(folder / "smooth.db"), Story(folder / "rough.db")
        commit, turns = rough.box.core.commit, iter(range(1_000_000))

        def stubborn(turn, *, room=0):
            rough.box.journal.failing = 2 if next(turns) in fails else 0
            while True:
                try:
                    return commit(turn, room=room)
                except JournalUnavailableError:
                    continue

        rough.box.core.commit = stubborn
        for step in steps:
            smooth.happens(step)
            rough.happens(step)
        rough.box.journal.failing = 0
        rough.restarts(clean=False)

    assert rough.comes_to() == smooth.comes_to()
    smooth.box.off()
    rough.box.off()


def test_checkpoints_are_written_a_slice_a_batch_and_shorten_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr(core_module, "CHECKPOINT_SLICE", 2)
    homes = [f"h{n}" for n in range(7)]
    box = Box(tmp_path / "journal.db", plan(*homes))
    box.step("1m", *[box.message(f"{home}/power_w", 80, at("1m")) for home in homes])
    tail = box.journal.tail_seq()

    reached = []
    for n in range(4):
        box.says(f"{6 * 60 + n}s", "h0/power_w", 80)
        reached.append(box.journal.tail_seq() > tail)

    assert reached == [False, False, False, True]
    assert len(list(box.journal.tail())) == 3
    box.off()


def test_texts_that_were_under_way_are_ambiguous_after_a_start(box):
    box.step("1m", box.message("h1/panic", 1, at("1m")), room=1)
    box.off()

    box.on(at("2m"))

    assert [row[1] for row in box.outbox()] == ["ambiguous", "pending"]


def test_a_single_command_without_a_daemon_settles_nothing(box):
    box.step("1m", box.message("h1/panic", 1, at("1m")), room=1)
    box.off()

    box.plan = plan("h1", "h2")
    box.on(at("2m"), settle=False)

    assert [row[1] for row in box.outbox()] == ["sending", "pending"]
    assert set(box.core.engine.homes) == {"h1", "gateway"}
    assert box.asks("3m", CommandKind.ACKNOWLEDGE, "h1.panic.20260301T000100Z") is None

    box.off()
    box.on(at("4m"))
    assert box.alarms() == [("h1.panic.20260301T000100Z", "true", "acknowledged")]
    assert set(box.core.engine.homes) == {"h1", "h2", "gateway"}


def test_another_configuration_keeps_open_alarms_and_half_filled_holds(box):
    box.says("1m", "h1/panic", 1)
    for n in range(0, 11 * 60, 30):
        box.says(f"{n + 2}m", "h1/power_w", 3)

    assert box.core.use_plan(WrittenPlan.of(plan("h1", "h2")), at("11h"))
    assert not box.core.use_plan(WrittenPlan.of(plan("h1", "h2")), at("11h"))
    for n in range(11 * 60, 13 * 60, 30):
        box.says(f"{n + 2}m", "h1/power_w", 3)

    assert [alarm_id for alarm_id, _, _ in box.alarms() if "silent" not in alarm_id] == [
        "h1.electricity_low.20260301T120200Z",
        "h1.panic.20260301T000100Z",
    ]


def test_a_home_that_was_taken_out_keeps_its_open_alarm_over_a_restart(box):
    box.says("1m", "h1/panic", 1)
    box.off()
    box.plan = plan("h2")
    box.on(at("2m"))
    box.off()
    box.on(at("3m"))

    assert box.asks("3m", CommandKind.CLOSE, "h1.panic.20260301T000100Z", outcome=AlarmOutcome.FINE) is None
    assert box.alarms() == [("h1.panic.20260301T000100Z", "true", "closed")]


def test_a_state_of_another_layout_is_refused_with_the_way_out(box):
    with box.journal.batch(at("1m")) as batch:
        batch._db.execute("UPDATE home_state SET schema = 99")
    box.off()

    with pytest.raises(JournalError, match="home gateway was stored by another version \\(layout 99"):
        box.on(at("1m"))


def test_nothing_fires_at_a_start_before_the_link_is_up(box):
    for n in range(0, 11 * 60, 30):
        box.says(f"{n}m", "h1/power_w", 3)
    box.off()

    box.on(at("20h"), blind_start=True)
    box.step("20h1m")

    assert [alarm_id for alarm_id, _, _ in box.alarms()] == ["h1.sensor_silent.20260301T010000Z"]


def test_a_box_that_boots_with_its_clock_behind_counts_on_and_rises_at_the_true_time(tmp_path):
    """No battery for the clock: it says 40 minutes ago, and NTP puts it right later. The hold counts what passed."""
    box = Box(tmp_path / "journal.db", plan("h1", rules={"electricity_low"}))
    for n in range(132):  # 11 hours of 3 W
        box.says(f"{5 * n}m", "h1/power_w/dated", 3)
    box.off()
    behind = at("10h15m")  # the true time is 10h55m
    box.on(behind)
    box.step(behind, ClockStepped(behind, 40 * MINUTE))
    for n in range(132, 144):
        box.says(f"{5 * n}m", "h1/power_w/dated", 3)
    assert box.alarms() == []
    box.says("12h", "h1/power_w/dated", 3)
    assert [alarm_id for alarm_id, _, _ in box.alarms()] == ["h1.electricity_low.20260301T120000Z"]


def test_a_tail_that_crosses_changes_of_the_configuration_is_replayed_with_the_rules_that_were_in_force(tmp_path):
    """Low power counts below one rule set, then not, then again: each stretch by the rules of its own time."""
    box = Box(tmp_path / "journal.db", plan("h1", "h2"))
    without = plan("h1", "h2", rules={"panic", "smoke"})
    box.says("1m", "h1/power_w", 3)
    changes = {200: without, 400: plan("h1", "h2"), 1_300: without}
    for n in range(0, 1_500, 30):
        if n in (210, 420, 1_320):
            box.core.use_plan(WrittenPlan.of(changes[n - n % 100]), at(f"{n}m"))
        box.says(f"{n + 2}m", "h1/power_w", 3)
    alarms, trail, texts = box.alarms(), box.trail(), box.outbox()
    assert [alarm_id for alarm_id, _, _ in alarms if "electricity" in alarm_id] == [
        "h1.electricity_low.20260301T190000Z"
    ]
    # As after a crash: nothing was saved since the first configuration.
    with box.journal.batch(at("25h")) as batch:
        batch._db.execute("UPDATE meta SET value = 0 WHERE key = 'tail_seq'")
        batch._db.execute("DELETE FROM meta WHERE key = 'engine_state'")
        batch._db.execute("DELETE FROM home_state")
    box.off()
    box.plan = without

    assert box.on(at("25h"), settle=False) == 0

    assert (box.alarms(), box.trail(), box.outbox()) == (alarms, trail, texts)
    assert box.core.engine.plan == without
    box.off()


def test_what_stood_there_wins_and_a_difference_is_counted(box):
    """The program has changed its mind: the alarm that was told stays, the one that was not is stored and told."""
    box.says("1m", "h1/panic", 1)
    with box.journal.batch(at("1m")) as batch:
        batch._db.execute("INSERT INTO pruning VALUES ((SELECT alarm_id FROM alarms))")
        batch._db.execute("UPDATE alarms SET closed_at = 1")
        batch._db.execute("DELETE FROM trail WHERE what = 'transition'")
        batch._db.execute("DELETE FROM pruning")
        batch._db.execute("UPDATE alarms SET closed_at = NULL, severity = 'warning'")
    box.off()

    assert box.on(at("2m")) == 1

    assert box.core.counters.differences == 1
    assert [alarm.severity for alarm in box.journal.reader.alarms()] == ["warning"]
    with box.journal.batch(at("2m")) as batch:  # so that the check of the whole journal finds it whole
        batch._db.execute("INSERT INTO pruning SELECT alarm_id FROM alarms")
        batch._db.execute("UPDATE alarms SET closed_at = 1")
        for table in ("trail", "outbox", "alarms", "pruning"):
            batch._db.execute(f"DELETE FROM {table}")


def test_an_open_alarm_that_the_replay_does_not_know_is_open_and_told_all_the_same(box):
    """Whatever a later version would decide: what was stored and told wins."""
    box.says("1m", "h1/panic", 1)
    box.core.checkpoint_all(at("1m"))
    with box.journal.batch(at("1m")) as batch:
        (state,) = batch._db.execute("SELECT state FROM home_state WHERE home_id = 'h1'").fetchone()
        row = json.loads(state)
        row["alarms"], row["climbs"] = [], {}
        batch._db.execute("UPDATE home_state SET state = ? WHERE home_id = 'h1'", (json.dumps(row),))
    box.off()

    assert box.on(at("2m")) == 1

    # The texts of the first time still wait: of several calls to one person the newest tells all.
    kinds = [str(text.kind) for text in box.step("2m1s", room=9).leased]
    assert kinds == ["reminder", "reminder"]
    assert box.asks("3m", CommandKind.CLOSE, "h1.panic.20260301T000100Z", outcome=AlarmOutcome.FINE) is None
    box.off()
    assert box.on(at("4m")) == 0


def test_a_box_that_starts_in_1970_goes_back_from_where_time_alone_had_led(box):
    """Nothing came for six minutes but a checkpoint: the fault's five minutes begin anew all the same."""
    box.says("1s", "h1/power_w", 80)
    box.step("6m")
    assert box.journal.last_now() == at("1s")
    assert json.loads(box.journal.engine_state())["now"] == at("6m")
    box.off()

    box.on(MINUTE, blind_start=True, clock_known=False)
    assert box.core.engine.now == MINUTE
    box.step(MINUTE, Fault("clock_unsynchronised", active=True, at=MINUTE))
    assert box.alarms() == []
