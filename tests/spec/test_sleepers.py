"""A home that sleeps after a restart comes to the very same as one that was made at once."""

import json

import pytest

from sensor_guard.engine import snapshot
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.views import count_blind
from tests.spec.worlds import World


class Restless(World):
    """Started anew again and again, and asked after every feed what can be asked without waking anybody."""

    restarts = 0.01
    slept = 0

    def _restart(self) -> None:
        rows = {home_id: (self._seq, self._row(home)) for home_id, home in self.engine.homes.items()}
        link = json.loads(json.dumps(snapshot.save_link(self.engine)))
        self.engine = engine = Engine(self.plans.__getitem__)
        engine.homes.wake = lambda sleeper: snapshot.load_home(engine, sleeper.plan, json.loads(sleeper.row))
        snapshot.restore(engine, link, rows)

    def _row(self, home):
        return json.loads(json.dumps(snapshot.save_home(home)))

    def _feed(self, items, now) -> None:
        super()._feed(items, now)
        self.record._note("asked", [count_blind(self.engine), self.engine.next_deadline(), sorted(self.engine.dirty)])


class Sleepy(Restless):
    """The same, and every home sleeps that may."""

    def _row(self, home):
        sleep = snapshot.sleep_of(home)
        return super()._row(home) if sleep is None else snapshot.Asleep(json.dumps(snapshot.save_home(home)), *sleep)

    def _restart(self) -> None:
        super()._restart()
        self.slept += sum(self.engine.homes.sleeper(home_id) is not None for home_id in self.engine.homes)


@pytest.mark.parametrize("seed", range(4))
def test_whoever_sleeps_comes_to_the_same_as_whoever_is_awake(seed):
    awake, sleepy = Restless(seed), Sleepy(seed)

    assert sleepy.play().digests() == awake.play().digests()

    assert sleepy.slept > 5
