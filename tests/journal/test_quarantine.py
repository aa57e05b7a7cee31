"""What could not be read is kept within limits and counted without."""

from sensor_guard.journal import Journal
from sensor_guard.journal import quarantine as quarantine_module
from sensor_guard.journal.quarantine import PAYLOAD_LIMIT, TEXT_LIMIT, TOPIC_LIMIT
from sensor_guard.model import DAY, Quarantined
from tests.journal.make import T0, cut_short


def bad(n=0, *, topic="guard/a/home1/meter", reason="bad_json", at=T0):
    return Quarantined(topic, b"{%d" % n, reason, "expected }", at)


def put(journal, *messages):
    with journal.batch(T0) as batch:
        return batch.quarantine(messages)


def counted(journal):
    return journal.reader.sizes().counters["quarantine"]


def test_a_message_is_kept_with_its_reason_the_newest_first(journal):
    assert put(journal, bad(1), bad(2, reason="too_large")) == 2
    assert journal.reader.quarantined() == [bad(2, reason="too_large"), bad(1)]
    assert journal.reader.quarantined(limit=1) == [bad(2, reason="too_large")]
    assert counted(journal) == {"bad_json": 1, "too_large": 1}
    assert journal.last_now() is None


def test_a_topic_has_a_hundred_a_day_and_the_rest_is_counted(journal):
    assert put(journal, *(bad(n) for n in range(70))) == 70
    assert put(journal, *(bad(n) for n in range(70))) == TOPIC_LIMIT - 70
    assert put(journal, bad(), bad(topic="guard/a/home2/meter")) == 1
    assert put(journal, bad(at=T0 + DAY)) == 1
    assert counted(journal) == {"bad_json": 143}


def test_the_limits_hold_across_a_restart(path):
    with Journal.open(path) as journal:
        put(journal, *(bad(n) for n in range(99)))
    with Journal.open(path) as journal:
        assert put(journal, bad(), bad()) == 1
        assert counted(journal) == {"bad_json": 101}


def test_the_whole_has_a_limit(journal, monkeypatch):
    monkeypatch.setattr(quarantine_module, "ROW_LIMIT", 5)
    assert put(journal, *(bad(topic=f"t{n}") for n in range(3))) == 3
    assert put(journal, *(bad(topic=f"t{n}") for n in range(10, 14))) == 2
    assert put(journal, bad(topic="t99")) == 0
    assert counted(journal) == {"bad_json": 8}
    assert journal.reader.sizes().quarantined == 5


def test_a_failed_batch_uses_up_nobodys_room(journal):
    cut_short(journal, lambda batch: batch.quarantine([bad(n) for n in range(TOPIC_LIMIT)]))
    assert put(journal, *(bad(n) for n in range(TOPIC_LIMIT))) == TOPIC_LIMIT


def test_strange_and_long_topics_and_payloads_are_cut_and_kept(journal):
    message = Quarantined("t\ud800" * 40_000, b"x" * 9_999, "bad_topic", "long" * 999, T0)
    assert put(journal, message) == 1
    (kept,) = journal.reader.quarantined()
    assert (len(kept.topic), len(kept.payload), len(kept.detail)) == (TEXT_LIMIT, PAYLOAD_LIMIT, TEXT_LIMIT)
