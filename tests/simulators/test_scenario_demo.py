"""When the demo ends, and what it is judged by."""

from sensor_guard.model import HOUR, MINUTE
from simulators import scenario
from simulators.demo import expectations, of_the_night, story_is_over


def expected(state):
    return [
        {"home_id": home_id, "rule_id": rule_id, "raised_at": earliest, "state": state}
        for (home_id, rule_id), (earliest, _) in expectations().items()
    ]


def silent(raised_at):
    return {"home_id": "1-101", "rule_id": "sensor_silent", "raised_at": raised_at, "state": "active"}


def test_the_demo_ends_though_the_homes_fall_silent_after_the_night():
    after = silent(scenario.ENDS_AT + 2 * HOUR)

    assert len(expected("closed")) == 2
    assert story_is_over([*expected("closed"), after])
    assert of_the_night([*expected("closed"), after]) == expected("closed")


def test_on_a_machine_that_starts_slowly_the_homes_are_silent_before_the_night():
    before = silent(scenario.STARTS_AT - HOUR)

    assert of_the_night([before, *expected("closed")]) == expected("closed")


def test_the_demo_does_not_end_before_both_alarms_are_closed():
    assert not story_is_over([])
    assert not story_is_over(expected("acknowledged"))
    assert not story_is_over(expected("closed")[:1])


def test_what_rises_in_the_night_is_judged():
    during = silent(scenario.ENDS_AT - MINUTE)

    assert story_is_over([*expected("closed"), during])
    assert of_the_night([*expected("closed"), during]) == [*expected("closed"), during]
