"""Topics to sensors: strangers are named and never remembered, and no message is ever without an answer."""

import json
import math
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor_guard.config import TopicEntry
from sensor_guard.config.homes import CONVENTIONS
from sensor_guard.decode import DECODERS, Router
from sensor_guard.model import KINDS, RANGES, Quarantined, Reading, RejectReason
from tests.decode.messages import NOW, message, router, values

HOMES = {
    "guard/s/h1/power": TopicEntry("s", "h1", "power", "power", "own"),
    "guard/s/h1/smoke": TopicEntry("s", "h1", "smoke", "smoke", "own"),
    "old/gateway/panic": TopicEntry("s", "h1", "panic", "panic", "own"),
    "old/gateway/door": TopicEntry("s", "h1", "door", "door", "own"),
    "zigbee2mqtt/h1 hall": TopicEntry("s", "h1", "hall", "motion", "zigbee2mqtt"),
    "zigbee2mqtt/h1 kitchen": TopicEntry("s", "h1", "kitchen", "smoke", "zigbee2mqtt"),
}


def test_every_convention_of_the_homes_file_has_a_decoder():
    assert set(DECODERS) == set(CONVENTIONS)


def test_each_topic_is_subscribed_once_and_smoke_and_panic_apart():
    subscribed = Router(HOMES)
    assert subscribed.filters == (
        "guard/#",
        "old/gateway/door",
        "zigbee2mqtt/h1 hall",
        "zigbee2mqtt/h1 hall/availability",
        "zigbee2mqtt/h1 kitchen/availability",
    )
    assert subscribed.urgent_topics == ("guard/s/h1/smoke", "old/gateway/panic", "zigbee2mqtt/h1 kitchen")


def test_a_topic_of_ours_is_read_wherever_it_stands():
    assert values(Router(HOMES).route(message({"panic": 1}, topic="old/gateway/panic"))) == [("panic", 1.0)]


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("guard/s/h1/unknown", "unknown_sensor"),
        ("guard/s/h2/power", "unknown_sensor"),
        ("zigbee2mqtt/other", "unknown_sensor"),
        ("zigbee2mqtt/h1 hall/set", "unknown_sensor"),
        ("zigbee2mqtt/bridge/event", "unknown_sensor"),
        ("guard", "bad_topic"),
        ("guard/s/h1", "bad_topic"),
        ("guard/s/h1/power/x", "bad_topic"),
        ("guard/s/h1/power/", "bad_topic"),
        ("guard/s//power", "bad_id"),
        ("guard/s/h1/+", "bad_id"),
        ("guard/s/h1/#", "bad_id"),
        ("guard/s/h1/po wer", "bad_id"),
        ("guard/s/h1/power\n", "bad_id"),
        ("guard/s/h1/\0", "bad_id"),
        ("guard/s/h1/楼", "bad_id"),
        ("guard/s/h1/" + "x" * 65, "bad_id"),
        ("zigbee2mqtt/+", "bad_id"),
        ("#", "bad_id"),
        ("a\0b", "bad_id"),
        ("\N{REPLACEMENT CHARACTER}", "unknown_sensor"),
    ],
)
def test_a_stranger_is_quarantined_with_a_reason(topic, reason):
    answer = Router(HOMES).route(message({"power_w": 3}, topic=topic))
    assert isinstance(answer, Quarantined)
    assert (answer.topic, answer.reason, answer.received_at) == (topic, reason, NOW)
    assert answer.payload == b'{"power_w": 3}'


def test_strangers_do_not_make_it_grow():
    homes = Router(HOMES)
    homes.route(message(b"{}", topic="guard/s/h0/power"))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for n in range(5_000):
        homes.route(message(b"{}", topic=f"guard/s/h{n}/power"))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


def test_what_is_kept_of_a_large_payload_is_cut():
    answer = router().route(message(b"x" * 100_000))
    assert isinstance(answer, Quarantined)
    assert (answer.reason, len(answer.payload)) == ("too_large", 4_096)


class Broken:
    def companions(self, topic):
        return ()

    def decode(self, message, sensor, ahead):
        raise ZeroDivisionError("oh")


def test_a_mistake_in_a_decoder_costs_one_message():
    answer = router(decoders={"own": Broken()}).route(message({"power_w": 3}))
    assert isinstance(answer, Quarantined)
    assert (answer.reason, answer.detail) == ("decoder_failed", "ZeroDivisionError: oh")


# -- whatever comes ----------------------------------------------------------------------------------------------------

names = st.sampled_from(
    ["power_w", "energy_wh", "door_open", "smoke", "motion", "panic", "flow_l_min", "volume_l", "battery_pct", "link",
     "ts", "seq", "home", "sensor", "site", "contact", "occupancy", "presence", "action", "power", "energy", "flow",
     "water_consumed", "last_valve_open_duration", "battery", "last_seen", "state", "x"]
)  # fmt: skip
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 60), 1 << 60)
    | st.floats()
    | st.sampled_from([0, 1, NOW, NOW // 1_000, "2026-03-01T08:00:00Z", "emergency", "online", "h1", "100.00", 1e308])
    | st.text(max_size=6)
)
bodies = st.dictionaries(names, leaves | st.lists(leaves, max_size=2) | st.dictionaries(names, leaves, max_size=2))


def dumped(body):
    return json.dumps(body).encode("utf-8", "surrogatepass")


payloads = (
    st.binary(max_size=40)
    | bodies.map(dumped)
    | st.tuples(bodies.map(dumped), st.integers(0, 60), st.binary(max_size=2)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
    )
)
topics = st.sampled_from(
    ["guard/s/h1/sensor", "zigbee2mqtt/front door", "zigbee2mqtt/front door/availability", "z/energy", "z/action"]
)


@settings(deadline=None)
@given(payloads, topics, st.sampled_from(list(KINDS)), st.sampled_from(list(DECODERS)), st.booleans())
def test_any_bytes_are_readings_in_range_or_quarantined(payload, topic, kind, convention, retained):
    sensor = TopicEntry("s", "h1", "sensor", kind, convention)
    answer = Router({topic.removesuffix("/availability"): sensor}).route(
        message(payload, topic=topic, retained=retained)
    )
    if isinstance(answer, Quarantined):
        assert answer.reason in set(RejectReason)
        assert answer.reason != "decoder_failed"
        return
    assert answer
    allowed = {quantity.value for quantity in KINDS[kind].quantities} | {"battery_pct", "link"}
    for reading in answer:
        assert isinstance(reading, Reading)
        assert reading == Reading(*reading)  # all of its fields are there
        assert (reading.home_id, reading.sensor_id, reading.received_at) == ("h1", "sensor", NOW)
        assert reading.quantity in allowed
        assert type(reading.value) is float
        assert math.isfinite(reading.value)
        assert RANGES[reading.quantity][0] <= reading.value <= RANGES[reading.quantity][1]
        assert type(reading.observed_at) is int
        assert 1_577_836_800_000 <= reading.observed_at <= NOW + 120_000
        assert -1 <= reading.seq <= 1 << 53
        assert not (retained and reading.quantity in {"motion", "panic"})


def test_the_ways_that_are_remembered_have_a_limit_and_are_found_again(monkeypatch):
    monkeypatch.setattr("sensor_guard.decode.router.WAYS_LIMIT", 2)
    found = Router(HOMES)
    said = {"guard/s/h1/power": "power_w", "guard/s/h1/smoke": "smoke", "old/gateway/panic": "panic"}
    for _ in range(2):
        for topic, quantity in said.items():
            assert values(found.route(message({quantity: 1}, topic=topic))) == [(quantity, 1.0)]
            assert len(found._ways) <= 2
