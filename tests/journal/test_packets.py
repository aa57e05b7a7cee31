"""A redelivered message whose device sends no time is known by its packet, within the receive maximum."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor_guard.journal import Journal
from sensor_guard.journal import packets as packets_module
from sensor_guard.journal.packets import LANE_LIMIT, PACKET_LIMIT
from tests.journal.make import T0, cut_short, rows


def seen(journal, *packets, lane="bulk:1", duplicate=True):
    with journal.batch(T0) as batch:
        return [batch.seen_packet(lane, packet_id, payload, duplicate=duplicate) for packet_id, payload in packets]


def test_a_copy_of_a_committed_packet_is_known(journal):
    assert seen(journal, (7, b"on"), duplicate=False) == [False]
    assert seen(journal, (7, b"on")) == [True]


def test_without_the_dup_flag_nothing_is_a_copy(journal):
    assert seen(journal, (7, b"on"), duplicate=False) == [False]
    assert seen(journal, (7, b"on"), duplicate=False) == [False]


def test_another_payload_packet_id_lane_or_session_is_another_message(journal):
    seen(journal, (7, b"on"), duplicate=False)
    assert seen(journal, (7, b"off"), (8, b"on")) == [False, False]
    assert seen(journal, (7, b"on"), lane="urgent:1") == [False]
    assert seen(journal, (7, b"on"), lane="bulk:2") == [False]


def test_a_copy_within_one_batch_is_known(journal):
    assert seen(journal, (7, b"on"), (7, b"on")) == [False, True]


def test_packets_of_a_failed_batch_are_new_when_they_come_again(journal):
    cut_short(journal, lambda batch: batch.seen_packet("bulk:1", 7, b"on", duplicate=False))
    assert seen(journal, (7, b"on")) == [False]
    assert seen(journal, (7, b"on")) == [True]


def test_packets_are_known_after_a_restart(path):
    with Journal.open(path) as journal:
        seen(journal, (7, b"on"), (8, b"on"), duplicate=False)
    with Journal.open(path) as journal:
        assert seen(journal, (7, b"on"), (8, b"on"), (9, b"on")) == [True, True, False]


def test_more_than_the_receive_maximum_is_not_remembered(journal):
    for start in range(0, PACKET_LIMIT + 60, 70):
        seen(journal, *((n, b"x") for n in range(start, start + 70)), duplicate=False)
    lowest = 560 - PACKET_LIMIT
    stored = rows(journal, "SELECT count(*), min(packet_id), max(packet_id) FROM recent_packets")
    assert stored == [(PACKET_LIMIT, lowest, 559)]
    assert seen(journal, (lowest, b"x"), (lowest - 1, b"x")) == [True, False]


def test_old_sessions_make_room_for_new_ones(journal):
    for session in range(LANE_LIMIT + 3):
        seen(journal, (1, b"x"), lane=f"bulk:{session}", duplicate=False)
        seen(journal, (1, b"x"), lane="urgent:0", duplicate=False)
    lanes = {row[0] for row in rows(journal, "SELECT DISTINCT lane FROM recent_packets")}
    assert lanes == {"urgent:0", "bulk:4", "bulk:5", "bulk:6"}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 6), st.booleans()), max_size=7),
        ),
        max_size=14,
    )
)
def test_what_is_in_ram_is_what_is_on_disk(tmp_path_factory, monkeypatch, batches):
    """None is a restart, which may change no answer."""
    monkeypatch.setattr(packets_module, "PACKET_LIMIT", 3)
    path = tmp_path_factory.mktemp("j") / "journal.db"
    with Journal.open(path) as steady:
        restarted = Journal.open(path.with_name("other.db"))
        try:
            for batch in batches:
                if batch is None:
                    restarted.close()
                    restarted = Journal.open(path.with_name("other.db"))
                    continue
                answers = []
                for journal in (steady, restarted):
                    with journal.batch(T0) as open_batch:
                        answers.append(
                            [
                                open_batch.seen_packet(lane, packet_id, b"x", duplicate=duplicate)
                                for lane, packet_id, duplicate in batch
                            ]
                        )
                assert answers[0] == answers[1]
            query = "SELECT lane, packet_id FROM recent_packets ORDER BY turn"
            assert rows(steady, query) == rows(restarted, query)
        finally:
            restarted.close()
