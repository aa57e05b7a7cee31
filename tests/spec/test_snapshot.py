"""A box lives through an upgrade: rows of an older layout are read, and what was under way goes on.

layout-1.json was written by the program whose rows had layout 1, in the middle of world 11 of worlds.py: open and
closed alarms with their climbs, readings that wait for their place, a mute, two tests, a home that is away. With it
stands what that program came to when it was fed nothing but the time for thirty hours more.
"""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from sensor_guard.engine import snapshot
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.views import view_home
from sensor_guard.model import HOUR
from tests.spec.worlds import Record, World

LAYOUT_1 = json.loads(Path(__file__).with_name("layout-1.json").read_text())


HOME = ("home_id", "last_sign_at", "blind", "blind_since", "away", "away_until", "test_until", "muted_until",
        "open_alarms")  # fmt: skip
SENSOR = ("sensor_id", "kind", "heard_at", "observed", "blind_since", "level", "battery_pct")


class RecordOfThen(Record):
    """How a home stands, in the words of the program that wrote the file: later ones may say more."""

    def homes(self, engine):
        for home_id in sorted(engine.homes):
            view = asdict(view_home(engine, engine.homes[home_id]))
            sensors = [{name: sensor[name] for name in SENSOR} for sensor in view["sensors"]]
            self._note("home", {name: view[name] for name in HOME} | {"sensors": sensors})


def restored() -> Engine:
    engine = Engine(World(LAYOUT_1["seed"]).plans.__getitem__)
    rows = {home_id: (upto, snapshot.upgraded(1, row)) for home_id, (upto, row) in LAYOUT_1["rows"].items()}
    snapshot.restore(engine, LAYOUT_1["link"], rows)
    return engine


def test_rows_of_layout_1_come_to_what_they_would_have_come_to():
    engine, record = restored(), RecordOfThen()
    record.homes(engine)
    for n in range(30):
        record.effects(engine.feed([], LAYOUT_1["now"] + n * HOUR))
    record.homes(engine)
    digests = record.digests()
    assert {name: digests[name] for name in LAYOUT_1["comes_to"]} == LAYOUT_1["comes_to"]


def test_the_file_holds_what_it_says():
    rows = [row for _, row in LAYOUT_1["rows"].values()]
    assert any(row["pending"] for row in rows)
    assert any(row["climbs"] for row in rows)
    assert any(alarm["closed_at"] for row in rows for alarm in row["alarms"])
    assert any(row["home"][4] for row in rows)
    assert any(row["home"][5] for row in rows)


@pytest.mark.parametrize("home_id", sorted(LAYOUT_1["rows"]))
def test_a_row_that_was_read_is_written_in_the_present_layout_and_read_again(home_id):
    engine = restored()
    row = json.loads(json.dumps(snapshot.save_home(engine.homes[home_id])))
    again = snapshot.load_home(engine, engine.homes[home_id].plan, row)
    assert json.loads(json.dumps(snapshot.save_home(again))) == row


def test_an_alarm_is_written_with_every_field_that_it_has():
    alarms = [alarm for home in restored().homes.values() for alarm in home.cases.alarms.values()]
    assert any(alarm.evidence.sensors for alarm in alarms)
    for alarm in alarms:
        assert snapshot.save_alarm(alarm) == asdict(alarm)
        assert snapshot.load_alarm(json.loads(json.dumps(snapshot.save_alarm(alarm)))) == alarm


def test_every_layout_that_is_said_to_be_readable_is():
    assert snapshot.READABLE[-1] == snapshot.SCHEMA
    row = LAYOUT_1["rows"]["a1"][1]
    assert snapshot.upgraded(snapshot.SCHEMA, row) is row
