"""Odd times, thrown at a home in which nobody has moved for twelve hours: no alarm is lost to them, none hastened."""

from random import Random

from sensor_guard.decode import Router
from sensor_guard.decode.times import AHEAD
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.plan import HomePlan, Plan, Sensor
from sensor_guard.model import (
    BAD_DEVICE_CLOCK,
    DEVICE_TIME,
    HOUR,
    MINUTE,
    SECOND,
    Input,
    Instant,
    Message,
    PlanChanged,
    Quarantined,
    Reading,
)
from sensor_guard.testing import default_ladders
from tests.fuzz.fuzz import FuzzError, Report, is_plausible
from tests.fuzz.payloads import KEEPER, START, odd_time, topics
from tests.spec.conftest import RULES

EVERY = 5 * MINUTE
ODD_FOR = 12 * HOUR + 30 * MINUTE
WATCHED = {"power_w": ("power", 60.0, 3.0, "electricity_low"), "motion": ("motion", 1.0, 0.0, "no_movement")}
"""quantity -> sensor, what it says when somebody is there, what it says when nobody is, and the rule."""
_SENSORS = (Sensor("power", "power", HOUR), Sensor("motion", "motion", 25 * HOUR))
_RULES = tuple(rule for rule in RULES if rule.rule_id in ("electricity_low", "no_movement"))
PLAN = Plan(_RULES, (HomePlan(KEEPER, "s1", "b1", _SENSORS, default_ladders()),), lateness=5 * SECOND)


class Round:
    """Somebody is there at ``start``, and then words of use come whose times are odd; afterwards the plain truth.

    However they are dated, each alarm rises no earlier than 12 h after the start, and no later than 12 h after the
    newest use that a device itself has dated; and nobody was heard in the future.
    """

    def __init__(self, rng: Random, report: Report) -> None:
        self._rng, self._report = rng, report
        self._router = Router({topic: entry for topic, entry in topics().items() if entry.home_id == KEEPER})
        self._engine = Engine(lambda _hash: PLAN)
        self.start = START + rng.randrange(365) * 24 * HOUR
        self._seq = 1
        self._raised: dict[str, Instant] = {}
        self._newest = dict.fromkeys(WATCHED, self.start)
        self.thrown = 0
        self._engine.feed([(1, PlanChanged("p", self.start))], self.start)

    def run(self) -> None:
        for now in range(self.start, self.start + ODD_FOR + 1, EVERY):
            inputs: list[Input] = []
            for quantity in WATCHED:
                inputs += self._words(quantity, now)
            self._feed(inputs, now)
            self._nobody_is_heard_in_the_future(now)
        end = self.start + ODD_FOR
        for now in range(end + EVERY, end + 12 * HOUR + 3 * EVERY, EVERY):
            self._feed([_plain(quantity, now) for quantity in WATCHED], now)
        for quantity, (_, _, _, rule_id) in WATCHED.items():
            self._judge(rule_id, self._newest[quantity])

    def _words(self, quantity: str, now: Instant) -> list[Input]:
        """Use at an odd time, and behind it what the sensor shows now; or nobody there."""
        sensor, used, _, _ = WATCHED[quantity]
        is_first = now == self.start
        if not is_first and self._rng.random() < 0.5:
            return [_plain(quantity, now)]
        stamp = str(now) if is_first else odd_time(self._rng, now)
        body = f'{{"{quantity}": {used}, "ts": {stamp}}}'.encode()
        answer = self._router.route(Message(f"guard/s1/{KEEPER}/{sensor}", body, 1, False, False, 1, 0, now))
        if isinstance(answer, Quarantined):
            raise FuzzError(f"refused for its time: {stamp}: {answer}")
        one = answer[0]
        if not is_plausible(one):
            raise FuzzError(f"{stamp} became {one}")
        self.thrown += not is_first
        self._report.times_believed += bool(one.flags & DEVICE_TIME)
        self._report.times_refused += bool(one.flags & BAD_DEVICE_CLOCK)
        self._newest[quantity] = max(self._newest[quantity], min(one.observed_at, now))
        return [one] if is_first else [one, _plain(quantity, now)]

    def _feed(self, inputs: list[Input], now: Instant) -> None:
        numbered = [(self._seq + n, one) for n, one in enumerate(inputs, 1)]
        self._seq += len(inputs)
        for transition in self._engine.feed(numbered, now).transitions:
            if transition.reason == "raised":
                self._raised.setdefault(transition.alarm_id.split(".")[1], transition.at)

    def _nobody_is_heard_in_the_future(self, now: Instant) -> None:
        for state in self._engine.homes[KEEPER].sensors.values():
            if (state.heard_at or 0) > now or state.silent_at > now + state.sensor.observed_for:
                raise FuzzError(f"last heard in the future: {state.heard_at} at {now}")

    def _judge(self, rule_id: str, newest: Instant) -> None:
        at = self._raised.get(rule_id)
        if at is None:
            raise FuzzError(f"{rule_id} was suppressed; the newest use was {newest - self.start} ms after the start")
        if at < self.start + 12 * HOUR or at > newest + 12 * HOUR + 2 * EVERY + AHEAD:
            raise FuzzError(f"{rule_id} rose {at - self.start} ms after the start; newest use {newest - self.start}")


def odd_times(seed: int, count: int, report: Report) -> None:
    """Throw ``count`` odd times, in as many rounds as that takes."""
    rng = Random(f"{seed}:times")
    while report.timestamps < count:
        one = Round(rng, report)
        one.run()
        report.timestamps += one.thrown


def _plain(quantity: str, now: Instant) -> Reading:
    sensor, _, unused, _ = WATCHED[quantity]
    return Reading(KEEPER, sensor, quantity, unused, now, now)
