"""A plan and its canonical text say the same."""

import json
from dataclasses import replace
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_guard.config import load_rules, plan_from_text, plan_hash, plan_to_text, shipped_rules_directory, text_hash
from sensor_guard.engine.plan import Condition, Form, HomePlan, Ladder, Plan, Rule, Sensor, Step
from sensor_guard.model import KINDS, Quantity, Severity

ids = st.text("abz019_-", min_size=1, max_size=8)
spans = st.integers(0, 10**12)
texts = st.lists(st.tuples(st.sampled_from(["zh", "en"]), st.text(max_size=20)), max_size=2).map(tuple)
conditions = st.builds(
    Condition,
    st.sampled_from(Form),
    st.none() | st.sampled_from(sorted(KINDS)),
    st.none() | st.sampled_from([quantity.value for quantity in Quantity]),
    st.floats(allow_nan=False, allow_infinity=False),
    spans,
    st.none() | st.tuples(st.integers(0, 1440), st.integers(0, 1440)),
)
rules = st.builds(
    Rule, ids, conditions, st.sampled_from(Severity), ids, st.booleans(), st.booleans(), st.booleans(), texts, texts
)
meters = st.sampled_from(["counter", "interval"])
sensors = st.builds(Sensor, ids, st.sampled_from(sorted(KINDS)), spans, meters, st.none() | spans)
ladders = st.builds(
    Ladder, st.lists(st.builds(Step, spans, st.lists(ids, max_size=3).map(tuple)), max_size=3).map(tuple), spans, spans
)
homes = st.builds(
    HomePlan,
    ids,
    ids,
    st.just("") | ids,
    st.lists(sensors, max_size=3).map(tuple),
    st.lists(st.tuples(ids, ladders), max_size=3).map(tuple),
    st.lists(ids, max_size=2).map(tuple),
)
plans = st.builds(
    Plan,
    st.lists(rules, max_size=4).map(tuple),
    st.lists(homes, max_size=4).map(tuple),
    spans,
    st.just(UTC),
    st.sampled_from(["UTC", "Asia/Shanghai", "Europe/London"]),
)


@given(plans)
def test_plan_comes_back_exactly(plan):
    text = plan_to_text(plan)
    back = plan_from_text(text)

    assert back == plan
    assert plan_to_text(back) == text
    assert plan_hash(back) == text_hash(text)


def test_zone_comes_back_by_its_name():
    assert str(plan_from_text(plan_to_text(Plan((), (), zone_name="Asia/Shanghai"))).zone) == "Asia/Shanghai"
    assert plan_from_text(plan_to_text(Plan((), ()))).zone is UTC


def test_equal_ladders_are_one_object_again():
    ladder = Ladder((Step(0, ("a",)),), 1, 2)
    home = HomePlan("h", "s", "b", (), (("welfare", ladder), ("urgent", ladder)))

    back = plan_from_text(plan_to_text(Plan((), (home, replace(home, home_id="i")))))

    assert len({id(ladder) for home in back.homes for _, ladder in home.ladders}) == 1


def test_another_word_in_a_message_is_another_plan():
    book = load_rules([shipped_rules_directory()])
    plan = Plan(book.rules, ())
    other = Plan((replace(book.rules[0], messages=(("zh", "{home} x"),)), *book.rules[1:]), ())

    assert plan_hash(plan) != plan_hash(other)
    assert plan_hash(plan) == plan_hash(plan_from_text(plan_to_text(plan)))


def test_hash_of_a_plan_stays_what_it_is():
    """The journal names plans by it: a change of the form must take a new number, see FORM."""
    plan = Plan(
        (Rule("r", Condition(Form.BELOW, "power", None, 5.0, 1), Severity.WARNING, "w", names=(("zh", "名"),)),),
        (HomePlan("h", "s", "b", (Sensor("p", "power", 1),), (("w", Ladder((Step(0, ("a",)),), 1, 2)),)),),
    )

    assert plan_hash(plan) == "2bd59506417d64a71dfaa2a016a9e80d7d70fba7b1d4d2b6f39774ae99974a3e"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a stored plan"),
        ("[]", "not a stored plan"),
        ("{}", "not a stored plan"),
        ('{"form": 2}', "the stored plan has the form 2, this version reads 1; update the program"),
        ('{"form": 1}', "not a stored plan"),
        ('{"form":1,"homes":[["h","s","b",[],[["w",7]],[]]],"ladders":[],"lateness":0,"rules":[],"zone":"UTC"}', "not"),
        ('{"form":1,"homes":[],"ladders":[],"lateness":0,"rules":[],"zone":"Mars"}', "not a stored plan"),
    ],
)
def test_what_is_no_stored_plan_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        plan_from_text(text)


def test_text_is_canonical_json():
    text = plan_to_text(Plan((), ()))

    assert text == json.dumps(json.loads(text), separators=(",", ":"), sort_keys=True)
