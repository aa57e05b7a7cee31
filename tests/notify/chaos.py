"""Many alarms against a provider that loses replies: how many are missing, and how many come twice.

The whole line but MQTT on virtual time: engine, a real SQLite journal, worker, Twilio's official client, and the strict
stand-in for Twilio on loopback. ``kills``: the process ends that often, at a random one of the steps between the
attempt on disk, the POST, and the receipt on disk.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sensor_guard.model import SECOND
from sensor_guard.notify.limits import Limits
from sensor_guard.notify.twilio import TwilioNotifier
from sensor_guard.testing import VirtualClock
from tests.fakes.twilio import LOSE_REPLY, FakeTwilio, Fault, Request, error
from tests.notify.box import Box, plan, tally
from tests.notify.line import START, notifier

LOST, ERROR_AFTER_ACCEPT, UNAVAILABLE = 0.4, 0.2, 0.2
PER_PERSON = 20
"""Alarms to one person: each has a day's texts within the budget for critical ones."""


@dataclass(frozen=True)
class Outcome:
    """``texts``: that people were to get: a receipt that is late makes the ladder ask again, so more than alarms.

    ``missing``: of these, never sent; ``twice``: sent too many; ``posts``, ``lists``: what the provider was asked.
    """

    alarms: int
    texts: int
    missing: int
    twice: int
    posts: int
    lists: int
    kills: int
    virtual_h: float
    real_s: float


def bad_line(seed: int) -> Callable[[Request], Fault | None]:
    """40 % of the replies to texts are lost, 20 % are a 500 after the text was accepted, 20 % a 503."""
    dice = random.Random(seed)

    def choose(request: Request) -> Fault | None:
        if request.method != "POST":
            return None
        throw = dice.random()
        if throw < LOST:
            return LOSE_REPLY
        if throw < LOST + ERROR_AFTER_ACCEPT:
            return error(500, 20500, accept=True)
        return error(503) if throw < LOST + ERROR_AFTER_ACCEPT + UNAVAILABLE else None

    return choose


def run(directory: Path, count: int, *, seed: int = 1, kills: int = 0, reconcile: bool = True) -> Outcome:
    """Raise ``count`` critical alarms, twenty at once, and wait until each has gone out."""
    began, dice, clock = time.perf_counter(), random.Random(seed), VirtualClock(START)
    with FakeTwilio(clock=clock.now, list_lag=5 * SECOND) as twilio:
        twilio.choose = bad_line(seed)

        def channel() -> TwilioNotifier:
            made = notifier(twilio)
            if not reconcile:
                made.find = lambda *_: {}  # type: ignore[method-assign]
            return made

        people = [(f"p{number}",) for number in range(max(1, count // PER_PERSON))]
        box = Box(
            directory / "journal.db",
            plan(count, people=lambda home: [people[home % len(people)]]),
            channel,
            clock,
            limits=Limits(per_second=1, burst=5),
        )
        kill_at = set(dice.sample(range(1, count * 2), kills))
        step = 0

        def turn() -> None:
            nonlocal step
            step += 1
            if step not in kill_at:
                box.turn()
                return
            box.commit()  # the attempt is on disk
            if dice.random() < 0.7:
                box.worker.step(clock.now())  # the provider has it, or has not; what it said is lost
                if dice.random() < 0.3:
                    box.commit()  # or not
            box.kill()

        for start in range(0, count, PER_PERSON):
            box.cry(*range(start, min(count, start + PER_PERSON)))
            for _ in range(PER_PERSON):
                turn()
        # What lies between two POSTs may be a long wait of the virtual clock, and is never a long one of ours.
        for _ in range(count * 1_000):
            if not box.waiting() and not box.events:
                break
            for _ in range(20):
                turn()
        else:
            raise AssertionError("it does not come to an end")
        missing, twice = tally(box, [text.body for text in twilio.texts])
        alarms = len(box.journal.reader.alarms(limit=count + 1))
        texts = len(box.codes("folded_into IS NULL AND state NOT IN ('cancelled', 'failed')"))
        missing += count - len(box.rows("SELECT DISTINCT alarm_id FROM outbox"))
        box.close()
        return Outcome(
            alarms=alarms,
            texts=texts,
            missing=missing,
            twice=twice,
            posts=len(twilio.posts()),
            lists=len([request for request in twilio.gets() if request.get("To")]),
            kills=box.kills,
            virtual_h=(clock.at - START) / 3_600_000,
            real_s=time.perf_counter() - began,
        )
