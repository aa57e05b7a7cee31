"""What is done to a box, scenario by scenario: a table, each row the same code for a short run and for the full one.

A scenario does its worst, with the load going on, and leaves the rest to ``verdict``: let everything settle, then
count. To add one (a full disk, a file system that turns read-only, a damaged journal): a function that does it, and a
row in ``SCENARIOS``.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import MappingProxyType

from tests.fakes.influx_faults import DROP, FORWARD, STORED_BUT_DROPPED
from tests.fakes.influx_faults import status as influx_status
from tests.fakes.twilio import LOSE_REPLY, Fault, Request, error
from tests.faults.box import Box, Setup, Tally
from tests.faults.failpoints import FAILPOINTS
from tests.faults.load import Load
from tests.faults.processes import Execs, Forks, say
from tests.faults.verdict import Invariant, Verdict, judge, settle

OFTEN = MappingProxyType({"checkpoint_inputs": 400, "flush_after": 300, "prune_limit": 60})
"""So that checkpoints and pruning, which take an hour's readings, are there to be interrupted."""
APART = ("during_prune", "after_write", "during_cursor")
"""Failpoints that need a box of their own kind."""
OLD_READINGS = 600


@dataclass(frozen=True)
class Size:
    """How much of it: ``trials`` of the scenario's own kind, ``homes`` with three incidents each at most."""

    trials: int
    homes: int = 12
    incident_every: int = 300
    rates: tuple[int, ...] = (600, 1_000, 2_000)
    first_incident: int = 151


@dataclass(frozen=True)
class Scenario:
    """A row. ``act`` gets the box with broker and provider running, nothing else; ``claims``: what it is there for."""

    name: str
    claims: str
    act: Callable[[Box, int], None]
    short: Size
    full: Size
    hurry: Mapping[str, int] = field(default_factory=dict)
    with_influxdb: bool = False


@dataclass
class Result:
    """What became of one scenario."""

    name: str
    seed: int
    verdict: Verdict
    tally: Tally
    seconds: float
    rates: tuple[int, ...] = ()


def run(scenario: Scenario, size: Size, seed: int, starter: Execs | Forks) -> Result:
    """Make a box, do it, let it settle, count."""
    load = Load(
        homes=size.homes,
        seed=seed,
        rates=size.rates,
        incident_every=size.incident_every,
        first_incident=size.first_incident,
    )
    setup = Setup(load, hurry=dict(scenario.hurry), with_influxdb=scenario.with_influxdb)
    return run_in(setup, lambda box: scenario.act(box, size.trials), scenario.name, seed, starter)


def run_in(setup: Setup, act: Callable[[Box], None], name: str, seed: int, starter: Execs | Forks) -> Result:
    """Do ``act`` to a box that is set up like that."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder,
        Box(Path(folder), setup, Random(f"{seed} {name}"), starter) as box,
    ):
        act(box)
        if box.publisher is not None:
            box.stop_load()
        settle(box)
        verdict = judge(box)
        return Result(name, seed, verdict, box.tally, time.monotonic() - began, setup.load.rates)


# -- the daemon is killed --------------------------------------------------------------------------------------------


def kills(box: Box, trials: int) -> None:
    """At random: during the start, while it catches up, and when it has caught up."""
    box.start_daemon()
    box.wait_up()
    box.start_load()
    for number in range(trials):
        box.tally.trials += 1
        if number % 4 == 3:
            box.pause(box.rng.uniform(0.0, 0.6))  # it may be anywhere in its start
        elif number % 4 == 2:
            box.pause(box.rng.uniform(0.3, 1.2))
        else:
            box.wait_up()
            box.pause(box.rng.uniform(0.0, 1.5))
        box.kill_daemon()
        box.pause(box.rng.choice((0.0, 0.0, 0.3, 1.0)))
        box.start_daemon()
        _tell(box, number, trials)
    box.wait_up()


def failpoints(*names: str) -> Callable[[Box, int], None]:
    """At each of these places so many times, at a random passing of it."""

    def act(box: Box, trials: int) -> None:
        box.start_daemon()
        box.wait_up()
        box.start_load()
        box.wait_acknowledged(300)
        box.kill_daemon()
        for name in names:
            for number in range(trials):
                _one_failpoint(box, name, number)
                _tell(box, number, trials, name)
        box.start_daemon()
        box.wait_up()

    return act


def _one_failpoint(box: Box, name: str, number: int) -> None:
    box.tally.trials += 1
    if name in ("during_restore", "during_start", "before_lease_commit", "after_lease", "before_post", "after_post"):
        hit = 1
    elif name == "between_acks":
        hit = box.rng.randint(1, 6)
    else:
        hit = box.rng.randint(1, 3) if number % 2 else 1
    if not box.spring(name, hit):
        box.wrong(Invariant.FAILPOINT_REACHED, f"{name}, passing {hit}")


def prune_killed(box: Box, trials: int) -> None:
    """Old readings are being removed when it is killed, in the middle of a transaction."""
    box.start_daemon()
    box.wait_up()
    box.start_load()
    # Every other trial removes a step's rows for good before it springs.
    box.wait_acknowledged(max(OLD_READINGS, trials * OFTEN["prune_limit"]))
    box.stop_load()
    settle(box)
    box.first_judged = box.published()  # what was there before may be gone afterwards
    assert box.stop_daemon() == 0
    box.move_clock(days=8)
    box.start_daemon()
    box.wait_up()
    box.start_load(first=box.first_judged)
    box.wait_acknowledged(box.first_judged + 1_000)
    box.kill_daemon()
    for number in range(trials):
        box.tally.trials += 1
        before = box.marks()
        box.start_daemon("during_prune", box.rng.randint(1, 2))
        box.wait_up()
        box.ask("prune")
        assert box.daemon is not None
        box.daemon.wait(180)
        if box.marks()[len(before) :] != ["during_prune"]:
            box.wrong(Invariant.FAILPOINT_REACHED, "during_prune")
        box.tally.daemon_kills += 1
        box.tally.hits["during_prune"] = box.tally.hits.get("during_prune", 0) + 1
        _tell(box, number, trials)
    box.start_daemon()
    box.wait_up()
    box.ask("prune")


# -- the broker ------------------------------------------------------------------------------------------------------


def broker_restarts(box: Box, trials: int) -> None:
    """A clean restart loses nothing."""
    _begin(box)
    for number in range(trials):
        box.tally.trials += 1
        box.pause(box.rng.uniform(0.2, 1.5))
        box.restart_broker()
        box.wait_up()
        _tell(box, number, trials)


def broker_kills(box: Box, trials: int) -> None:
    """What it loses is noticed: while all is well, while the daemon catches up, and with the daemon."""
    _begin(box)
    for number in range(trials):
        box.tally.trials += 1
        box.pause(box.rng.uniform(0.2, 1.5))
        if number % 3 == 1:  # readings wait in the broker, and some have been handed over
            box.kill_daemon()
            box.pause(box.rng.uniform(0.5, 2.0))
            box.start_daemon()
            box.pause(box.rng.uniform(0.0, 0.8))
            box.kill_broker()
        elif number % 3 == 2:
            box.kill_daemon()
            box.pause(box.rng.choice((0.0, 0.5)))
            box.kill_broker()
            box.start_daemon()
        else:
            box.kill_broker()
        box.pause(box.rng.choice((0.0, 0.3, 1.0)))
        box.broker_back()
        box.wait_up()
        _tell(box, number, trials)


def sessions_deleted(box: Box, trials: int) -> None:
    """Its store is gone between two runs of the broker: the daemon was there, or was not."""
    _begin(box)
    for number in range(trials):
        box.tally.trials += 1
        box.pause(box.rng.uniform(0.3, 1.0))
        if number % 2:
            box.kill_daemon()
        box.broker.stop()
        box.tally.broker_restarts += 1
        box.forget_sessions()
        if number % 2:
            box.start_daemon()
        box.broker_back()
        box.wait_up()
        _tell(box, number, trials)


def broker_late(box: Box, trials: int) -> None:
    """It is not there when the daemon starts."""
    _begin(box)
    for number in range(trials):
        box.tally.trials += 1
        box.pause(box.rng.uniform(0.1, 0.5))
        box.kill_daemon()
        box.broker.stop()
        box.tally.broker_restarts += 1
        box.start_daemon()
        box.pause(box.rng.uniform(0.3, 1.0))
        box.broker_back()
        box.wait_up()
        _tell(box, number, trials)


# -- the provider, the database --------------------------------------------------------------------------------------


def provider_fails(box: Box, trials: int) -> None:
    """It loses four replies of ten, answers 500 to two that it has taken, 503 to two; and the daemon is killed."""
    faults = [LOSE_REPLY] * 4 + [error(500, 20500, accept=True)] * 2 + [error(503)] * 2

    def choose(request: Request) -> Fault | None:
        if request.method == "GET":
            return error(503) if box.rng.random() < 0.1 else None
        return box.rng.choice([*faults, None, None])

    box.twilio.choose = choose
    kills(box, trials)
    box.stop_load()
    box.twilio.choose = lambda _request: None


def database_fails(box: Box, trials: int) -> None:
    """It refuses, drops, and takes without an answer; the daemon is killed between the write and the cursor."""
    box.start_daemon()
    box.wait_up()
    box.start_load()
    box.wait_acknowledged(300)
    box.kill_daemon()
    menu = [influx_status(503), influx_status(500), DROP, STORED_BUT_DROPPED, FORWARD, FORWARD, FORWARD, FORWARD]
    for number in range(trials):
        for name in ("after_write", "during_cursor"):
            box.influxdb.script(box.rng.choice(menu) for _ in range(3))
            _one_failpoint(box, name, number)
        _tell(box, number, trials)
    box.start_daemon()
    box.wait_up()


def _begin(box: Box) -> None:
    box.start_daemon()
    box.wait_up()
    box.start_load()
    box.wait_acknowledged(200)


def _tell(box: Box, number: int, trials: int, name: str = "") -> None:
    if trials >= 10 and (number + 1) % 5 == 0:
        say(f"  {name or 'trial'} {number + 1} of {trials}, {box.acknowledged()} readings acknowledged")


OF_TEXTS = (
    "before_alarm_commit",
    "before_lease_commit",
    "after_alarm_commit",
    "after_lease",
    "before_post",
    "after_post",
    "before_report",
    "before_receipt",
)
OF_READINGS = tuple(name for name in FAILPOINTS if name not in (*APART, *OF_TEXTS))

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "kills",
        "kill -9 of the daemon at random moments",
        kills,
        Size(5, homes=16),
        Size(200, homes=250, incident_every=900),
    ),
    Scenario(
        "steps_of_readings",
        "kill -9 at every named step of a reading's way",
        failpoints(*OF_READINGS),
        Size(1, homes=30, rates=(500,)),
        Size(50, homes=150, incident_every=900, rates=(500, 1_000)),
        hurry=OFTEN,
    ),
    Scenario(
        "steps_of_texts",
        "kill -9 at every named step of a text's way",
        failpoints(*OF_TEXTS),
        Size(1, homes=60, incident_every=150, rates=(500,)),
        Size(50, homes=400, incident_every=600, rates=(500,)),
        hurry=OFTEN,
    ),
    Scenario(
        "prune",
        "kill -9 while old readings are removed",
        prune_killed,
        Size(1, homes=20, rates=(1_000,), first_incident=901),
        Size(50, homes=100, rates=(600,), first_incident=4_801),
        hurry=OFTEN,
    ),
    Scenario(
        "broker_restarts",
        "clean restarts of the broker",
        broker_restarts,
        Size(2, homes=12, rates=(600, 1_000)),
        Size(50, homes=120, incident_every=900),
    ),
    Scenario(
        "broker_kills",
        "kill -9 of the broker: alone, with a backlog, together with the daemon",
        broker_kills,
        Size(3, homes=12, rates=(600, 1_000)),
        Size(60, homes=120, incident_every=900),
    ),
    Scenario(
        "sessions_deleted",
        "the broker's store is deleted",
        sessions_deleted,
        Size(2, homes=12, rates=(600,)),
        Size(20, homes=60, incident_every=600),
    ),
    Scenario(
        "broker_late",
        "no broker when the daemon starts",
        broker_late,
        Size(1, homes=12, rates=(600,)),
        Size(20, homes=60, incident_every=600),
    ),
    Scenario(
        "provider_fails",
        "the provider loses replies while the daemon is killed",
        provider_fails,
        Size(2, homes=12, rates=(600,)),
        Size(50, homes=120, incident_every=600),
    ),
    Scenario(
        "database_fails",
        "InfluxDB fails, and the daemon is killed between the write and the cursor",
        database_fails,
        Size(1, homes=12, rates=(600,)),
        Size(50, homes=120, incident_every=600),
        hurry=OFTEN,
        with_influxdb=True,
    ),
)
