"""The stream says what it claims: what is expected of a box must not be wrong itself."""

from itertools import islice, pairwise

from sensor_guard.clock import SystemClock
from sensor_guard.journal import Journal
from sensor_guard.model import DEVICE_TIME, SECOND, Reading
from tests.faults.load import BEHIND_LIMIT, BRAKED_RATE, Brake, Load

LOAD = Load(homes=5, incident_every=30, first_incident=31, rates=(500,))
COUNT = LOAD.homes * 3 * 200


def test_each_home_has_at_most_one_incident_of_a_kind_and_gets_all_three():
    incidents = list(LOAD.incidents(COUNT).values())
    assert len(incidents) == len(set(incidents)) == LOAD.homes * 3


def test_an_incident_is_what_its_reading_says():
    for n, incident in LOAD.incidents(COUNT).items():
        home_id, sensor_id, quantity, value, own_time = LOAD.said(n)
        assert home_id == incident.home_id
        assert own_time
        if incident.rule_id == "overload":
            assert (sensor_id, quantity, value > 3_000) == ("power", "power_w", True)
        else:
            assert (sensor_id, quantity, value) == (incident.rule_id, incident.rule_id, 1.0)


def test_nothing_else_calls_for_help_and_an_overload_stays():
    overloaded = set()
    incidents = LOAD.incidents(COUNT)
    for n in range(COUNT):
        home_id, sensor_id, _, value, _ = LOAD.said(n)
        if n in incidents and incidents[n].rule_id == "overload":
            overloaded.add(home_id)
        if sensor_id in ("panic", "smoke"):
            assert n in incidents
        if sensor_id == "power":
            assert (value > 3_000) == (home_id in overloaded)


def test_of_an_overload_every_later_word_of_the_meter_tells_and_of_others_the_first():
    for n, incident in LOAD.incidents(COUNT).items():
        telling = set(LOAD.telling(n, COUNT))
        if incident.rule_id == "overload":
            meter = (incident.home_id, "power")
            assert telling == {each for each in range(n, COUNT) if LOAD.said(each)[:2] == meter}
        else:
            assert telling == {n}


def test_every_meter_speaks_in_every_round_and_is_low_in_none_twice_running():
    values = {home_id: [] for home_id in LOAD.home_ids()}
    for n in range(COUNT):
        home_id, sensor_id, _, value, _ = LOAD.said(n)
        if sensor_id == "power" and n not in LOAD.incidents(COUNT):
            values[home_id].append(value)
    for said in values.values():
        assert len(said) == 200
        assert all(one >= 5.0 or other >= 5.0 for one, other in pairwise(said))


def test_where_the_stream_may_end_no_meter_is_low():
    ends = [n for n in range(1, COUNT) if LOAD.may_end(n)]
    assert ends
    for end in ends:
        last = {}
        for n in range(end):
            home_id, sensor_id, _, value, _ = LOAD.said(n)
            if sensor_id == "power":
                last[home_id] = value
        assert min(last.values()) >= 5.0


def test_the_same_seed_gives_the_same_times_and_a_brake_slows_down():
    def times(seed, *, braked_at=0):
        load = Load(seed=seed, rates=(600, 1_000, 2_000))
        return [each.observed_at for each in islice(load.readings(1.0, lambda _n: braked_at), 5_000)]

    assert times(1) == times(1)
    assert times(1) != times(2)
    # It begins anew at the time that it is, and does not make up for what was overdue.
    slow = times(1, braked_at=60 * SECOND)
    assert (slow[1] // SECOND, slow[1 + BRAKED_RATE] - slow[1]) == (60, SECOND)


def test_the_brake_is_on_while_the_daemon_is_far_behind(tmp_path):
    brake = Brake(tmp_path / "journal.db", SystemClock())
    assert not brake(BEHIND_LIMIT)
    assert brake(BEHIND_LIMIT + 1) > 0
    with Journal.open(tmp_path / "journal.db") as journal, journal.batch(1_000) as batch:
        batch.append_readings([Reading("h000", "power", "power_w", 1.0, 1_000, 1_000, BEHIND_LIMIT, DEVICE_TIME)])
    brake._looked_at = 0.0
    assert not brake(BEHIND_LIMIT + 1)
