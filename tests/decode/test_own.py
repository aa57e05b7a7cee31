"""Our own payload: what docs/payloads.md promises, field by field."""

import pytest

from sensor_guard.model import BAD_DEVICE_CLOCK, DAY, DEVICE_TIME, HOUR, KINDS, MINUTE, RETAINED, Quantity, Reading
from tests.decode.messages import ISO, NOW, message, read, route, router


def test_the_documented_payload():
    payload = {"power_w": 3.2, "ts": ISO, "seq": 417, "battery_pct": 88}
    assert route(payload) == [
        Reading("h1", "sensor", "power_w", 3.2, NOW, NOW, 417, DEVICE_TIME),
        Reading("h1", "sensor", "battery_pct", 88.0, NOW, NOW, 417, DEVICE_TIME),
    ]


def test_the_shortest_payload():
    assert route({"power_w": 3}) == [Reading("h1", "sensor", "power_w", 3.0, NOW, NOW)]


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("door", {"door_open": 1}, [("door_open", 1.0)]),
        ("smoke", {"smoke": 0}, [("smoke", 0.0)]),
        ("motion", {"motion": 1}, [("motion", 1.0)]),
        ("panic", {"panic": 1}, [("panic", 1.0)]),
        ("water", {"flow_l_min": 4.5, "volume_l": 1200.5}, [("flow_l_min", 4.5), ("volume_l", 1200.5)]),
        ("power", {"energy_wh": 15, "power_w": 3}, [("power_w", 3.0), ("energy_wh", 15.0)]),
        ("door", {"battery_pct": 88}, [("battery_pct", 88.0)]),
        ("door", {}, [("link", 1.0)]),
        ("door", {"ts": ISO, "seq": 1, "home": "h1"}, [("link", 1.0)]),
        ("door", {"link": 0}, [("link", 0.0)]),
        ("door", {"door_open": None, "battery_pct": None, "link": None, "seq": None, "ts": None}, [("link", 1.0)]),
        ("door", {"door_open": 1, "rssi": -70, "note": {"deep": [1, 2]}}, [("door_open", 1.0)]),
    ],
)
def test_every_kind_says_what_it_measures(kind, payload, expected):
    assert read(payload, kind) == expected


def test_every_quantity_of_every_kind_is_read():
    for kind, row in KINDS.items():
        for quantity in row.quantities:
            assert read({quantity.value: 1}, kind) == [(quantity.value, 1.0)]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"power_w": "3.2"}, "bad_value"),
        ({"power_w": True}, "bad_value"),
        ({"power_w": [3]}, "bad_value"),
        ({"power_w": {}}, "bad_value"),
        ({"power_w": 3, "seq": 1.5}, "bad_value"),
        ({"power_w": 3, "seq": -1}, "bad_value"),
        ({"power_w": 3, "seq": True}, "bad_value"),
        ({"power_w": 3, "seq": "7"}, "bad_value"),
        ({"power_w": 3, "battery_pct": "88"}, "bad_value"),
        ({"power_w": 3, "battery_pct": 101}, "out_of_range"),
        ({"power_w": 3, "battery_pct": -1}, "out_of_range"),
        ({"power_w": 100_001}, "out_of_range"),
        ({"link": 2}, "out_of_range"),
        ({"link": True}, "bad_value"),
        ({"powerw": 3}, "unknown_field"),
        ({"powerw": 3, "battery_pct": 88}, "unknown_field"),
        ({"door_open": 1}, "unknown_field"),
        ({"power_w": 3, "home": "h2"}, "id_mismatch"),
        ({"power_w": 3, "sensor": "other"}, "id_mismatch"),
        ({"power_w": 3, "site": "t"}, "id_mismatch"),
        ({"power_w": 3, "home": "h1", "site": "s", "sensor": "sensor2"}, "id_mismatch"),
        ({"power_w": 3, "home": "h1/+"}, "bad_id"),
        ({"power_w": 3, "home": 1}, "bad_id"),
        ({"power_w": 3, "home": None}, "bad_id"),
        ({"power_w": 3, "home": "h" * 65}, "bad_id"),
        ({"power_w": 3, "home": ""}, "bad_id"),
        (b"64541.0", "not_an_object"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b"ON", "bad_json"),
        (b"", "bad_json"),
    ],
)
def test_what_is_not_allowed_has_its_reason(payload, reason):
    assert read(payload) == reason


@pytest.mark.parametrize("kind", ["door", "smoke", "motion", "panic"])
def test_a_switch_is_0_or_1(kind):
    name = KINDS[kind].quantities[0].value
    assert read({name: 0}, kind) == [(name, 0.0)]
    assert read({name: 1.0}, kind) == [(name, 1.0)]
    assert read({name: 0.5}, kind) == "out_of_range"
    assert read({name: 2}, kind) == "out_of_range"
    assert read({name: True}, kind) == "bad_value"


@pytest.mark.parametrize(
    "beside",
    [
        {"seq": -1},
        {"seq": "x"},
        {"battery_pct": 127},
        {"battery_pct": "full"},
        {"battery_pct": None},
        {"link": 0},
        {"link": "x"},
        {"ts": "yesterday"},
        {"ts": [1]},
        {"smok": 1},
    ],
)
@pytest.mark.parametrize("kind", ["smoke", "panic"])
def test_a_cry_for_help_is_not_refused_for_what_stands_beside_it(kind, beside):
    assert read({kind: 1, **beside}, kind) == [(kind, 1.0)]


def test_a_cry_for_help_brings_its_battery_if_that_can_be():
    assert read({"smoke": 1, "battery_pct": 3}, "smoke") == [("smoke", 1.0), ("battery_pct", 3.0)]


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "observed_at"),
    [
        (ISO, NOW),
        ("2026-03-01T16:00:00+08:00", NOW),
        ("2026-03-01T08:00:00.250Z", NOW + 250),
        ("20260301T080000.250Z", NOW + 250),
        ("2026-03-01T08:00:00Z+0000", NOW),
        (NOW, NOW),
        (NOW // 1_000, NOW),
        (NOW / 1_000 + 0.25, NOW + 250),
        (NOW + 2 * MINUTE, NOW + 2 * MINUTE),
        ("2026-02-20T08:00:00Z", NOW - 9 * DAY),
        ("2020-01-01T00:00:00Z", 1_577_836_800_000),
    ],
)
def test_a_plausible_time_is_the_devices_own(said, observed_at):
    reading = route({"power_w": 3, "ts": said})[0]
    assert (reading.observed_at, reading.flags, reading.received_at) == (observed_at, DEVICE_TIME, NOW)


@pytest.mark.parametrize(
    "said",
    [
        NOW + 2 * MINUTE + 1,
        "2126-03-01T08:00:00Z",
        "1970-01-01T00:00:10Z",
        "2019-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        0,
        -1,
        4.32,
        1e300,
        -1e300,
        -1e308,
        -1.7e305,
        1 << 53,
        "",
        "2026-03-01",
        "2026-03-01T08:00:00",
        "2026-13-01T08:00:00Z",
        "yesterday",
        "1772352000",
        "Z" * 20,
        True,
        [],
        {},
    ],
)
def test_a_time_that_cannot_be_is_ours_with_a_flag(said):
    reading = route({"power_w": 3, "ts": said})[0]
    assert (reading.observed_at, reading.flags) == (NOW, BAD_DEVICE_CLOCK)


def test_a_fast_clock_makes_two_minutes_longer():
    ahead = {"power_w": 3, "ts": NOW + 12 * HOUR}
    assert route(ahead)[0].flags == BAD_DEVICE_CLOCK
    assert route(ahead, factor=720)[0].flags == DEVICE_TIME


# -- retained ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("door", {"door_open": 1}, [("door_open", 1.0)]),
        ("smoke", {"smoke": 1}, [("smoke", 1.0)]),
        ("panic", {"panic": 1}, [("link", 1.0)]),
        ("motion", {"motion": 1, "battery_pct": 50}, [("battery_pct", 50.0)]),
        ("motion", {"motion": 0}, [("link", 1.0)]),
        ("motion", {"link": 0}, [("link", 0.0)]),
    ],
)
def test_a_retained_message_is_a_level_at_best(kind, payload, expected):
    answer = route({**payload, "ts": ISO}, kind, retained=True)
    assert [(str(reading.quantity), reading.value) for reading in answer] == expected
    assert {reading.flags for reading in answer} == {DEVICE_TIME | RETAINED}


def test_the_same_message_gives_the_same_readings():
    route_one, one = router(), message({"power_w": 3, "ts": ISO})
    assert route_one.route(one) == route_one.route(one)
    assert route_one.route(one)[0].quantity == Quantity.POWER_W
