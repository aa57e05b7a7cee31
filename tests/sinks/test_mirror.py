"""What the mirror does with each failure, on a virtual clock and a sink that obeys the test."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_guard.model import DAY, HOUR, MINUTE, SECOND
from sensor_guard.sinks.mirror import BACKOFF_LIMIT, DEAD_LIMIT, PAUSE
from sensor_guard.sinks.protocol import ReadingSink, SinkError, SinkFailure, instant_of
from tests.sinks.rows import NOON, Journal, Loop, reading, readings, step


class Sink:
    """Stores seqs; refuses those in ``bad``, those older than ``keeps_from``, and whole writes as scripted."""

    def __init__(self, bad=(), *, script=(), probes=(), refusal=SinkFailure.REFUSED, at_most=10**9, keeps_from=0):
        self.bad = set(bad)
        self.script = list(script)
        self.probes = list(probes)
        self.refusal = refusal
        self.at_most = at_most
        self.keeps_from = keeps_from
        self.stored = set()
        self.sizes = []
        self.probe_count = self.close_count = 0

    def write(self, rows):
        self.sizes.append(len(rows))
        if self.script and (failure := self.script.pop(0)):
            raise failure
        if len(rows) > self.at_most:
            raise SinkError(SinkFailure.TOO_LARGE, "413")
        seqs = {seq for seq, _noun in rows}
        old = {seq for seq, noun in rows if instant_of((seq, noun)) < self.keeps_from}
        if old:  # as InfluxDB does: the others are stored, and a bad row among them is not mentioned
            self.stored |= seqs - old - self.bad
            raise SinkError(SinkFailure.EXPIRED, f"dropped={len(old)}", dropped=len(old))
        if seqs & self.bad:
            raise SinkError(self.refusal, f"cannot parse {min(seqs & self.bad)}")
        self.stored |= seqs

    def probe(self, now):
        self.probe_count += 1
        if self.probes and (failure := self.probes.pop(0)):
            raise failure

    def render(self, row):
        return f"row {row[0]}"

    def close(self):
        self.close_count += 1


def outage(**settings):
    return SinkError(SinkFailure.OUTAGE, "refused", **settings)


def misconfigured():
    return SinkError(SinkFailure.MISCONFIGURED, "401 unauthorized")


def test_the_fake_is_a_sink():
    sink: ReadingSink = Sink()
    assert sink


def test_rows_are_stored_in_batches_and_the_cursor_follows():
    journal, sink = Journal(readings(12)), Sink()
    Loop(journal.mirror(sink, limit=5)).until_current()
    assert sink.sizes == [5, 5, 2]
    assert journal.writes == [("cursor", 5), ("cursor", 10), ("cursor", 12)]


def test_the_cursor_moves_only_after_the_rows_are_stored():
    journal = Journal(readings(3))
    sink = Sink(script=[outage()])
    loop = Loop(journal.mirror(sink))
    loop.step()
    assert (journal.cursor, sink.stored) == (0, set())
    loop.step()
    assert (journal.cursor, sink.stored) == (3, {1, 2, 3})


def test_a_restart_goes_on_after_the_stored_cursor():
    journal, sink = Journal(readings(7)), Sink()
    Loop(journal.mirror(sink, limit=5)).step()
    Loop(journal.mirror(sink, limit=5)).until_current()
    assert sink.sizes == [5, 2]


def test_a_journal_with_nothing_new_is_asked_again_a_second_later():
    assert Journal().mirror(Sink()).step(NOON) == 1.0


def test_a_trickle_is_collected_for_a_second():
    journal, sink = Journal(readings(1)), Sink()
    mirror = journal.mirror(sink)
    assert mirror.step(NOON) == 1.0
    journal.rows += [reading(2)]
    assert mirror.step(NOON + 250) == 0.75
    journal.rows += [reading(3)]
    mirror.step(NOON + SECOND)
    assert sink.sizes == [1, 2]


def test_an_outage_is_tried_again_without_end_and_ever_more_rarely():
    journal = Journal(readings(1))
    loop = Loop(journal.mirror(Sink(script=[outage()] * 400)))
    delays = [loop.step() for _ in range(400)]
    for attempt, delay in enumerate(delays[:8]):
        assert 0 <= delay <= 2**attempt
    assert max(delays) <= BACKOFF_LIMIT / SECOND
    assert max(delays) > 0.9 * BACKOFF_LIMIT / SECOND
    loop.until_current()
    assert journal.cursor == 1


def test_the_server_says_how_long_to_stay_away():
    loop = Loop(Journal(readings(1)).mirror(Sink(script=[outage(retry_after=90 * SECOND)])))
    assert loop.step() == 90.0


def test_a_call_that_comes_too_early_writes_nothing():
    sink = Sink(script=[outage(retry_after=MINUTE)])
    mirror = Journal(readings(1)).mirror(sink)
    mirror.step(NOON)
    assert [mirror.step(NOON + 100), mirror.step(NOON + 59_000)] == [59.9, 1.0]
    assert sink.sizes == [1]
    mirror.step(NOON + MINUTE)
    assert sink.sizes == [1, 1]


def test_a_wait_does_not_last_as_long_as_a_step_of_the_clock():
    sink = Sink(script=[outage(retry_after=MINUTE)])
    mirror = Journal(readings(1)).mirror(sink)
    mirror.step(NOON)
    mirror.step(NOON - 2 * HOUR)
    assert sink.stored == {1}


def test_an_episode_is_one_fault_with_an_end():
    journal = Journal(readings(1))
    Loop(journal.mirror(Sink(script=[None, *[outage()] * 20])), NOON).until_current()
    journal.rows += [reading(2)]
    mirror = journal.mirror(Sink(script=[outage()] * 20))
    loop = Loop(mirror).until_current()
    assert journal.fault_states == [False, True, False]
    assert {fault.fault_id for fault in journal.faults} == {"influxdb_offline"}
    assert journal.faults[1].detail == "outage: refused"
    assert mirror.status(loop.now).failed_count == 20


def test_a_fault_from_before_the_start_ends_with_the_first_rows_that_are_stored():
    journal = Journal(readings(1))
    Loop(journal.mirror(Sink())).until_current()
    assert journal.fault_states == [False]


def test_another_kind_of_help_is_told_as_another_fault():
    journal = Journal(readings(1))
    script = [outage(), outage(), misconfigured(), misconfigured()]
    Loop(journal.mirror(Sink(script=script))).until_current()
    assert [fault.detail.split(":")[0] for fault in journal.faults] == ["outage", "misconfigured", ""]


def test_what_only_a_person_can_mend_is_kept_and_tried_every_minute():
    journal, sink = Journal(readings(3)), Sink(script=[misconfigured()] * 100)
    loop = Loop(journal.mirror(sink))
    assert {loop.step() for _ in range(100)} == {PAUSE / SECOND}
    assert (journal.cursor, journal.letters, sink.probe_count) == (0, [], 0)
    loop.until_current()
    assert sink.stored == {1, 2, 3}


def test_a_changed_configuration_is_tried_at_once():
    journal, sink = Journal(readings(1)), Sink(script=[misconfigured()])
    mirror = journal.mirror(sink)
    mirror.step(NOON)
    mirror.resume()
    mirror.step(NOON + 1)
    assert (journal.cursor, sink.close_count) == (1, 1)


def test_a_write_that_is_too_large_is_halved_and_stays_so():
    journal, sink = Journal(readings(40)), Sink(at_most=6)
    Loop(journal.mirror(sink, limit=20)).until_current()
    assert sink.sizes[:4] == [20, 10, 5, 5]
    assert set(sink.sizes[2:]) == {5}
    assert sink.stored == set(range(1, 41))


def test_a_single_row_that_is_too_large_is_buried():
    journal, sink = Journal(readings(3)), Sink(script=[SinkError(SinkFailure.TOO_LARGE, "413")] * 2)
    Loop(journal.mirror(sink, limit=2)).until_current()
    assert [letter.seq for letter in journal.letters] == [1]
    assert sink.stored == {2, 3}


def test_one_bad_row_is_buried_with_the_servers_words_and_the_rest_proceeds():
    journal, sink = Journal(readings(5_000)), Sink(bad=[3_333])
    loop = Loop(journal.mirror(sink)).until_current()
    [letter] = journal.letters
    assert (letter.seq, letter.line, letter.detail) == (3_333, "row 3333", "cannot parse 3333")
    assert sink.stored == set(range(1, 5_001)) - {3_333}
    assert len(sink.sizes) < 40
    assert journal.fault_states == [False]
    assert loop.mirror.status(loop.now).dead_count == 1


def test_a_dead_letter_is_written_before_the_cursor_that_passes_it():
    journal = Journal(readings(3))
    Loop(journal.mirror(Sink(bad=[2]))).until_current()
    assert journal.writes == [("cursor", 1), ("letter", 2), ("cursor", 2), ("cursor", 3)]


@given(count=st.integers(1, 60), limit=st.integers(1, 25), data=st.data())
def test_halving_ends_and_every_row_is_stored_or_buried(count, limit, data):
    bad = data.draw(st.sets(st.integers(1, count)))
    refusal = data.draw(st.sampled_from([SinkFailure.REFUSED, SinkFailure.SERVER_ERROR]))
    at_most = data.draw(st.integers(1, 30))
    keeps_from = data.draw(st.integers(NOON, NOON + count * SECOND))
    journal = Journal(readings(count))
    sink = Sink(bad, refusal=refusal, at_most=at_most, keeps_from=keeps_from)
    loop = Loop(journal.mirror(sink, limit=limit)).until_current(at_most=2_000)
    old = {seq for seq, noun in journal.rows if noun.observed_at < keeps_from}
    buried = {letter.seq for letter in journal.letters}
    assert sink.stored == set(range(1, count + 1)) - bad - old
    assert bad - old <= buried <= bad
    assert loop.mirror.status(loop.now).expired_count == len(old - buried)
    assert journal.cursor == count


def test_a_canary_that_fails_too_buries_nothing():
    """The bucket has another type for our field, say: then no row is at fault."""
    journal = Journal(readings(10))
    refused = SinkError(SinkFailure.REFUSED, "field type conflict")
    loop = Loop(journal.mirror(sink := Sink(script=[refused] * 50, probes=[refused] * 50)))
    assert {loop.step() for _ in range(50)} == {PAUSE / SECOND}
    assert (journal.cursor, journal.letters) == (0, [])
    [fault] = journal.faults
    assert fault.detail == "misconfigured: a known-good line is not taken either: field type conflict"
    loop.until_current()
    assert sink.stored == set(range(1, 11))


def test_a_canary_that_meets_an_outage_waits_like_one():
    journal = Journal(readings(2))
    sink = Sink(bad=[1], probes=[outage(retry_after=70 * SECOND)])
    loop = Loop(journal.mirror(sink))
    assert loop.step() == 70.0
    loop.until_current()
    assert [letter.seq for letter in journal.letters] == [1]


def test_each_row_is_buried_only_after_a_canary_of_its_own():
    """The retention policy may vanish in the middle of a search."""
    refused = SinkError(SinkFailure.REFUSED, "?")
    journal = Journal(readings(2))
    loop = Loop(journal.mirror(sink := Sink(script=[refused, refused, refused], probes=[None, refused])))
    loop.step()
    loop.step()
    assert (journal.letters, sink.probe_count) == ([], 2)


def test_a_500_is_an_outage_until_the_third_time_running():
    error = SinkError(SinkFailure.SERVER_ERROR, "500 engine")
    journal, sink = Journal(readings(2)), Sink(script=[error, error])
    loop = Loop(journal.mirror(sink)).until_current()
    assert (sink.probe_count, journal.letters, loop.steps) == (0, [], 3)


def test_a_500_that_stays_and_takes_the_canary_with_it_keeps_everything():
    """InfluxDB 1.x answers 500 where the retention policy does not exist."""
    error = SinkError(SinkFailure.SERVER_ERROR, "500 retention policy not found: nix")
    journal, sink = Journal(readings(2)), Sink(script=[error] * 30, probes=[error] * 30)
    loop = Loop(journal.mirror(sink)).until_current()
    assert sink.stored == {1, 2}
    assert journal.letters == []
    assert any("retention policy not found: nix" in fault.detail for fault in journal.faults)
    assert loop.now - NOON < HOUR


def test_rows_older_than_the_server_keeps_are_left_out_and_counted():
    journal = Journal(readings(20))
    keeps_from = NOON + 12 * SECOND
    loop = Loop(journal.mirror(sink := Sink(keeps_from=keeps_from), limit=5)).until_current()
    status = loop.mirror.status(loop.now)
    assert status.expired_count == sum(noun.observed_at < keeps_from for _seq, noun in journal.rows)
    assert status.stored_count + status.expired_count == 20
    assert (journal.letters, journal.fault_states) == ([], [False])
    assert min(sink.stored) == 12


def test_a_bad_row_that_hides_behind_old_ones_is_found():
    """InfluxDB's answer about age does not mention the line that it could not parse."""
    journal = Journal(readings(6))
    Loop(journal.mirror(Sink(bad=[5], keeps_from=NOON + 3 * SECOND))).until_current()
    assert [letter.seq for letter in journal.letters] == [5]


def test_a_box_whose_clock_is_wrong_leaves_no_row_out():
    """At 1970 the canary is too old as well: not our rows, but our clock is at fault."""
    expired = SinkError(SinkFailure.EXPIRED, "dropped=2", dropped=2)
    journal = Journal(readings(2))
    loop = Loop(journal.mirror(Sink(script=[expired], probes=[expired])))
    assert loop.step() == PAUSE / SECOND
    assert (journal.cursor, loop.mirror.status(loop.now).expired_count) == (0, 0)


def test_a_hundred_dead_letters_running_are_a_fault_and_a_pause():
    journal = Journal(readings(250))
    sink = Sink(bad=range(1, 251))
    loop = Loop(journal.mirror(sink))
    while loop.step() != PAUSE / SECOND:
        assert not any(fault.active for fault in journal.faults)
    assert len(journal.letters) == DEAD_LIMIT
    assert journal.faults[-1].active
    assert "100 rows running" in journal.faults[-1].detail
    loop.until_current()
    assert len(journal.letters) == 250


def test_a_sink_that_crashes_is_an_outage_not_the_end():
    journal = Journal(readings(1))
    loop = Loop(journal.mirror(Sink(script=[RuntimeError("bug")]))).until_current()
    assert journal.faults[0].detail == "outage: the sink failed: RuntimeError"
    assert loop.mirror.status(loop.now).stored_count == 1


def test_rows_that_retention_takes_in_the_middle_of_a_search_end_it():
    journal, sink = Journal(readings(8)), Sink(bad=[2])
    loop = Loop(journal.mirror(sink))
    loop.step()
    loop.step()
    journal.rows = journal.rows[6:]
    loop.until_current()
    assert (journal.cursor, journal.letters) == (8, [])


def test_a_backlog_has_a_depth_and_an_age():
    journal = Journal([*readings(9), step(10)])
    mirror = journal.mirror(Sink(script=[outage(retry_after=DAY)]))
    now = NOON + DAY
    mirror.step(now)
    status = mirror.status(now + MINUTE)
    assert (status.state, status.depth, status.age) == ("outage", 10, DAY + MINUTE - SECOND)
    assert (status.last_error, status.last_error_at, status.last_stored_at) == ("outage: refused", now, None)
    mirror.step(now + DAY)
    status = mirror.status(now + DAY)
    assert (status.state, status.depth, status.age, status.cursor) == ("current", 0, 0, 10)
    assert (status.last_error, status.last_stored_at) == ("outage: refused", now + DAY)


def test_a_mirror_that_has_not_run_yet_says_so():
    status = Journal().mirror(Sink()).status(NOON)
    assert (status.state, status.depth, status.age) == ("starting", 0, 0)


@pytest.mark.parametrize("size", [1, 4_999, 5_000, 5_001])
def test_every_size_of_backlog_ends_current(size):
    journal, sink = Journal(readings(size)), Sink()
    loop = Loop(journal.mirror(sink)).until_current()
    loop.step()
    assert (len(sink.stored), loop.mirror.status(loop.now).depth) == (size, 0)
