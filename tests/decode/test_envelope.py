"""JSON within limits: each way of being wrong has its reason, and the fast and the slow way agree."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor_guard.decode import envelope
from sensor_guard.decode.envelope import DEPTH_LIMIT, PAYLOAD_LIMIT, read_object, read_value
from sensor_guard.errors import DecodeError


def nested(depth):
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"a":NaN}', "not_finite"),
        (b'{"a":-Infinity}', "not_finite"),
        (b'{"a":Infinity}', "not_finite"),
        (b'{"a":1e999}', "not_finite"),
        (b'{"a":[-1e999]}', "not_finite"),
        (b'{"a":' + b"9" * 400 + b".5}", "not_finite"),
        (b'{"a":9007199254740993}', "bad_value"),
        (b'{"a":-9007199254740993}', "bad_value"),
        (b'{"a":[1,{"b":9007199254740993}]}', "bad_value"),
        (b'{"a":' + b"9" * 4_000 + b"}", "bad_value"),
        (b'{"a":"\\\\","b":' + b"9" * 4_000 + b"}", "bad_value"),
        (b'{"a":' + b"9" * 5_000 + b"}", "too_large"),
        (b" " * (PAYLOAD_LIMIT - 1) + b"{}", "too_large"),
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'{"a":1,"a":"x"}', "duplicate_key"),
        (b'{"a":"x","a":1}', "duplicate_key"),
        (b'{"a" : "x" , "a" : "x"}', "duplicate_key"),
        (b'{"a":1,"\\u0061":1}', "duplicate_key"),
        (b'{"b":{"a":1,"a":[]}}', "duplicate_key"),
        (b'{"b":[{"a":{},"a":null}]}', "duplicate_key"),
        (nested(DEPTH_LIMIT + 1), "too_deep"),
        (b'{"t":"\\\\","a":' + nested(DEPTH_LIMIT) + b"}", "too_deep"),
        (b"[" * 9 + b"]" * 9, "too_deep"),
        (b"[" * 2_000 + b"]" * 2_000, "too_deep"),
        (b'{"a":"\\ud800"}', "bad_value"),
        (b'{"a":["\\udc00x"]}', "bad_value"),
        (b'{"\\ud800":1}', "bad_value"),
        (b'{"a":"\\u0000"}', "bad_value"),
        (b'{"\\u0000":1}', "bad_value"),
        (b'{"a":{"b":["\\u0000"]}}', "bad_value"),
        (b'{"a":"\x00"}', "bad_json"),
        (b'{"a":"\xff"}', "bad_json"),
        (b'{"a":"\xed\xa0\x80"}', "bad_json"),
        (b'\xef\xbb\xbf{"a":1}', "bad_json"),
        ('{"a":1}'.encode("utf-16"), "bad_json"),
        (b'{"a":1} {"a":1}', "bad_json"),
        (b'{"a":1,}', "bad_json"),
        (b"{'a':1}", "bad_json"),
        (b'{"a":01}', "bad_json"),
        (b'{"a":+1}', "bad_json"),
        (b'{"a":.5}', "bad_json"),
        (b"{", "bad_json"),
        (b"", "bad_json"),
        (b"\\", "bad_json"),
    ],
)
def test_what_is_out_of_bounds_has_its_reason(payload, reason):
    with pytest.raises(DecodeError) as caught:
        read_value(payload)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b' { "a" : 1 } ',
        b'{"a":9007199254740992,"b":-9007199254740992}',
        b'{"a":1.7976931348623157e308,"b":1e-400,"c":-0}',
        b'{"a":"\xe5\x8d\x97\xe4\xba\xac","b":"\\u5357\\u4eac \\ud83d\\ude00"}',
        b'{"a":"\\":\\"","b":"x:y"}',
        b'{"a":":","b":":"}',
        b'{"a":[true,false,null,[],{}],"b":{"a":{"a":1}}}',
        nested(DEPTH_LIMIT),
        b" " * (PAYLOAD_LIMIT - 2) + b"{}",
    ],
)
def test_what_is_within_bounds_is_what_json_says(payload):
    assert read_object(payload) == json.loads(payload)


@pytest.mark.parametrize("payload", [b"1", b'"x"', b"true", b"null", b"[]", b"-1.5"])
def test_a_value_need_not_be_an_object_where_none_is_asked_for(payload):
    assert read_value(payload) == json.loads(payload)
    with pytest.raises(DecodeError) as caught:
        read_object(payload)
    assert caught.value.reason == "not_an_object"


def test_a_strangers_text_cannot_break_a_line_of_the_detail():
    with pytest.raises(DecodeError) as caught:
        envelope.number("\n\x1b[31m" * 20, "power_w")
    assert "\n" not in caught.value.detail
    assert "\x1b" not in caught.value.detail
    assert len(caught.value.detail) < 80


numbers = st.integers(-(1 << 53), 1 << 53) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def depth(value):
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@settings(deadline=None)
@given(values, st.booleans(), st.sampled_from([None, (",", ":"), (" , ", " : ")]))
def test_whatever_json_can_write_is_read_back(value, is_ascii, separators):
    payload = json.dumps(value, ensure_ascii=is_ascii, separators=separators).encode()
    if len(payload) <= PAYLOAD_LIMIT and depth(value) <= DEPTH_LIMIT:
        assert read_value(payload) == value


@settings(deadline=None)
@given(st.dictionaries(texts, values, min_size=1, max_size=3), st.data())
def test_a_key_that_stands_there_twice_is_always_found(body, data):
    pairs = [f"{json.dumps(key)}:{json.dumps(value, ensure_ascii=False)}" for key, value in body.items()]
    again = data.draw(st.sampled_from(sorted(body)))
    pairs.append(json.dumps(again) + ":" + data.draw(st.sampled_from(["1", '"x"', "{}"])))
    payload = ("{" + ",".join(data.draw(st.permutations(pairs))) + "}").encode()
    with pytest.raises(DecodeError):
        read_value(payload)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0d8NaInfity1e9. -', max_size=40).map(str.encode))
def test_any_bytes_are_a_value_within_bounds_or_a_reason(payload):
    reason = None
    try:
        value = read_value(payload)
    except DecodeError as error:
        value, reason = None, error.reason
    assert reason in {None, "bad_json", "duplicate_key", "too_deep", "not_finite", "bad_value"}
    assert depth(value) <= DEPTH_LIMIT
    assert all(math.isfinite(leaf) and abs(leaf) <= 2e308 for leaf in leaves(value))


def leaves(value):
    if isinstance(value, (dict, list)):
        items = value.values() if isinstance(value, dict) else value
        return [leaf for item in items for leaf in leaves(item)]
    return [value] if isinstance(value, (int, float)) else []
