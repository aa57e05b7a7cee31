"""Readings are stored in their order, once."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor_guard.errors import JournalError
from sensor_guard.journal import Journal
from sensor_guard.journal import readings as readings_module
from sensor_guard.model import BAD_DEVICE_CLOCK, DEVICE_TIME, RETAINED, Fault
from tests.journal.make import T0, cut_short, feed, reading, rows


def stored(journal):
    return [row for _seq, row in journal.reader.readings_after(0, 10_000)]


def test_seqs_follow_the_order_of_the_inputs_and_begin_at_one(journal):
    first, second = reading(1.0), reading(2.0, at=T0 + 1)
    with journal.batch(T0) as batch:
        assert [(1, first)] == batch.append_readings([first])
        assert batch.append_event(Fault("disk_full", True, T0)) == 2
        assert [(3, second)] == batch.append_readings([second])
        assert batch.seq == 3
    assert [(1, first), (3, second)] == journal.reader.readings_after(0, 10)
    assert [(3, second)] == journal.reader.readings_after(1, 10)
    assert [(1, first)] == journal.reader.readings_after(0, 1)


def test_a_redelivered_reading_with_the_devices_time_is_dropped_in_the_same_batch_and_in_a_later_one(journal):
    once, other = reading(), reading(at=T0 + 1)
    assert [once, other] == [row for _, row in feed(journal, once, once, other)]
    assert feed(journal, other, once) == []
    late = reading(at=T0 + 2)
    assert [late] == [row for _, row in feed(journal, once, late, other)]
    assert stored(journal) == [once, other, late]


def test_without_the_devices_time_equal_readings_are_two(journal):
    twice = reading(flags=BAD_DEVICE_CLOCK)
    assert len(feed(journal, twice, twice)) == 2


def test_each_part_of_the_key_makes_another_reading(journal):
    base = reading(1.0, seq=1)
    others = [
        base._replace(sensor_id="m2"),
        base._replace(home_id="home2"),
        base._replace(quantity="battery_pct"),
        base._replace(observed_at=T0 + 1),
        base._replace(seq=2),
        base._replace(value=0.0),  # a button pressed and let go within a second of a coarse clock
    ]
    assert len(feed(journal, base, *others)) == 7
    assert feed(journal, base, *others) == []


def test_a_copy_that_arrives_later_or_retained_is_the_same_reading(journal):
    base = reading()
    feed(journal, base)
    assert feed(journal, base._replace(received_at=T0 + 99_000), base._replace(flags=DEVICE_TIME | RETAINED)) == []


def test_a_value_that_is_no_number_fails_the_batch_and_is_never_dropped_in_silence(journal):
    with pytest.raises(JournalError, match="NOT NULL"):
        feed(journal, reading(1.0, at=T0 + 1), reading(float("nan")))
    assert stored(journal) == []


keys = st.tuples(
    st.sampled_from(["home1", "home2"]),
    st.sampled_from(["meter", "door"]),
    st.sampled_from([0.0, 1.0]),
    st.integers(0, 3),  # when
    st.integers(-1, 1),  # the device's own counter
    st.sampled_from([0, DEVICE_TIME, RETAINED, DEVICE_TIME | RETAINED]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.one_of(keys, st.none()), max_size=8), max_size=6))
def test_any_redelivery_in_any_batches_stores_each_reading_once(tmp_path_factory, batches):
    """None closes the journal and opens it again."""
    path = tmp_path_factory.mktemp("j") / "journal.db"
    journal = Journal.open(path)
    expected, seen, returned = [], set(), []
    try:
        for batch in batches:
            wanted = []
            for key in batch:
                if key is None:
                    journal.close()
                    journal = Journal.open(path)
                    continue
                home, sensor, value, at, seq, flags = key
                wanted.append(reading(value, home=home, sensor=sensor, at=T0 + at, seq=seq, flags=flags))
            for row in wanted:
                key = row._replace(flags=0)
                if row.flags & DEVICE_TIME:
                    if key in seen:
                        continue
                    seen.add(key)
                expected.append(row)
            returned += feed(journal, *wanted)
        assert [row for _, row in returned] == expected
        assert journal.reader.readings_after(0, 10_000) == returned
        assert returned == sorted(set(returned))
    finally:
        journal.close()


def test_ids_are_kept_once_and_a_failed_batch_leaves_no_wrong_one_behind(journal):
    cut_short(journal, lambda batch: batch.append_readings([reading(home="home7", quantity="flow_l_min")]))
    feed(journal, reading(home="home8"))
    feed(journal, reading(home="home7", quantity="flow_l_min"), reading(home="home8", at=T0 + 1))
    assert Counter(row.home_id for row in stored(journal)) == {"home7": 1, "home8": 2}
    assert rows(journal, "SELECT count(*) FROM sensors") == [(2,)]


def test_the_last_word_of_each_sensor_is_known_before_and_after_it_is_brought_up_to_date(journal, monkeypatch):
    monkeypatch.setattr(readings_module, "FLUSH_AFTER", 4)
    last = {}
    for n in range(15):
        row = reading(float(n), home=f"home{n % 3}", sensor=f"s{n % 2}", at=T0 + n)
        feed(journal, row)
        last[row.home_id, row.sensor_id] = row
        assert journal.reader.last_readings() == [last[key] for key in sorted(last)]
    assert rows(journal, "SELECT count(*) > 0 FROM last_readings") == [(1,)]
    assert journal.reader.last_readings("home1") == [last["home1", "s0"], last["home1", "s1"]]
