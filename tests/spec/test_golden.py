"""Whole seeded worlds come to exactly what they came to before: alarms, texts, refusals, and how each home stands.

The digests in golden.json were first taken from the first engine, which was written for clearness and not for speed. A
digest that changes means that the program has changed its mind somewhere, or that rules, simulators or dice are others.
If that is meant, say so in the commit and write the file anew; if a change was to make the program faster or smaller
only, it is a mistake:

    python -m tests.spec.test_golden            # compare, world by world, more of them than the test does
    python -m tests.spec.test_golden --write    # take today's digests

``inputs`` alone does not tell: what people do in a world depends on its alarms. It differs without them where the
simulators or the dice of worlds.py were changed. Those of the worlds were taken anew once, when smoke that burns on
began to rise by itself and test mode to have a beginning; with both switched off they were the old ones to the letter.
And once more when calls that fifty newer ones to the same person have followed began to be taken back; likewise. And
when smoke that lasts began to raise a rule of one's own: without ``slow_smoke`` they were the old ones to the letter.
"""

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from sensor_guard.config import plan_for_unknown_homes
from sensor_guard.engine.conditions import SensorState
from sensor_guard.model import DAY, HOUR
from sensor_guard.replay import Replay
from sensor_guard.testing import START
from simulators.faults import Delay, Drop, Duplicate, inject
from simulators.homes import Home, live
from simulators.incidents import scatter
from tests.spec.worlds import World

GOLDEN = Path(__file__).with_name("golden.json")
WORLDS = 6
REPLAYS = 4


def replay_digests(seed: int) -> dict[str, object]:
    """Replay a small city with incidents; out of order with every other seed, unanswered with every fourth."""
    names = [f"home{number}" for number in range(12)]
    end = START + 5 * DAY
    zone = Home("x").zone
    incidents = scatter(names, START, end + 3 * DAY, seed=seed, every=20 * HOUR, zone=zone)
    homes = [Home(name, seed, incidents=tuple(i for i in incidents if i.home_id == name)) for name in names]
    faults = [Drop(0.01), Duplicate(0.02), Delay(0.02)] if seed % 2 else []
    readings = list(inject(live(homes, START, end), faults, seed=seed))
    plan = plan_for_unknown_homes(
        {(r.home_id, r.sensor_id, str(r.quantity)) for r in readings}, zone_name="Asia/Shanghai"
    )
    told = hashlib.sha256()
    steps: list[tuple[str, str]] = []

    def tell(transition, alarm):
        line = json.dumps([asdict(transition), asdict(alarm)], sort_keys=True)
        steps.append((alarm.home_id, line))
        told.update(line.encode())

    responder = "none" if seed % 4 == 3 else "prompt"
    outcome = Replay(plan, tell, responder=responder, in_order=not seed % 2).run(readings)
    by_home = hashlib.sha256("".join(line for _, line in sorted(steps, key=lambda step: step[0])).encode())
    return {
        "inputs": hashlib.sha256(repr(readings).encode()).hexdigest()[:16],
        "by_home": by_home.hexdigest()[:16],
        "in_order": told.hexdigest()[:16],
        "readings": outcome.readings,
        "raised": dict(sorted(outcome.raised.items())),
    }


def digests_of(name: str) -> dict[str, object]:
    kind, _, seed = name.partition(" ")
    return World(int(seed)).play().digests() if kind == "world" else replay_digests(int(seed))


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())


NAMES = [*(f"world {seed}" for seed in range(WORLDS)), *(f"replay {seed}" for seed in range(REPLAYS))]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_world_comes_to_has_not_changed(golden, name):
    assert digests_of(name) == golden[name]


@pytest.mark.parametrize("name", ["world 100", "world 101", "replay 100", "replay 101"])
def test_the_short_way_of_a_reading_comes_to_what_the_long_one_does(monkeypatch, name):
    short = digests_of(name)
    monkeypatch.setattr(SensorState, "says_nothing_new", lambda *_: False)
    assert digests_of(name) == short


def main() -> int:
    """Compare or write more worlds than the test has time for."""
    names = [*(f"world {seed}" for seed in range(2 * WORLDS)), *(f"replay {seed}" for seed in range(REPLAYS))]
    before = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    now = {name: digests_of(name) for name in names}
    if "--write" in sys.argv:
        GOLDEN.write_text("{\n" + ",\n".join(f'"{name}": {json.dumps(now[name])}' for name in names) + "\n}\n")
    different = [name for name in names if now[name] != before.get(name)]
    lines = [f"{name}: was {before.get(name)}, is {now[name]}" for name in different]
    sys.stdout.write("\n".join([*lines, f"{len(names)} worlds, {len(different)} different"]) + "\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
