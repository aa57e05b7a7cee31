"""What keeps the watchdog fed, what `status` says of the broker, and what is published of our health."""

import pytest

from sensor_guard.health import Heartbeats
from sensor_guard.inbox import Inbox
from sensor_guard.journal.errors import JournalFullError
from sensor_guard.model import CommandKind, Fault
from sensor_guard.standing import CANARY_LIMIT, Standing
from sensor_guard.testing import VirtualClock
from tests.core.conftest import at


class FakeSubscriber:
    age: float | None = 1.0
    reason = ""

    def healthy(self):
        return True

    def canary_age(self, _now):
        return self.age

    def trouble(self):
        return self.reason

    def gauges(self):
        return {"mqtt_bulk_up": float(not self.reason)}


@pytest.fixture
def standing(box):
    subscriber = FakeSubscriber()
    core = box.core
    return Standing(core, VirtualClock(), Inbox(), core.counters, Heartbeats(), 1, subscriber=subscriber)


def test_a_line_that_lets_nothing_through_is_stuck(standing):
    assert standing.is_alive(0.0)
    standing.subscriber.age = CANARY_LIMIT + 1
    assert not standing.is_alive(0.0)
    assert standing.check()[1]["stuck"] == ["canary"]


def test_an_outage_of_the_broker_is_no_reason_to_be_restarted(standing):
    standing.subscriber.age, standing.subscriber.reason = None, "bulk: refused: Not authorized"
    assert standing.is_alive(0.0)
    assert standing.status()["broker"] == "bulk: refused: Not authorized"
    standing.subscriber.reason = ""
    assert "broker" not in standing.status()


def test_nor_is_a_disk_that_takes_nothing(box, standing):
    standing.subscriber.age = 10 * CANARY_LIMIT
    box.journal.failing = 1
    turn = box.core.turn([box.message("h1/power_w", 80, at("1m"))], at("1m"))
    with pytest.raises(JournalFullError):
        box.core.commit(turn)
    assert standing.is_alive(0.0)
    box.core.commit(turn)
    assert not standing.is_alive(0.0)


def test_our_health_is_figures_and_ids_of_rules_only(box, standing):
    assert standing.report() | {"version": "", "at": ""} == {
        "version": "",
        "at": "",
        "state": "ok",
        "homes": 1,
        "blind_homes": 1,
        "open_alarms": 0,
        "unanswered": 0,
        "texts_pending": 0,
        "influxdb_backlog": 0,
        "faults": [],
        "next_within": 120,
    }
    box.says("1m", "h1/panic", 1)
    box.step("1m", Fault("session_lost", active=True, at=at("1m"), detail="bulk"))
    report = standing.report()
    assert (report["state"], report["faults"]) == ("degraded", ["session_lost"])
    assert (report["open_alarms"], report["unanswered"]) == (2, 2)
    assert report["texts_pending"] > 0
    assert "h1" not in str(report)


def test_a_fault_that_was_closed_while_it_lasts_is_still_named(box, standing):
    box.step("1m", Fault("sms_offline", active=True, at=at("1m"), detail="funds"))
    ((alarm_id, _, _),) = box.alarms()
    assert box.asks("2m", CommandKind.CLOSE, alarm_id, outcome="repaired") is None
    assert box.journal.reader.alarms(open_only=True) == []
    assert standing.status()["holding"] == ["sms_offline"]
    assert (standing.report()["state"], standing.report()["faults"]) == ("degraded", ["sms_offline"])
    box.step("3m", Fault("sms_offline", active=False, at=at("3m")))
    assert (standing.status()["holding"], standing.report()["state"]) == ([], "ok")


def test_a_fault_that_is_muted_is_still_named(box, standing):
    assert box.asks("1m", CommandKind.MUTE, "broker_offline", until=at("9h")) is None
    box.step("2m", Fault("broker_offline", active=True, at=at("2m"), detail="bulk"))
    assert standing.status()["holding"] == []  # its minute is not over
    box.step("4m")
    assert box.alarms() == []
    assert standing.status()["holding"] == ["broker_offline"]
    assert standing.report()["faults"] == ["broker_offline"]
