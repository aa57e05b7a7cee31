"""Zigbee2MQTT: what its attributes mean, and every trap that somebody has reported."""

import pytest

from sensor_guard.config import TopicEntry
from sensor_guard.decode import Router
from sensor_guard.model import BAD_DEVICE_CLOCK, DEVICE_TIME, RETAINED
from tests.decode.messages import ISO, NOW, message, read, route, values

Z2M = "zigbee2mqtt"


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("door", {"contact": True}, [("door_open", 0.0)]),  # true: the magnet touches
        ("door", {"contact": False}, [("door_open", 1.0)]),
        ("smoke", {"smoke": True}, [("smoke", 1.0)]),
        ("smoke", {"smoke": False, "test": True}, [("smoke", 0.0)]),
        ("motion", {"occupancy": True}, [("motion", 1.0)]),
        ("motion", {"occupancy": False}, [("motion", 0.0)]),
        ("motion", {"presence": True}, [("motion", 1.0)]),
        ("motion", {"presence": True, "occupancy": False}, [("motion", 1.0)]),
        ("motion", {"presence": None, "occupancy": False}, [("motion", 0.0)]),
        ("panic", {"action": "emergency"}, [("panic", 1.0)]),
        ("panic", {"action": ""}, [("link", 1.0)]),
        ("panic", {"action": None}, [("link", 1.0)]),
        ("panic", {"action": "single"}, [("link", 1.0)]),
        ("panic", {"action": ["emergency"]}, [("link", 1.0)]),
        ("water", {"flow": 0.6}, [("flow_l_min", 10.0)]),
        ("water", {"water_consumed": 12.5}, [("volume_l", 12_500.0)]),
        ("water", {"water_consumed": 12.5, "last_valve_open_duration": 3}, [("volume_l", 12.5)]),
        ("water", {"water_consumed": 12.5, "last_irrigation_duration": None}, [("volume_l", 12.5)]),
        ("water", {"water_consumed": None, "state": "ON"}, [("link", 1.0)]),
        ("water", {"water_leak": True}, [("link", 1.0)]),
        ("power", {"power": 3, "energy": 8.42}, [("power_w", 3.0), ("energy_wh", 8_420.0)]),
        ("power", {"power": None, "energy": None, "current": 0.1}, [("link", 1.0)]),
        ("door", {"occupancy": True}, [("link", 1.0)]),
        ("door", {"battery": 76.5}, [("battery_pct", 76.5)]),
        ("door", {}, [("link", 1.0)]),
    ],
)
def test_an_attribute_of_the_sensors_kind_is_a_reading(kind, payload, expected):
    assert read(payload, kind, Z2M) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (100, 100.0),
        ("100.00", 100.0),
        ("7", 7.0),
        (0, 0.0),
        (101, None),
        (-1, None),
        ("full", None),
        ("1e999", None),
        ("nan", None),
        ("1" * 9, None),
        (True, None),
        (None, None),
        ([5], None),
    ],
)
def test_a_battery_is_a_percentage_or_nothing(said, expected):
    answer = dict(read({"contact": True, "battery": said}, "door", Z2M))
    assert answer.pop("door_open") == 0.0
    assert answer.get("battery_pct") == expected


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        ("door", {"contact": 1}, "bad_value"),
        ("door", {"contact": "true"}, "bad_value"),
        ("smoke", {"smoke": 0}, "bad_value"),
        ("motion", {"occupancy": "ON"}, "bad_value"),
        ("power", {"power": "3"}, "bad_value"),
        ("power", {"energy": True}, "bad_value"),
        ("power", {"power": 200_000}, "out_of_range"),
        ("power", {"energy": 1e300}, "out_of_range"),
        ("power", {"energy": -0.1}, "out_of_range"),
        ("water", {"flow": {}}, "bad_value"),
        ("water", {"flow": 1e308}, "out_of_range"),
        ("water", {"water_consumed": "x"}, "bad_value"),
        ("power", b"12.05", "not_an_object"),
        ("power", b"online", "bad_json"),
        ("power", b"[]", "not_an_object"),
        ("power", b"", "bad_json"),
    ],
)
def test_what_cannot_be_has_its_reason(kind, payload, reason):
    assert read(payload, kind, Z2M) == reason


# -- last_seen ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "flags"),
    [
        (ISO, DEVICE_TIME),
        ("2026-03-01T16:00:00+08:00", DEVICE_TIME),
        (NOW, DEVICE_TIME),
        ("N/A", BAD_DEVICE_CLOCK),
        (None, 0),
    ],
)
def test_last_seen_is_the_time_of_the_reading(said, flags):
    reading = route({"contact": True, "last_seen": said}, "door", Z2M)[0]
    assert (reading.observed_at, reading.flags) == (NOW, flags)


# -- availability ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"state": "online"}, [("link", 1.0)]),
        ({"state": "offline"}, [("link", 0.0)]),
        (b"online", [("link", 1.0)]),
        (b"offline", [("link", 0.0)]),
        (b"Online", "bad_json"),
        ({"state": "asleep"}, "bad_value"),
        ({"state": True}, "bad_value"),
        ({}, "bad_value"),
        (b"\xff", "bad_json"),
        (b"x" * 5_000, "too_large"),
    ],
)
def test_the_gateway_says_whether_the_device_answers(payload, expected):
    router = Router({"zigbee2mqtt/front": TopicEntry("s", "h1", "sensor", "smoke", Z2M)})
    assert values(router.route(message(payload, topic="zigbee2mqtt/front/availability"))) == expected


# -- one topic per attribute -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "kind", "payload", "expected"),
    [
        ("zigbee2mqtt/z1/energy", "power", b"12.05", [("energy_wh", 12_050.0)]),
        ("zigbee2mqtt/z1/contact", "door", b"false", [("door_open", 1.0)]),
        ("zigbee2mqtt/z1/action", "panic", b"emergency", [("panic", 1.0)]),
        ("zigbee2mqtt/z1/action", "panic", b"", [("link", 1.0)]),
        ("zigbee2mqtt/z1/battery", "door", b"88", [("battery_pct", 88.0)]),
        ("zigbee2mqtt/z1/last_seen", "power", ISO.encode(), [("link", 1.0)]),
        ("zigbee2mqtt/z1/energy", "power", b"null", [("link", 1.0)]),
        ("zigbee2mqtt/z1/energy", "power", b"n/a", "bad_value"),
        ("zigbee2mqtt/z1/energy", "power", b"NaN", "not_finite"),
        ("zigbee2mqtt/z1/energy", "power", b"\xff", "bad_json"),
        ("zigbee2mqtt/z1/energy", "power", b"9" * 30, "bad_value"),
        ("zigbee2mqtt/energy", "power", b'{"power": 3}', [("power_w", 3.0)]),
        ("zigbee2mqtt/energy", "power", b" [1]", "not_an_object"),
    ],
)
def test_a_topic_of_one_attribute_carries_a_bare_value(topic, kind, payload, expected):
    assert read(payload, kind, Z2M, topic=topic) == expected


def test_a_bare_last_seen_is_the_time():
    reading = route(b"2026-03-01T09:00:00+02:00", "power", Z2M, topic="zigbee2mqtt/z1/last_seen")[0]
    assert (reading.observed_at, reading.flags) == (NOW - 3_600_000, DEVICE_TIME)


# -- retained ----------------------------------------------------------------------------------------------------------


def test_a_retained_press_is_nothing_and_a_retained_open_door_is_open():
    press = route({"action": "emergency", "battery": 80}, "panic", Z2M, retained=True)
    assert [(reading.quantity, reading.flags) for reading in press] == [("battery_pct", RETAINED)]
    door = route({"contact": False}, "door", Z2M, retained=True)
    assert [(reading.quantity, reading.value, reading.flags) for reading in door] == [("door_open", 1.0, RETAINED)]
