"""A home that sleeps after a restart comes to the very same as one that was made at once."""

import json

import pytest

from sensor_guard.engine import snapshot
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.homes import Sleeper
from sensor_guard.engine.views import count_blind
from sensor_guard.model import HOUR, MINUTE, Drained, LinkLost, LinkUp
from tests.spec.worlds import World


class Restless(World):
    """Started anew again and again, and asked after every feed what can be asked without waking anybody."""

    restarts = 0.01
    slept = slept_through = 0

    def _restart(self) -> None:
        rows = {home_id: (self._seq, self._row(home)) for home_id, home in self.engine.homes.items()}
        link = json.loads(json.dumps(snapshot.save_link(self.engine)))
        self.engine = engine = Engine(self.plans.__getitem__)
        engine.homes.wake = lambda sleeper: snapshot.load_home(engine, sleeper.plan, json.loads(sleeper.row))
        snapshot.restore(engine, link, rows)
        if self._lost_at is None and self.rng.random() < 0.6:
            # The broker was down as well, as after a power cut.
            lost_at, blind = self._now, self.rng.random() < 0.8
            self._feed([LinkLost(lost_at)], lost_at)
            self._now += self.rng.choice([20_000, 20 * MINUTE, 5 * HOUR])
            up = LinkUp(self._now, session_present=not blind, blind_from=lost_at if blind else None)
            self._feed([up], self._now)
            self._feed([Drained(self._now)], self._now)

    def _row(self, home):
        return json.loads(json.dumps(snapshot.save_home(home)))

    def _feed(self, items, now) -> None:
        super()._feed(items, now)
        self.record._note("asked", [count_blind(self.engine), len(self.engine.homes)])


class Sleepy(Restless):
    """The same, and every home sleeps that may."""

    def _row(self, home):
        sleep = snapshot.sleep_of(home)
        return super()._row(home) if sleep is None else snapshot.Asleep(json.dumps(snapshot.save_home(home)), *sleep)

    def _restart(self) -> None:
        super()._restart()
        sleepers = [sleeper for _, sleeper in self.engine.homes.as_they_are() if isinstance(sleeper, Sleeper)]
        self.slept += len(sleepers)
        self.slept_through += sum(sleeper.blind is not None for sleeper in sleepers)


@pytest.mark.parametrize("seed", [0, 1, 2, 6])
def test_whoever_sleeps_comes_to_the_same_as_whoever_is_awake(seed):
    awake, sleepy = Restless(seed), Sleepy(seed)

    assert sleepy.play().digests() == awake.play().digests()

    assert sleepy.slept > 10
    assert sleepy.slept_through > 5
