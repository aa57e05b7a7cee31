"""What real devices have sent: quoted lines in ``quoted-payloads.jsonl``, and all of them where the full file is.

Each line: convention, device, topic, payload, kind, source, note. Kind "none" must yield no reading and lose no sign of
life. What is of neither of our conventions must not crash, and must not be taken for something else.
"""

import json
from pathlib import Path

import pytest

from sensor_guard.config import TopicEntry
from sensor_guard.decode import DECODERS, Router
from sensor_guard.model import KINDS, Quarantined
from tests.decode.messages import message, values
from tests.simulators.places import VARIABLE, recordings_folder, recordings_wanted

QUOTED = Path(__file__).with_name("quoted-payloads.jsonl")
KIND_WORDS = {"button": "panic", "electricity": "power"}
EXPECTED = {
    # topic, then what makes the line the only one -> readings
    ("zigbee2mqtt/0xa4c13899607febd1", "the press"): [("panic", 1.0), ("battery_pct", 100.0)],
    ("zigbee2mqtt/0xa4c13899607febd1", "NOT a press"): [("battery_pct", 100.0)],
    ("zigbee2mqtt/0xSOS_uncommanded", ""): [("panic", 1.0), ("battery_pct", 80.0)],
    ("zigbee2mqtt/Clavier_code", ""): [("battery_pct", 100.0)],
    ("zigbee2mqttcc1352/plug_zigbee23", ""): [("power_w", 3.0), ("energy_wh", 8_420.0)],
    ("zigbee2mqtt/z1/energy", ""): [("energy_wh", 12_050.0)],
    ("zigbee2mqtt/z1/last_seen", ""): [("link", 1.0)],
    ("zigbee2mqtt/Motion2", ""): [("motion", 0.0), ("battery_pct", 100.0)],
    ("zigbee2mqtt/xiaomimotionkueche", ""): [("motion", 1.0), ("battery_pct", 100.0)],
    ("zigbee2mqtt/Detecteur mouvement", ""): [("motion", 1.0)],
    ("zigbee2mqtt/0x00158d0002006aa6", ""): [("motion", 0.0), ("battery_pct", 100.0)],
    ("zigbee2mqtt/0x00158d0001e50d78", ""): [("motion", 0.0), ("battery_pct", 100.0)],
    ("zigbee2mqtt/bridge/event", ""): [("link", 1.0)],
    ("zigbee2mqtt/Smoke", ""): [("smoke", 0.0), ("battery_pct", 100.0)],
    ("zigbee2mqtt/livingroomsmokedetector", ""): [("smoke", 0.0), ("battery_pct", 100.0)],
    ("zigbee2mqtt/zvg1", ""): [("battery_pct", 50.0)],
}


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def all_lines():
    path = recordings_folder() / "device-payloads.jsonl"
    return lines(path) if recordings_wanted() else []


def payload_of(row):
    payload = row["payload"]
    return payload.encode() if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False).encode()


def read_as(row, convention, kind):
    topic = row["topic"]
    sensor = TopicEntry("s", "h1", "sensor", kind, convention)
    return Router({topic: sensor}).route(message(payload_of(row), topic=topic, at=1_800_000_000_000))


def expected_of(row):
    topic_of, note_of = row["topic"], row.get("note", "")
    return next(value for (topic, note), value in EXPECTED.items() if topic == topic_of and note in note_of)


def check_ours(row):
    kind = KIND_WORDS.get(row["kind"], row["kind"])
    assert values(read_as(row, "zigbee2mqtt", kind if kind in KINDS else "motion")) == expected_of(row)


def check_foreign(row):
    """It may be refused, be a sign of life, or say its battery in percent; nothing else may be read out of it."""
    for convention in DECODERS:
        for kind in KINDS:
            answer = read_as(row, convention, kind)
            if not isinstance(answer, Quarantined):
                battery = row["payload"].get("battery") if isinstance(row["payload"], dict) else None
                assert values(answer) in ([("link", 1.0)], [("battery_pct", float(battery or 0))])


def test_the_quoted_payloads_of_zigbee2mqtt():
    rows = [row for row in lines(QUOTED) if row["convention"] == "zigbee2mqtt"]
    assert len(rows) == len(EXPECTED)
    for row in rows:
        check_ours(row)


def test_the_quoted_payloads_of_others():
    rows = [row for row in lines(QUOTED) if row["convention"] != "zigbee2mqtt"]
    assert rows
    for row in rows:
        check_foreign(row)


def test_every_quoted_payload_says_where_it_is_from():
    assert all(row["source"] for row in lines(QUOTED))


@pytest.mark.recordings
def test_every_payload_of_the_full_file(record_property):
    rows = all_lines()
    record_property("payloads", f"{len(rows)} lines; the folder is named by {VARIABLE}")
    for row in rows:
        if row["convention"] == "zigbee2mqtt":
            check_ours(row)
        else:
            check_foreign(row)
