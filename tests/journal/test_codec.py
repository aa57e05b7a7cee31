"""What the events table holds comes back as it was, and nothing else gets in."""

import json
from types import NoneType
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_guard.journal.codec import CodecError, decode, decode_evidence, encode, encode_evidence, storable
from sensor_guard.model import (
    ClockKnown,
    ClockStepped,
    Command,
    DeliveryReport,
    Drained,
    Evidence,
    Fault,
    Input,
    LinkLost,
    LinkUp,
    PlanChanged,
    Reading,
    SensorEvidence,
)
from tests.journal.make import T0

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(alphabet=st.characters())  # surrogates and NUL among them


def nouns():
    values = {str: TEXT, int: INT64, bool: st.booleans(), float: FINITE, NoneType: st.none()}
    return st.one_of(
        [
            st.builds(
                noun,
                **{
                    name: st.one_of([values[kind] for kind in get_args(hint) or (hint,)])
                    for name, hint in get_type_hints(noun).items()
                },
            )
            for noun in get_args(Input)
        ]
    )


@given(nouns())
def test_every_input_comes_back_as_it_was(item):
    back = decode(*encode(item))
    assert back == item
    assert type(back) is type(item)


@given(nouns())
def test_an_encoded_input_is_text_that_sqlite_can_hold(item):
    kind, body = encode(item)
    assert body.encode("utf-8")
    assert kind.isascii()


@given(st.integers(), FINITE | st.none(), st.booleans(), TEXT)
def test_evidence_comes_back_as_it_was(count, value, observed, detail):
    count %= 1 << 62
    sensors = (SensorEvidence("meter", "power_w", value, None, observed), SensorEvidence("m2", "motion", 1.0, T0, True))
    for evidence in (Evidence(T0, count, 0, sensors, count=count, test=observed, detail=detail), Evidence(T0, 0, 0)):
        assert decode_evidence(encode_evidence(evidence)) == evidence


EXAMPLES = [
    Reading("h", "s", "power_w", 1.0, T0, T0),
    Command("c", "mute", "door_open_night", "li", T0, until=T0 + 1, home_id="h"),
    DeliveryReport("n", "pending", T0, retry_at=T0 + 1),
    LinkLost(T0),
    LinkUp(T0, session_present=False, blind_from=T0 - 1),
    Drained(T0),
    Fault("disk_full", active=True, at=T0),
    ClockStepped(T0, -7_200_000),
    ClockKnown(T0, known=False),
    PlanChanged("abc", T0),
]


def test_every_input_of_the_model_has_a_kind_of_its_own():
    assert {type(item) for item in EXAMPLES} == set(get_args(Input))
    assert len({encode(item)[0] for item in EXAMPLES}) == len(EXAMPLES)
    assert [decode(*encode(item)) for item in EXAMPLES] == EXAMPLES


@pytest.mark.parametrize(
    "item",
    [
        Fault("disk_full", active=1, at=T0),
        Fault("disk_full", active=True, at=T0 + 0.5),
        Fault("disk_full", active=True, at=True),
        Fault("disk_full", active=True, at=1 << 63),
        Command("c", "close", "a", "li", T0, note=None),
        Command("c", "close", "a", b"li", T0),
        DeliveryReport("n", "accepted", T0, receipt_id=7),
        PlanChanged(None, T0),
        Reading("h", "s", "power_w", float("nan"), T0, T0),
        Reading("h", "s", "power_w", float("inf"), T0, T0),
        Reading("h", "s", "power_w", "3", T0, T0),
        "not a noun",
    ],
)
def test_what_could_not_be_read_back_is_not_written(item):
    with pytest.raises(CodecError):
        encode(item)


READING = encode(Reading("h", "s", "power_w", 1.5, T0, T0))[1]
BODY = {"at": T0, "session_present": True, "blind_from": None}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("link_gone", "{}"),
        ("link_up", "not json"),
        ("link_up", "[]"),
        ("link_up", "{}"),
        ("link_up", json.dumps(BODY | {"surplus": 1})),
        ("link_up", json.dumps(BODY | {"at": "soon"})),
        ("link_up", json.dumps(BODY | {"at": 1.0})),
        ("link_up", json.dumps(BODY | {"session_present": 1})),
        ("link_up", json.dumps(BODY | {"at": 1 << 70})),
        ("reading", READING.replace("1.5", "1e999")),
        ("reading", READING.replace("1.5", "NaN")),
    ],
)  # fmt: skip
def test_a_row_that_is_not_ours_is_refused_and_named(kind, body):
    with pytest.raises(CodecError, match=kind):
        decode(kind, body)


def test_a_field_that_a_later_version_added_with_a_default_may_be_missing():
    assert decode("link_up", json.dumps({"at": T0, "session_present": True})) == LinkUp(T0, True)


@given(TEXT)
def test_storable_text_can_be_bound_and_sound_text_is_left_as_it_is(words):
    kept = storable(words)
    kept.encode("utf-8")
    if not any("\ud800" <= letter <= "\udfff" for letter in words):
        assert kept == words
