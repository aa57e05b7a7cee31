"""What recordings of real homes look like: gaps, flapping, counters, offsets, nights and clock changes."""

import pytest

from sensor_guard.clock import format_at, parse_at
from sensor_guard.testing import span
from tests.replay.conftest import START, at, row, series


def rules(told):
    return [(when, rule) for when, _, rule in told.raised]


# -- low electricity --------------------------------------------------------------------------------------------------


def test_twelve_hours_are_counted_from_the_first_low_reading_to_the_second(replay):
    rows = [row(0, "power_w", 80), *series("power_w", 4.999, "7m", "14h", since="1h0m13s")]

    assert [(at("13h0m13s"), "electricity_low")] == rules(replay(rows))


def test_five_watts_are_not_below_five(replay):
    assert rules(replay(series("power_w", 5, "10m", "30h"))) == []


def test_the_hold_is_complete_with_the_last_reading_and_not_without_it(replay):
    assert [(at("12h"), "electricity_low")] == rules(replay(series("power_w", 3, "10m", "12h")))
    assert rules(replay(series("power_w", 3, "10m", "11h59m"))) == []


def test_nothing_fires_after_the_last_reading(replay):
    rows = [row("0h", "power_w", 3), row("22h", "door_open", 1, sensor="door")]

    told = replay(rows, "--timezone", "UTC")

    assert told.raised == []
    assert max(line["at"] for line in told.lines) <= at("22h")


def test_one_kettle_starts_the_twelve_hours_again(replay):
    rows = [*series("power_w", 3, "10m", "11h50m"), row("11h55m", "power_w", 1800)]
    rows += series("power_w", 3, "10m", "30h", since="12h")

    assert [(at("24h"), "electricity_low")] == rules(replay(rows))


def test_a_value_that_flaps_every_minute_is_no_alarm(replay):
    rows = [row(f"{n}m", "power_w", 3 if n % 2 else 7) for n in range(30 * 60)]

    assert rules(replay(rows)) == []


def test_a_gap_neither_counts_nor_starts_again(replay):
    """Low for 6 h, 4 h of nothing, low again: the meter is believed for 1 h, then the hold waits 3 h."""
    rows = [*series("power_w", 3, "10m", "6h"), *series("power_w", 3, "10m", "20h", since="10h")]

    told = replay(rows)

    assert [(at("15h"), "electricity_low")] == rules(told)
    (line,) = [line for line in told.lines if line["rule_id"] == "electricity_low"]
    assert (line["evidence"]["observed_s"], line["evidence"]["blind_s"]) == (43_200, 10_800)
    assert [at("7h")] == [line["at"] for line in told.lines if line["rule_id"] == "sensor_silent"]


def test_two_readings_half_a_day_apart_prove_nothing(replay):
    assert rules(replay([row("0h", "power_w", 3), row("13h", "power_w", 3), row("26h", "power_w", 3)])) == []


def test_an_hourly_meter_is_not_silent_between_its_readings(replay):
    told = replay([row(f"{n}h{n % 7}m", "power_w", 3) for n in range(16)])

    assert [(at("12h"), "electricity_low")] == [(line["at"], line["rule_id"]) for line in told.lines]


def test_offsets_name_the_same_instants(replay):
    zones = ["+08:00", "-0330", "+00:00", "+05:45"]
    rows = []
    for n in range(79):
        moment = parse_at(at(f"{n * 10}m"))
        zone = zones[n % 4]
        sign, hours, minutes = zone[0], int(zone[1:3]), int(zone[-2:])
        local = moment + (1 if sign == "+" else -1) * (hours * 60 + minutes) * 60_000
        rows.append(f"{format_at(local).removesuffix('Z')}{zone},h1,s1,power_w,3")

    assert [(at("12h"), "electricity_low")] == rules(replay(rows))


def test_fractions_of_a_second_are_read(replay):
    rows = ["2026-03-01T00:00:00.500Z,h1,s1,power_w,3", *series("power_w", 3, "10m", "13h", since="10m")]

    assert [line["alarm_id"] for line in replay(rows).lines] == ["h1.electricity_low.20260301T120000Z"]


def test_rows_that_come_twice_change_nothing(replay):
    rows = [*series("power_w", 3, "10m", "13h"), row("3h", "panic", 1, sensor="b")]
    rows.sort()

    once, twice = replay(rows), replay([row for row in rows for _ in range(2)])

    assert [line["alarm_id"] for line in once.lines] == [line["alarm_id"] for line in twice.lines]
    assert len(once.lines) == 2


def test_of_two_readings_in_one_second_both_count_in_their_order(replay):
    low = series("power_w", 3, "10m", "20h")
    there = [*low[:30], row("5h", "power_w", 900), row("5h", "power_w", 3), *low[31:]]

    assert [(at("17h"), "electricity_low")] == rules(replay(there))


def test_two_meters_in_a_home_must_both_be_low(replay):
    rows = [*series("power_w", 3, "10m", "13h"), *series("power_w", 60, "10m", "13h", sensor="s2")]

    assert rules(replay(rows)) == []


def test_a_negative_power_is_low(replay):
    """A solar roof: what the meter sees is below 5 W."""
    assert [(at("12h"), "electricity_low")] == rules(replay(series("power_w", -300, "10m", "12h")))


# -- counters ---------------------------------------------------------------------------------------------------------


def counter(per_step, steps, *, every="30m", start=1000.0, quantity="energy_wh", since=0):
    return [row(since + n * span(every), quantity, start + n * per_step) for n in range(steps)]


def test_half_hour_energy_of_a_counter_is_mean_power(replay):
    """1 Wh in half an hour is 2 W; the first reading of a counter says nothing yet."""
    assert [(at("12h30m"), "electricity_low")] == rules(replay(counter(1, 60)))
    assert rules(replay(counter(2.5, 60))) == []


def test_half_hour_energy_of_intervals_is_mean_power(replay):
    rows = series("energy_wh", 1, "30m", "20h")

    assert [(at("12h30m"), "electricity_low")] == rules(replay(rows, "--meter", "interval"))
    assert rules(replay(series("energy_wh", 2.5, "30m", "20h"), "--meter", "interval")) == []


def test_a_counter_that_was_reset_starts_afresh_and_is_no_alarm(replay):
    rows = counter(50, 20) + counter(50, 40, start=0.0, since=20 * span("30m"))

    assert rules(replay(rows)) == []


def test_a_counter_reset_is_not_taken_for_use(replay):
    """The first reading after a reset says nothing: what was low before is believed as long as any word, 1 h."""
    rows = counter(1, 20) + counter(1, 20, start=0.0, since=20 * span("30m"))

    assert [(at("12h30m"), "electricity_low")] == rules(replay(rows))


def test_two_equal_counter_readings_in_one_instant_are_no_division_by_zero(replay):
    rows = [row for row in counter(1, 30) for _ in range(2)]

    for meter in ("counter", "interval"):
        assert replay(rows, "--meter", meter).code == 0


def test_a_tap_left_running_is_found_by_counter_and_by_flow(replay):
    assert [(at("2h10m"), "water_running")] == rules(replay(counter(15, 20, every="10m", quantity="volume_l")))
    assert [(at("2h"), "water_running")] == rules(replay(series("flow_l_min", 6, "10m", "3h")))


def test_a_shower_is_not_a_tap_left_running(replay):
    rows = [row(f"{n}m", "flow_l_min", 8 if n % 180 < 20 else 0) for n in range(0, 20 * 60, 5)]

    assert rules(replay(rows)) == []


def test_a_day_without_water_is_an_alarm(replay):
    rows = [row("0h", "flow_l_min", 5), *series("flow_l_min", 0, "30m", "26h", since="30m")]

    assert [(at("24h30m"), "water_none")] == rules(replay(rows))


# -- edges ------------------------------------------------------------------------------------------------------------


def test_panic_is_an_alarm_at_once_and_closed_after_an_hour(replay):
    told = replay([row("1h0m7s", "panic", 1), row("9h", "panic", 0)], "--transitions")

    assert [
        (at("1h0m7s"), "raised", "active"),
        (at("1h0m7s"), "acknowledged", "acknowledged"),
        (at("2h0m7s"), "closed", "closed"),
    ] == [(line["at"], line["transition"], line["state"]) for line in told.lines]


def test_each_press_after_closing_is_an_alarm_of_its_own(replay):
    rows = [row(f"{hour}h", "panic", 1) for hour in (1, 5, 9)]

    assert [(at(f"{hour}h"), "panic") for hour in (1, 5, 9)] == rules(replay(rows))


def test_smoke_that_goes_on_is_one_alarm_until_it_is_closed(replay):
    told = replay(series("smoke", 1, "1m", "50m"))

    assert [(at("0h"), "smoke")] == rules(told)


def test_without_a_responder_every_alarm_stays_open(replay):
    rows = [*series("power_w", 3, "10m", "13h"), row("13h30m", "power_w", 900)]
    rows += list(series("power_w", 3, "10m", "40h", since="13h40m"))

    assert [(at("12h"), "electricity_low"), (at("25h40m"), "electricity_low")] == rules(replay(rows))
    told = replay(rows, "--responder", "none", "--transitions")
    assert [line["transition"] for line in told.lines] == ["raised", "cleared", "recurred"]
    assert [line["state"] for line in told.lines] == ["active", "cleared", "active"]


def test_the_prompt_responder_closes_when_the_condition_is_over(replay):
    rows = [*series("power_w", 3, "10m", "13h"), row("13h30m", "power_w", 900)]

    told = replay(rows, "--transitions")

    assert [
        ("raised", at("12h")),
        ("acknowledged", at("12h")),
        ("cleared", at("13h30m")),
        ("closed", at("13h30m")),
    ] == [(line["transition"], line["at"]) for line in told.lines]


def test_two_weeks_with_a_quiet_day_each_give_an_alarm_each_day(replay):
    rows = [row(n * span("10m"), "power_w", 3 if n % 144 < 100 else 200) for n in range(14 * 144)]

    assert [(at(f"{day * 24 + 12}h"), "electricity_low") for day in range(14)] == rules(replay(rows))


def test_no_movement_counts_from_the_last_movement(replay):
    rows = [row("0h", "motion", 1), row("1h17m", "motion", 1), *series("motion", 0, "1h", "20h", since="2h")]

    assert [(at("13h17m"), "no_movement")] == rules(replay(rows))


def test_a_battery_is_told_once(replay):
    rows = [row(f"{n}h", "battery_pct", 14 - n / 10) for n in range(20)]

    assert [(at("0h"), "battery_low")] == rules(replay(rows))


def test_a_silent_sensor_is_told_with_its_last_word(replay):
    rows = [*series("motion", 1, "1h", "5h", sensor="hall"), *series("power_w", 90, "10m", "40h")]

    (line,) = [line for line in replay(rows).lines if line["rule_id"] == "sensor_silent"]

    assert (at("30h"), "sensor_silent", "maintenance") == (line["at"], line["rule_id"], line["severity"])
    assert at("5h") == line["evidence"]["since"]


def test_a_home_that_joins_late_was_not_silent_before(replay):
    rows = [*series("power_w", 90, "10m", "90h"), *series("power_w", 90, "10m", "90h", since="70h", home="h2")]
    rows += [row("80h", "door_open", 0, sensor="door")]

    assert replay(rows).lines == []


# -- hours of the day -------------------------------------------------------------------------------------------------


def test_a_door_left_open_over_midnight_is_found_in_the_homes_zone(replay):
    rows = [row("13h50m", "door_open", 1), row("17h", "door_open", 0)]  # 21:50 in Shanghai

    assert [(at("14h30m"), "door_open_night")] == rules(replay(rows, "--timezone", "Asia/Shanghai"))
    assert rules(replay(rows, "--timezone", "UTC")) == []


def test_a_door_that_stays_open_cries_again_the_next_night_in_the_same_alarm(replay):
    rows = [row("20h", "door_open", 1), *series("door_open", 1, "12h", "68h", since="32h")]

    told = replay(rows, "--transitions")

    assert [("raised", at("22h30m")), ("acknowledged", at("22h30m")), ("recurred", at("46h30m"))] == [
        (line["transition"], line["at"]) for line in told.lines
    ][:3]


@pytest.mark.parametrize(
    ("day", "opened", "raised"),
    [
        ("2026-03-29", "2026-03-29T00:45:00+00:00", "2026-03-29T01:15:00Z"),  # 00:45 GMT; 02:15 BST
        ("2026-10-25", "2026-10-25T00:45:00+01:00", "2026-10-25T00:15:00Z"),  # 01:15 BST, the first of two
        ("2026-10-25", "2026-10-25T01:45:00+01:00", "2026-10-25T01:15:00Z"),  # the second 01:15
        ("2026-10-24", "2026-10-24T21:50:00+01:00", "2026-10-24T21:30:00Z"),  # 22:30 BST
        ("2026-10-25", "2026-10-25T21:50:00+00:00", "2026-10-25T22:30:00Z"),  # 22:30 GMT
    ],
)
def test_half_an_hour_is_half_an_hour_when_the_clocks_change(replay, day, opened, raised):
    rows = [f"{opened},h1,s1,door_open,1", f"{format_at(parse_at(opened) + span('2h'))},h1,s1,door_open,0"]

    told = replay(rows, "--timezone", "Europe/London")

    assert [(raised, "door_open_night")] == rules(told)


def test_a_zone_that_does_not_exist_is_wrong_usage(replay):
    told = replay(series("power_w", 3, "10m", "1h"), "--timezone", "Mars/Olympus")

    assert told.code == 2
    assert "--timezone Mars/Olympus" in told.err


@pytest.mark.parametrize(("option", "value"), [("--responder", "slow"), ("--meter", "gas")])
def test_a_wrong_choice_is_wrong_usage(replay, option, value):
    told = replay(series("power_w", 3, "10m", "1h"), option, value)

    assert (told.code, told.out) == (2, "")
    assert option in told.err


# -- several things at once -------------------------------------------------------------------------------------------


def test_a_device_that_says_several_things_is_judged_for_each(replay):
    rows = [*series("power_w", 3, "10m", "13h"), row("10h", "motion", 1), row("12h30m", "panic", 1)]

    told = replay(rows)

    assert [(at("12h"), "electricity_low"), (at("12h30m"), "panic")] == sorted(rules(told))
    assert "taken as a sensor for each of its kinds: h1/s1 (motion, panic, power)" in told.err


def test_homes_are_judged_apart(replay):
    homes = [f"home-{n:02}" for n in range(12)]
    rows = sorted(
        reading
        for n, home in enumerate(homes)
        for reading in series("power_w", 3 if n % 3 == 0 else 300, "10m", "13h", home=home)
    )

    assert [(at("12h"), home, "electricity_low") for home in homes[::3]] == sorted(replay(rows).raised)


def test_lines_come_in_the_order_of_time(replay):
    rows = [*series("power_w", 3, "10m", "60h"), *series("motion", 1, "1h", "20h", home="h2", sensor="m")]
    rows += [row(f"{n}h", "panic", 1, home="h3") for n in range(0, 60, 7)]

    told = replay(rows, "--transitions")

    times = [line["at"] for line in told.lines]
    assert sorted(times) == times
    assert parse_at(times[0]) == START
