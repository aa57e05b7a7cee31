"""A text's life is a table; a lease is on disk before anybody sends; codes are unique for a week."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import product

import pytest

from sensor_guard.journal import FOLDING, Journal
from sensor_guard.journal import outbox as outbox_module
from sensor_guard.journal.migrations import migrate, shipped
from sensor_guard.journal.outbox import CODE_ALPHABET, CODE_LENGTH, REPORT_TABLE, code_for, next_state
from sensor_guard.model import DAY, HOUR, MINUTE, Effects, NotificationState
from tests.journal.make import T0, alarm, closed, feed, lease, raised, reading, record, report, rows, send, text

PENDING, SENDING, ACCEPTED, DELIVERED, FAILED, AMBIGUOUS, CANCELLED = NotificationState
LEGAL = {
    PENDING: {FAILED, CANCELLED},
    SENDING: {PENDING, ACCEPTED, DELIVERED, FAILED, AMBIGUOUS},
    ACCEPTED: {PENDING, ACCEPTED, DELIVERED, FAILED},
    DELIVERED: set(),
    FAILED: {DELIVERED},
    AMBIGUOUS: {PENDING, ACCEPTED, DELIVERED, FAILED},
    CANCELLED: set(),
}


@pytest.fixture
def risen(journal):
    an_alarm = alarm()
    record(journal, raised(an_alarm, "li"))
    return an_alarm


def state_of(journal, an_alarm):
    return journal.reader.notifications(an_alarm.alarm_id)[0].notification.state


def reach(journal, notification, state):
    """Bring a waiting text to this state by legal steps."""
    if state == CANCELLED:
        with journal.batch(T0) as batch:
            batch.cancel([notification.notification_id])
    elif state != PENDING:
        lease(journal)
        if state != SENDING:
            assert send(journal, notification, state, receipt_id="SM1")


@pytest.mark.parametrize(("before", "reported"), list(product(NotificationState, NotificationState)))
def test_every_report_in_every_state(journal, risen, before, reported):
    reach(journal, text(risen), before)
    legal = reported in LEGAL[before]
    assert send(journal, text(risen), reported, reason="why") == legal
    assert state_of(journal, risen) == (reported if legal else before)
    ignored = journal.reader.sizes().counters.get("report", {})
    assert ignored == ({} if legal else {"illegal_change": 1})
    assert next_state(before, reported) == (reported if legal else None)


def test_the_table_knows_nothing_else():
    assert {(before, after) for before, afters in LEGAL.items() for after in afters} == set(REPORT_TABLE)


@pytest.mark.parametrize("before", [SENDING, AMBIGUOUS, ACCEPTED])
def test_a_text_under_way_that_is_no_longer_wanted_is_not_sent_again(journal, risen, before):
    reach(journal, text(risen), before)
    record(journal, closed(risen, cancelled=[text(risen).notification_id]))
    assert state_of(journal, risen) == before
    assert send(journal, text(risen), PENDING, retry_at=T0 + MINUTE)
    assert state_of(journal, risen) == CANCELLED
    assert lease(journal, now=T0 + DAY) == []


@pytest.mark.parametrize("state", [DELIVERED, FAILED, CANCELLED])
def test_what_is_over_is_not_taken_back(journal, risen, state):
    reach(journal, text(risen), state)
    with journal.batch(T0) as batch:
        assert batch.cancel([text(risen).notification_id, "unknown"]) == 0
    assert state_of(journal, risen) == state


def test_a_report_of_an_unknown_text_a_strange_word_or_the_same_again_is_ignored_and_counted(journal, risen):
    assert not send(journal, text(alarm(9)), ACCEPTED)
    assert not send(journal, text(risen), "flying")
    lease(journal)
    assert send(journal, text(risen), ACCEPTED, receipt_id="SM1")
    assert not send(journal, text(risen), ACCEPTED, receipt_id="SM1")
    assert send(journal, text(risen), ACCEPTED, reason="undelivered_2min")
    assert journal.reader.sizes().counters == {
        "report": {"unknown_notification": 1, "illegal_change": 1, "repeated": 1}
    }


def test_a_lease_counts_the_attempt_and_is_on_disk(journal, path, risen):
    (leased,) = lease(journal, now=T0 + 5, channel="twilio")
    assert (leased.state, leased.attempts, leased.attempted_at, leased.channel) == (SENDING, 1, T0 + 5, "twilio")
    assert journal.reader.notifications(risen.alarm_id)[0].notification == leased
    assert lease(journal, now=T0 + 6) == []
    send(journal, leased, PENDING, retry_at=T0 + 50)
    assert lease(journal, now=T0 + 49) == []
    (again,) = lease(journal, now=T0 + 50, channel="twilio")
    assert (again.attempts, again.code, again.params) == (2, leased.code, leased.params)


def test_the_first_lease_can_be_in_the_alarms_own_commit(journal):
    with journal.batch(T0) as batch:
        batch.record(raised(alarm(), "li"))
        leased = batch.lease(T0, 10)
    assert [notification.recipient_id for notification in leased] == ["li"]


def test_the_most_urgent_goes_first_then_the_newest(journal):
    for n, severity in enumerate(["maintenance", "warning", "critical", "info", "warning", "critical"]):
        record(journal, raised(alarm(n, severity=severity, at=T0 + n * MINUTE), "li"))
    record(journal, raised(alarm(9, severity="critical", at=T0 + DAY), "li"))
    now = T0 + 10 * MINUTE
    order = [leased.alarm_id.rpartition(".")[2] for leased in lease(journal, now=now, limit=4)]
    assert order == ["5", "2", "4", "1"]
    order = [leased.alarm_id.rpartition(".")[2] for leased in lease(journal, now=now)]
    assert order == ["3", "0"]
    assert journal.next_text_at() == T0 + DAY


def test_a_text_sent_again_forgets_the_old_receipt(journal, risen):
    lease(journal)
    send(journal, text(risen), ACCEPTED, receipt_id="SM1")
    send(journal, text(risen), PENDING, retry_at=T0 + 9, reason="30008")
    entry = journal.reader.notifications(risen.alarm_id)[0]
    assert (entry.notification.receipt_id, entry.notification.due_at, entry.reason) == (None, T0 + 9, "30008")


def test_a_receipt_id_stays_when_later_reports_do_not_repeat_it(journal, risen):
    lease(journal)
    send(journal, text(risen), ACCEPTED, receipt_id="SM1")
    send(journal, text(risen), DELIVERED)
    assert journal.reader.notifications(risen.alarm_id)[0].notification.receipt_id == "SM1"


def test_what_was_being_sent_when_the_process_ended_is_ambiguous_at_the_next_start(path):
    with Journal.open(path) as journal:
        record(journal, raised(alarm(1), "li", "wang"))
        lease(journal, limit=1)
    with Journal.open(path) as journal:
        reports = journal.ambiguous_at_start(T0 + DAY)
        assert [(report.state, report.at) for report in reports] == [(AMBIGUOUS, T0 + DAY)]
        with journal.batch(T0 + DAY) as batch:
            assert [batch.report(report) for report in reports] == [True]
        assert journal.ambiguous_at_start(T0 + DAY) == []
        assert sorted(notification.state for notification in journal.outbox_open()) == [AMBIGUOUS, PENDING]


def test_what_is_over_is_not_among_the_open_texts(journal):
    record(journal, raised(alarm(), "li", "wang", "zhao"))
    first, second, third = lease(journal)
    send(journal, first, DELIVERED)
    send(journal, second, ACCEPTED)
    assert [notification.notification_id for notification in journal.outbox_open()] == sorted(
        [second.notification_id, third.notification_id]
    )


def test_every_state_of_a_text_stands_in_the_trail(journal, risen):
    lease(journal)
    send(journal, text(risen), PENDING, reason="timeout", retry_at=T0 + 2)
    with journal.batch(T0 + 3) as batch:
        batch.cancel([text(risen).notification_id])
    steps = [
        (entry.before, entry.after, entry.reason)
        for entry in journal.reader.trail(risen.alarm_id)
        if entry.what == "notification"
    ]
    assert steps == [
        ("", PENDING, "alarm"),
        (PENDING, SENDING, ""),
        (SENDING, PENDING, "timeout"),
        (PENDING, CANCELLED, "not_needed"),
    ]


def test_a_test_text_belongs_to_no_alarm(journal):
    wanted = text(alarm(), kind="test")
    wanted = type(wanted)(**{name: getattr(wanted, name) for name in wanted.__slots__} | {"alarm_id": ""})
    record(journal, Effects(notifications=[wanted]))
    (leased,) = lease(journal)
    assert journal.reader.alarm_by_code(leased.code) is None
    assert [entry.after for entry in journal.reader.trail("")] == [PENDING, SENDING]


# -- codes ------------------------------------------------------------------------------------------------------------


def test_a_code_has_four_characters_that_nobody_mistakes_for_others():
    assert len(set(CODE_ALPHABET)) == len(CODE_ALPHABET)
    assert not set("0O1IL2Z5S8BUAE") & set(CODE_ALPHABET)
    for n in range(200):
        code = code_for(b"salt", f"home1.panic.{n}", 0)
        assert len(code) == CODE_LENGTH
        assert set(code) <= set(CODE_ALPHABET)


def test_a_code_depends_on_the_salt_the_text_and_the_try():
    codes = {code_for(salt, name, attempt) for salt in (b"a", b"b") for name in "xy" for attempt in (0, 1)}
    assert len(codes) == 8
    assert code_for(b"a", "x", 0) == code_for(b"a", "x", 0)


def test_a_code_finds_its_alarm_in_any_case(journal):
    for n in range(3):
        record(journal, raised(alarm(n), "li"))
    for leased in lease(journal):
        assert journal.reader.alarm_by_code(f" {leased.code.lower()} ").alarm_id == leased.alarm_id
    assert journal.reader.alarm_by_code("????") is None
    assert journal.reader.alarm_by_code("\ud800") is None


def test_an_alarm_goes_by_the_code_of_its_newest_text(journal):
    record(journal, raised(alarm(0), "li", "wang"))
    record(journal, raised(alarm(1)))
    record(journal, Effects(notifications=[text(alarm(0), 3)]), now=T0 + 1)
    ids = [alarm(n).alarm_id for n in range(3)]  # the second has texted nobody, the third was never raised
    assert journal.reader.codes(ids) == {ids[0]: codes(journal)[-1]}
    assert journal.reader.codes(ids[1:]) == journal.reader.codes([]) == {}


def codes(journal):
    return [row[0] for row in rows(journal, "SELECT code FROM outbox ORDER BY rowid")]


def few_codes(monkeypatch):
    monkeypatch.setattr(outbox_module, "CODE_ALPHABET", "CD")
    monkeypatch.setattr(outbox_module, "CODE_LENGTH", 2)


def test_codes_are_unique_within_a_week(journal, monkeypatch):
    few_codes(monkeypatch)
    for n in range(4):
        record(journal, raised(alarm(n), "li"), now=T0 + n)
    assert sorted(codes(journal)) == ["CC", "CD", "DC", "DD"]


def test_when_every_code_is_taken_the_text_goes_out_all_the_same_and_the_newest_wins(journal, monkeypatch):
    few_codes(monkeypatch)
    for n in range(5):
        record(journal, raised(alarm(n), "li"), now=T0 + n)
    last = codes(journal)[-1]
    assert codes(journal).count(last) == 2
    assert journal.reader.alarm_by_code(last).alarm_id == alarm(4).alarm_id
    named = journal.reader.codes([alarm(n).alarm_id for n in range(5)])
    assert len(named) == 4  # the older of the two goes by its id
    assert named[alarm(4).alarm_id] == last


def test_a_code_is_free_after_a_week_unless_its_alarm_is_still_open(journal, monkeypatch):
    few_codes(monkeypatch)
    for n in range(4):
        record(journal, raised(alarm(n), "li"))
    record(journal, closed(alarm(2)))
    free = codes(journal)[2]
    record(journal, raised(alarm(7), "li"), now=T0 + 8 * DAY)
    assert codes(journal)[-1] == free


def test_each_installation_has_a_salt_of_its_own_that_stays(path):
    salts = []
    for name in ("a.db", "a.db", "b.db"):
        with Journal.open(path.with_name(name)) as journal:
            feed(journal, reading())
            salts.append(rows(journal, "SELECT value FROM meta WHERE key = 'salt'")[0][0])
    assert salts[0] == salts[1] != salts[2]
    assert len(salts[0]) == 16


def test_what_a_person_was_sent_today_is_known_after_a_restart(journal, risen):
    assert journal.texts_tried_between(T0 - DAY, T0 + 10) == []
    (leased,) = lease(journal, now=T0 + 5)
    assert journal.texts_tried_between(T0, T0 + 10) == [(leased.recipient_id, T0 + 5, leased.kind)]
    assert journal.texts_tried_between(T0 + 6, T0 + 10) == []


def test_texts_of_all_time_are_no_part_of_the_day_of_a_box_that_starts_in_1970(journal, risen):
    """Their times lie ahead of its clock: counted into its day they would leave nobody a text, not even for smoke."""
    lease(journal, now=T0 + 5)
    assert journal.texts_tried_between(0 - DAY, 60_000) == []


# -- the order, and several in one ------------------------------------------------------------------------------------


def rush(journal, count, *, recipient="li", severity="warning", now=T0):
    for n in range(count):
        record(journal, raised(alarm(n, severity=severity, at=now + n), recipient), now=now + n)


def fold(journal, now, limit=100):
    with journal.batch(now) as batch:
        return batch.lease(now, limit, channel="twilio", folding=FOLDING)


def test_a_text_that_was_tried_again_keeps_the_place_of_its_alarm(journal):
    for n in range(3):
        record(journal, raised(alarm(n, at=T0 + n * MINUTE), "li"))
    (newest,) = lease(journal, now=T0 + HOUR, limit=1)
    send(journal, newest, PENDING, retry_at=T0 + HOUR + 1)
    (_, middle) = lease(journal, now=T0 + HOUR + 1, limit=2)
    send(journal, middle, PENDING, retry_at=T0 + HOUR + 9)
    record(journal, raised(alarm(9, at=T0 + 2 * HOUR), "li"))
    order = [leased.alarm_id.rpartition(".")[2] for leased in lease(journal, now=T0 + 3 * HOUR)]
    assert order == ["9", "1", "0"]


def test_no_text_waits_behind_a_less_urgent_one_however_new_that_is(journal):
    record(journal, raised(alarm(0, at=T0), "li"))
    rush(journal, 5, now=T0 + HOUR)
    assert [leased.severity for leased in lease(journal, now=T0 + 2 * HOUR, limit=1)] == ["critical"]


def test_the_lease_reads_its_index_in_order_and_sorts_nothing(journal):
    said = []
    journal._db.set_trace_callback(said.append)
    lease(journal, limit=5)
    journal._db.set_trace_callback(None)
    (statement,) = [one for one in said if one.startswith("SELECT") and "LIMIT 5" in one]
    (plan,) = rows(journal, f"EXPLAIN QUERY PLAN {statement}")
    assert "SEARCH outbox USING INDEX outbox_waiting" in plan[3]


def test_two_go_alone_the_rest_wait_a_minute_and_become_one(journal):
    rush(journal, 10)
    assert [one.kind for one in fold(journal, T0 + 20)] == ["alarm", "alarm"]
    assert fold(journal, T0 + 21) == []
    assert journal.next_text_at() == T0 + MINUTE  # a minute after the first of those that are left
    (digest,) = fold(journal, T0 + MINUTE)
    assert (digest.kind, digest.recipient_id, digest.alarm_id) == ("digest", "li", "")
    assert dict(digest.params)["count"] == "8"
    assert dict(digest.params)["alarm0"] == "home1 panic"
    assert journal.next_text_at() is None


def test_critical_texts_are_never_folded_however_many_and_old(journal):
    rush(journal, 20, severity="critical")
    assert {one.kind for one in fold(journal, T0 + DAY)} == {"alarm"}


def test_each_person_has_a_digest_of_his_own(journal):
    for who in ("li", "wang"):
        for n in range(5):
            record(journal, raised(alarm(n, home=f"{who}home", severity="warning", at=T0), who))
    leased = fold(journal, T0 + HOUR)
    assert [(one.kind, one.recipient_id) for one in leased] == [("digest", "li"), ("digest", "wang")]


@pytest.mark.parametrize("state", [ACCEPTED, DELIVERED, FAILED, AMBIGUOUS, PENDING])
def test_what_is_reported_of_a_digest_is_reported_of_each_text_in_it(journal, state):
    rush(journal, 5)
    (digest,) = fold(journal, T0 + HOUR)
    with journal.batch(T0 + HOUR) as batch:
        told = batch.report_all(report(digest, state, reason="why"))
    assert [one.notification_id for one in told] == [f"home1.panic.{n}.1" for n in range(5)]
    assert {(one.state, one.reason) for one in told} == {(state, "why")}
    assert set(rows(journal, "SELECT DISTINCT state FROM outbox")) == {(str(state),)}


def test_a_digest_found_sending_at_the_next_start_is_in_doubt_and_its_texts_with_it(path):
    with Journal.open(path) as journal:
        rush(journal, 5)
        (digest,) = fold(journal, T0 + HOUR)
    with Journal.open(path) as journal:
        (in_doubt,) = journal.ambiguous_at_start(T0 + DAY)
        assert in_doubt.notification_id == digest.notification_id
        with journal.batch(T0 + DAY) as batch:
            assert len(batch.report_all(in_doubt)) == 5
        assert [one.notification_id for one in journal.outbox_open()] == [digest.notification_id]


def test_an_answered_alarm_leaves_a_digest_that_waits(journal):
    rush(journal, 5)
    (digest,) = fold(journal, T0 + HOUR)
    with journal.batch(T0 + HOUR) as batch:
        batch.report_all(report(digest, PENDING, retry_at=T0 + HOUR + MINUTE))
        batch.cancel(["home1.panic.0.1", "home1.panic.1.1"])
    (again,) = fold(journal, T0 + HOUR + MINUTE)
    assert (again.notification_id, again.attempts, dict(again.params)["count"]) == (digest.notification_id, 2, "3")


def test_an_answer_while_a_digest_is_under_way_keeps_its_alarm_out_of_the_next_try(journal):
    rush(journal, 5)
    (digest,) = fold(journal, T0 + HOUR)
    with journal.batch(T0 + HOUR) as batch:
        batch.cancel(["home1.panic.0.1"])
        assert len(batch.report_all(report(digest, PENDING, retry_at=T0 + HOUR))) == 5
    (again,) = fold(journal, T0 + HOUR + 1)
    assert dict(again.params)["count"] == "4"


def test_what_waits_moves_with_the_clock(journal):
    rush(journal, 1)
    with journal.batch(T0 + 5) as batch:
        batch.shift_texts(-30 * DAY)
    assert len(lease(journal, now=T0 - 30 * DAY + 5)) == 1


def test_texts_that_wait_for_company_wait_a_minute_though_the_clock_was_set_back(journal):
    rush(journal, 20)
    back = T0 - 29 * DAY + 20
    with journal.batch(back) as batch:
        batch.shift_texts(-29 * DAY)

    assert [one.kind for one in fold(journal, back)] == ["alarm", "alarm"]
    (digest,) = fold(journal, back + MINUTE)
    assert dict(digest.params)["count"] == "18"


def test_a_persons_day_moves_with_the_clock(journal):
    rush(journal, 2)
    assert len(fold(journal, T0 + 20)) == 2
    with journal.batch(T0 - 30 * DAY + 30) as batch:
        batch.shift_texts(-30 * DAY)

    moved = journal.texts_tried_between(T0 - 31 * DAY, T0 - 30 * DAY + 30)
    assert [at for _, at, _ in moved] == [T0 - 30 * DAY + 20] * 2


def test_a_box_that_was_in_1970_for_an_hour_leaves_older_texts_where_they_were(journal):
    rush(journal, 2)
    assert len(fold(journal, T0 + 20)) == 2
    in_1970 = T0 + 3 * DAY
    with journal.batch(HOUR) as batch:
        batch.shift_texts(HOUR - in_1970)
    with journal.batch(in_1970 + HOUR) as batch:
        batch.shift_texts(in_1970 + HOUR - 2 * HOUR)

    assert [at for _, at, _ in journal.texts_tried_between(0, 1 << 50)] == [T0 + 20] * 2


def test_the_newest_text_of_an_alarm_is_the_newest_though_the_clock_was_set_back(journal, risen):
    """Somebody was told, then the clock is set back, and the next call finds nobody: that is untold."""
    lease(journal)
    send(journal, text(risen), DELIVERED, receipt_id="SM1")
    back = T0 - 2 * HOUR
    with journal.batch(back) as batch:
        batch.shift_texts(-2 * HOUR)
    record(journal, Effects(notifications=[text(risen, 2, kind="reminder", due_at=back)]), now=back + MINUTE)

    assert journal.reader.untold() == [risen.alarm_id]


def test_what_a_text_that_went_out_unstored_tells_beside_itself_is_under_way_with_it(journal, risen):
    record(journal, Effects(notifications=[text(risen, 2, kind="reminder")]))
    (newer,) = journal.outbox_open()
    with journal.batch(T0) as batch:
        sent = replace(newer, state=SENDING, attempts=1, attempted_at=T0)
        assert batch.mark_sent([sent]) == [newer.notification_id]
    with journal.batch(T0) as batch:
        assert len(batch.report_all(report(newer, DELIVERED))) == 2

    assert rows(journal, "SELECT state FROM outbox") == [(DELIVERED,), (DELIVERED,)]


def test_a_journal_of_the_first_layout_gets_the_times_of_its_alarms(path):
    first = shipped()[:1]
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, path, first)
        db.execute(
            "INSERT INTO outbox VALUES ('a.1', '', 'h', 'r', 'test', 'info', 0, 'li', 1, '{}', 'CCCC', '', 'pending',"
            " 0, NULL, NULL, '', 2, 0, 77, 77)"
        )
    with Journal.open(path) as journal:
        assert rows(journal, "SELECT alarm_at, folded_into FROM outbox") == [(77, None)]
        assert [one.alarm_at for one in lease(journal, now=T0)] == [77]
