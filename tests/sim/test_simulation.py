"""Some worlds in CI, the same worlds twice, and each invariant proven able to fail. All of it: python -m tests.sim."""

import itertools
import os
import random
import re
import shutil

import pytest
import structlog

from sensor_guard.core import Core
from sensor_guard.engine import conditions, escalation, orders
from sensor_guard.engine.alarm import Happening, happen
from sensor_guard.engine.cases import Cases
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.home import Home
from sensor_guard.engine.plan import Form
from sensor_guard.journal.packets import RecentPackets
from sensor_guard.line import Line
from sensor_guard.model import DAY, HOUR, Response, Truth
from sensor_guard.mqtt.link import Link
from sensor_guard.notify.worker import SmsWorker
from sensor_guard.sinks.mirror import Mirror
from sensor_guard.testing import START
from tests.sim import config
from tests.sim.invariants import Invariant
from tests.sim.pool import one, outcomes, quiet
from tests.sim.run import Outcome, compare, run, world_of
from tests.sim.script import write
from tests.sim.world import Settings

SEEDS = int(os.environ.get("SENSOR_GUARD_SIM_SEEDS", "200"))
"""Worlds of seven days in this test, at 1.7 CPU seconds each.
`python -m tests.sim --seeds N` runs as many as are wanted."""


@pytest.fixture(autouse=True)
def _quiet():
    before = structlog.get_config()
    quiet()
    yield
    structlog.configure(**before)  # what others log is theirs
    shutil.rmtree(config.folder(), ignore_errors=True)
    config.folder.cache_clear()
    config.config.cache_clear()


@pytest.mark.timeout(2_400)
def test_nothing_is_violated_in_any_world():
    failed = [outcome for outcome in outcomes(range(SEEDS), 7, 2) if outcome.found]
    assert not failed, "\n\n".join(outcome.told() for outcome in sorted(failed, key=lambda one: one.seed))


def test_the_same_seed_is_the_same_world():
    first, second = run(3, 3), run(3, 3)
    assert (first.last, first.faults, first.turns) == (second.last, second.faults, second.turns)


def test_a_world_that_fails_says_how_to_see_it_again(monkeypatch):
    monkeypatch.setattr(conditions, "REARM_FOR", HOUR)
    monkeypatch.setattr(orders, "REARM_FOR", HOUR)
    outcome = first_failure()
    assert f"again: python -m tests.sim --seed {outcome.seed} --days {outcome.days}" in outcome.told()
    assert str(outcome.found[0].invariant) in outcome.told()


HAPPENINGS = {
    "power_cut_nothing": "'power_cut', detail='nothing'",
    "power_cut_sessions": "'power_cut', detail='sessions'",
    "qos0": "best_effort='h",
    "qos0_lost": "'(cut|power_cut)'.*best_effort='h",
    "retained": "'session_expires'.*retains=True",
    "boot_1970": "'boot_1970'",
    "said_in_1970": "'boot_1970'",
    "told_elsewhere": "'sms', detail='down'.*has_second_channel=True",
}
"""What the world counts, and what a script must hold for it."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", HAPPENINGS)
def test_it_happens(name):
    fitting = (seed for seed in range(5_000) if re.search(HAPPENINGS[name], str(write(seed, START, 5))))
    for seed in itertools.islice(fitting, 20):
        outcome = Outcome(seed, 5)
        world_of(outcome, Settings())
        assert outcome.found == [], outcome.told()
        if outcome.faults[name]:
            return
    raise AssertionError("it has happened in none of twenty worlds that provide for it")


def first_failure(days: int = 5, limit: int = 60, needs: str = "") -> Outcome:
    """The first world that the changed program does not survive; ``needs``: of those with such a happening."""
    fitting = (seed for seed in range(5_000) if re.search(needs, str(write(seed, START, days).happenings)))
    for seed in itertools.islice(fitting, limit):
        outcome = Outcome(seed, days)
        world_of(outcome, Settings())
        if outcome.found:
            return outcome
    raise AssertionError(f"{limit} worlds have not noticed")


# -- each invariant can fail: the program is broken in one place, and the world says what is wrong by name ------------


def breaks_ack(patch):
    """Acknowledged before the commit, and the disk refuses the batch for a while."""
    real = Line._turn

    def turn(self, turn):
        messages = turn.messages()
        if messages and self.standing.subscriber is not None:
            self.standing.subscriber.ack(messages)
            for connection in (self.standing.subscriber.bulk, self.standing.subscriber.urgent):
                connection._send_acks()
        return real(self, turn)

    patch.setattr(Line, "_turn", turn)


def breaks_duplicates(patch):
    """Redelivered packets are new ones."""
    patch.setattr(RecentPackets, "seen", lambda *_args, **_more: False)


def breaks_replay(patch):
    """A random draw decides in the engine."""
    real, rng = Cases.raise_alarm, random.Random(5)

    def raise_alarm(self, rule, at, now, evidence, effects):
        real(self, rule, at - rng.randrange(1, 2_000), now, evidence, effects)

    patch.setattr(Cases, "raise_alarm", raise_alarm)


def breaks_closing(patch):
    """An alarm that is no longer true closes by itself."""
    real = Cases.happens

    def happens(self, rule_id, happening, at, effects):
        real(self, rule_id, happening, at, effects)
        alarm = self.open_alarm(rule_id)
        if alarm is not None and alarm.condition is Truth.FALSE:
            closed = happen(alarm, Happening.CLOSED, at, effects, actor_id="nobody", outcome="fine")
            self._answered(closed, at, effects)

    patch.setattr(Cases, "happens", happens)


def breaks_mute(patch):
    """A mute of the panic button is taken."""
    real = Engine._mute

    def mute(self, seq, item, effects):
        before = len(effects.refused)
        real(self, seq, item, effects)
        del effects.refused[before:]

    patch.setattr(Engine, "_mute", mute)


def breaks_silence(patch):
    """What a sensor said last holds for ever."""

    def below(watch, blind):
        levels = [state.level for state in watch.sensors]
        if blind or None in levels:
            return Truth.UNKNOWN
        return Truth.FALSE if any(level >= watch.condition.threshold for level in levels) else Truth.TRUE

    patch.setitem(conditions._PREDICATES, Form.BELOW, below)


def breaks_blindness(patch):
    """A gap in which the broker may have lost everything counts as seen."""
    patch.setattr(Link, "_blind_from", lambda *_args: None)
    patch.setattr("sensor_guard.mqtt.lane.Lane.end_session_fault", lambda *_args: None)
    patch.setattr("sensor_guard.engine.home.Home.fault", lambda *_args: None)


def breaks_deadlines(patch):
    """Readings first, then what was overdue."""
    real = Home.advance

    def advance(self, until, now, effects):
        deadline, self.deadline = self.deadline, conditions.FAR
        real(self, until, now, effects)
        self.deadline = min(deadline, self.next_deadline())
        real(self, until, now, effects)

    patch.setattr(Home, "advance", advance)


def breaks_cause(patch):
    """Twelve hours are eleven."""
    real = conditions.Watch.completes_at
    patch.setattr(conditions.Watch, "completes_at", lambda self: real(self) - (HOUR if self.needs == 12 * HOUR else 0))


def breaks_alarm(patch):
    """Of smoke nobody hears."""
    real = Cases.raise_alarm

    def raise_alarm(self, rule, *rest):
        if rule.rule_id != "smoke":
            real(self, rule, *rest)

    patch.setattr(Cases, "raise_alarm", raise_alarm)


def breaks_ladder(patch):
    """An alarm that is no longer true is told to nobody further."""
    real = escalation.Climb.advance

    def advance(self, alarm, ladder, now, effects):
        if self.step and alarm.response is Response.UNANSWERED:
            self.due_at = now + 30 * DAY
            return
        real(self, alarm, ladder, now, effects)

    patch.setattr(escalation.Climb, "advance", advance)


def breaks_sending(patch):
    """A text whose reply was lost counts as sent."""
    real = SmsWorker._failed

    def failed(self, notification, error, now):
        if error.reason in ("unavailable", "rate_limited", "server_error", "unreachable"):
            self._reports.say(notification, "accepted", now, "")
            return
        real(self, notification, error, now)

    patch.setattr(SmsWorker, "_failed", failed)


def breaks_reconciling(patch):
    """A text in doubt is sent again without a look into the provider's list."""

    def reconcile(self, now):
        theirs = self._doubts.due(now)
        for one_ in theirs:
            self._doubts.forget(one_)
            self._settle(one_, None, now)
        return bool(theirs)

    patch.setattr(SmsWorker, "_reconcile", reconcile)


def breaks_history(patch):
    """The cursor moves though the write has failed."""
    real = Mirror._failed

    def failed(self, error, rows, kept, now):
        self._advance(rows[-1][0], now)
        return real(self, error, rows, kept, now)

    patch.setattr(Mirror, "_failed", failed)


def breaks_restart(patch):
    """What was counted of a hold is forgotten with the process."""
    real = Core.restore

    def restore(self, now, **more):
        differences = real(self, now, **more)
        for home in self.engine.homes.values():
            for watch in home.watches:
                watch.restart(now)
        self.engine.schedule_all()
        return differences

    patch.setattr(Core, "restore", restore)


MUTATIONS = {
    Invariant.NO_ACKED_READING_LOST: breaks_ack,
    Invariant.NO_READING_TWICE: breaks_duplicates,
    Invariant.JOURNAL_REPLAY_EQUALS: breaks_replay,
    Invariant.ONLY_PEOPLE_CLOSE: breaks_closing,
    Invariant.CRITICAL_NEVER_MUTED: breaks_mute,
    Invariant.SILENT_IS_NEVER_INACTIVITY: breaks_silence,
    Invariant.LOSS_IS_BLIND: breaks_blindness,
    Invariant.DEADLINES_BEFORE_READINGS: breaks_deadlines,
    Invariant.NO_ALARM_WITHOUT_CAUSE: breaks_cause,
    Invariant.NO_MISSED_ALARM: breaks_alarm,
    Invariant.OPEN_ALARM_IS_ANSWERED_OR_ESCALATED: breaks_ladder,
    Invariant.NO_TEXT_MISSING: breaks_sending,
    Invariant.NO_TEXT_TWICE_WITHIN_WINDOW: breaks_reconciling,
    Invariant.HISTORY_IS_COMPLETE: breaks_history,
}


NEEDS = {
    Invariant.NO_ACKED_READING_LOST: "'(before_commit|full|io_commit)'",
    Invariant.NO_READING_TWICE: "kind='crash', detail='after_commit'",
    Invariant.CRITICAL_NEVER_MUTED: "'mute_critical'",
    Invariant.SILENT_IS_NEVER_INACTIVITY: r"detail='h./power', lasts=([6-9]|1[0-4])\d{7}\b",
    Invariant.LOSS_IS_BLIND: "'(broker_kill|session_expires)', lasts=(24|180)",
    Invariant.NO_TEXT_TWICE_WITHIN_WINDOW: "",
    Invariant.HISTORY_IS_COMPLETE: "'influx', detail='(outage|server_error)'",
}
"""What a world must hold to be worth running for a mutation: the first ones that do are tried."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "breaks"), MUTATIONS.items(), ids=[str(name) for name in MUTATIONS])
def test_the_simulation_notices_by_name(name, breaks, monkeypatch):
    breaks(monkeypatch)
    assert first_failure(needs=NEEDS.get(name, "")).found[0].invariant is name


def test_the_simulation_notices_what_raises(monkeypatch):
    def raise_alarm(*_args, **_more):
        raise ZeroDivisionError

    monkeypatch.setattr(Cases, "raise_alarm", raise_alarm)
    assert one((0, 3)).found[0].invariant is Invariant.NOTHING_RAISES


def breaks_ticks(patch):
    """When an alarm was raised depends on how often somebody has looked."""
    step, raise_alarm, turns = Line.step, Cases.raise_alarm, itertools.count()

    def counted(self, events):
        next(turns)
        return step(self, events)

    def raised(self, rule, at, *more):
        raise_alarm(self, rule, at - next(turns) % 97 * 1_000, *more)

    patch.setattr(Line, "step", counted)
    patch.setattr(Cases, "raise_alarm", raised)


BESIDE = {
    Invariant.RESTART_CHANGES_NOTHING: (breaks_restart, Settings(crashes=False), "kind='crash'"),
    Invariant.TICK_SIZE_CHANGES_NOTHING: (breaks_ticks, Settings(linger=0, tick=7 * HOUR // 60), ""),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BESIDE, ids=str)
def test_two_worlds_side_by_side_notice_by_name(name, monkeypatch):
    """What each of them alone says is left out: here it is the difference that counts."""
    breaks, settings, needs = BESIDE[name]
    breaks(monkeypatch)
    fitting = (seed for seed in range(5_000) if re.search(needs, str(write(seed, START, 5).happenings)))
    for seed in itertools.islice(fitting, 30):
        outcome = Outcome(seed, 5)
        alarms = world_of(Outcome(seed, 5), Settings())
        compare(outcome, alarms, settings, name)
        if name in {found.invariant for found in outcome.found}:
            return
    raise AssertionError("thirty pairs of worlds have not noticed")


def test_every_invariant_is_proven_by_name():
    assert {*MUTATIONS, *BESIDE, Invariant.NOTHING_RAISES} == set(Invariant)
