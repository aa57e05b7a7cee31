"""The disk and the provider take nothing at once: the second way is used, and who is untold is counted."""

import random

import pytest

from sensor_guard.model import CommandKind, NotificationState
from sensor_guard.notify.outcome import Reason, failure
from sensor_guard.notify.protocol import Receipt
from sensor_guard.notify.worker import SmsWorker
from sensor_guard.outward import STORE, Untold
from tests.core.conftest import plan
from tests.core.line import Bench
from tests.core.test_stall import IO, KINDS
from tests.notify.line import Names

PANIC = "h1.panic.20260301T000005Z"


class Way:
    """A channel that takes everything, or nothing; remembers what it took."""

    def __init__(self, *, works):
        self.works = works
        self.sent = []

    def send(self, notification, _contact, _text, /):
        if not self.works:
            raise failure(Reason.UNAUTHORISED)
        self.sent.append((notification.notification_id, notification.recipient_id))
        return Receipt(f"SM{len(self.sent)}", NotificationState.DELIVERED)

    def receipt(self, _receipt_id, /):
        raise failure(Reason.UNAUTHORISED)

    def find(self, _contact, _codes, _since, /):
        raise failure(Reason.UNAUTHORISED)

    def close(self):
        pass


class TwoWays(Bench):
    """A bench with the real worker; it is turned with every second of a stall, as its thread would."""

    def __init__(self, path):
        super().__init__(path, plan("h1", "h2"))
        self.first, self.second_way = Way(works=False), Way(works=True)
        self.worker = self.standing.worker = SmsWorker(
            self.first,
            Names(),
            report=self.inbox.put,
            tell=self.inbox.put,
            jitter=random.Random(1),
            backup=[("console", self.second_way)],
        )
        self.untold = Untold(
            self.journal.reader.untold,
            lambda: bool(self.counters.stalled),
            unstored=lambda: self.counters.unstored,
            monotonic=self.clock.monotonic,
        )

    def pause(self, seconds):
        while self.worker.step(self.clock.now()) == 0.0:
            pass
        self.untold.look()
        return super().pause(seconds)


@pytest.fixture
def bench(tmp_path):
    made = TwoWays(tmp_path / "journal.db")
    made.clock.passes("5s")
    yield made
    assert made.journal.check(full=True) == []
    made.off()


def of_h1(told):
    return [one for one in told if one[0].startswith("h1.")]


@pytest.mark.parametrize(("error", "early"), KINDS)
def test_a_cry_that_cannot_be_stored_goes_out_on_the_second_way_while_the_first_is_down(bench, error, early):
    seen = []
    bench.fails(error, early=early, heals=60, meanwhile={59: lambda: seen.extend(of_h1(bench.second_way.sent))})
    bench.says("h1/panic", 1)
    bench.turn()

    assert sorted(seen) == [(f"{PANIC}.1", "worker1"), (f"{PANIC}.2", "family1")]


def test_a_cry_that_was_stored_and_not_sent_goes_out_on_the_second_way_though_the_disk_refuses_now(bench):
    bench.says("h1/panic", 1)
    bench.turns()
    assert bench.second_way.sent == []
    seen = []
    bench.fails(IO, heals=60, meanwhile={59: lambda: seen.extend(of_h1(bench.second_way.sent))})
    bench.says("h2/power_w", 80)
    bench.turn()

    assert sorted(seen) == [(f"{PANIC}.1", "worker1"), (f"{PANIC}.2", "family1")]


def test_who_sends_is_woken_for_what_the_second_way_is_to_take(bench):
    bench.says("h1/panic", 1)
    bench.turns()
    seen, back_up = [], bench.worker.back_up
    bench.worker.back_up = lambda texts: (seen.append("offer"), back_up(texts))
    bench.line.tellers.append(lambda: seen.append("woken"))
    bench.fails(IO, heals=30)
    bench.says("h2/power_w", 80)
    bench.turn()

    offers = [place for place, what in enumerate(seen) if what == "offer"]
    assert offers
    assert {seen[place + 1] for place in offers} == {"woken"}


def test_what_was_answered_meanwhile_is_not_told_on_the_second_way(bench):
    bench.second_way.works = False
    asks = {
        20: lambda: bench.asks(CommandKind.ACKNOWLEDGE, PANIC),
        25: lambda: setattr(bench.second_way, "works", True),
    }
    bench.says("h1/panic", 1)
    bench.turns()
    bench.fails(IO, heals=80, meanwhile=asks)
    bench.says("h2/power_w", 80)
    bench.turn()

    assert of_h1(bench.second_way.sent) == []


def test_a_text_that_the_first_way_took_is_not_offered_to_the_second(bench):
    bench.first.works = True
    happens = {
        20: lambda: setattr(bench.first, "works", False),
        21: lambda: bench.says("h2/smoke", 1),
    }
    bench.fails(IO, heals=90, meanwhile=happens)
    bench.says("h1/panic", 1)
    bench.turn()

    assert sorted(of_h1(bench.first.sent)) == [(f"{PANIC}.1", "worker1"), (f"{PANIC}.2", "family1")]
    assert {nid.partition(".")[0] for nid, _ in bench.second_way.sent} == {"h2"}


def test_nothing_but_calls_for_help_goes_out_on_the_second_way(bench):
    bench.fails(IO, heals=60)
    bench.says("h1/power_w", 3)
    bench.turn()

    assert bench.second_way.sent == []


def test_alarms_that_could_not_be_stored_and_told_are_counted_until_somebody_has_them(bench):
    words = []
    happens = {
        100: lambda: words.append(bench.untold.words),
        110: lambda: setattr(bench.first, "works", True),
        160: lambda: words.append(bench.untold.words),
    }
    bench.second_way.works = False
    bench.fails(IO, heals=200, meanwhile=happens)
    bench.says("h1/panic", 1)
    bench.turn()

    assert words == [(PANIC, STORE), (STORE,)]
    bench.turns()
    bench.untold.look()
    assert bench.untold.words == ()


def test_an_alarm_that_is_answered_while_the_disk_refuses_is_untold_no_longer(bench):
    words = []
    happens = {
        100: lambda: words.append(bench.untold.words),
        101: lambda: bench.asks(CommandKind.ACKNOWLEDGE, PANIC),
        103: lambda: words.append(bench.untold.words),
    }
    bench.fails(IO, heals=200, meanwhile=happens)
    bench.says("h1/panic", 1)
    bench.turn()

    assert words == [(PANIC, STORE), (STORE,)]
