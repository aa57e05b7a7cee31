"""What the maintainer is told at a start, and a daemon that finds its journal damaged while it runs."""

import time
from types import SimpleNamespace

import pytest

from sensor_guard import app
from sensor_guard.beginning import begin, open_journal
from sensor_guard.clock import SystemClock
from sensor_guard.core import Core
from sensor_guard.errors import ConfigError, Problem
from sensor_guard.inbox import Inbox
from sensor_guard.journal import Ballast, ForeignFileError, Journal, JournalCorruptError, JournalFullError, suspect
from sensor_guard.model import Fault
from sensor_guard.parts import _JournalSource
from tests.core.conftest import Box, FakeReader, at, plan


@pytest.fixture
def path(tmp_path):
    box = Box(tmp_path / "journal.db", plan())
    box.says("1m", "h1/panic", 1)
    box.off()
    return box.path


def begun(path, now=None):
    journal, mended = open_journal(path, SystemClock())
    core = Core(journal, plan(), FakeReader())
    begin(core, mended, at("2m") if now is None else now)
    return core


def faults(core):
    return [(a.rule_id, str(a.condition), a.evidence.detail) for a in core.journal.reader.alarms(home_id="gateway")]


def test_a_sound_journal_is_no_news(path):
    core = begun(path)
    assert faults(core) == []
    assert core.counters.damaged == ""
    core.journal.close()


def test_a_mended_journal_is_an_alarm_that_a_person_closes(path):
    suspect(path, "a commit met it")
    core = begun(path)
    ((rule_id, condition, detail),) = faults(core)
    assert (rule_id, condition, detail) == ("journal_damaged", "false", core.counters.damaged)
    assert detail.startswith("journal.db.damaged-")
    assert [row[0] for row in core.journal.reader._rows("SELECT rule_id FROM outbox WHERE home_id = 'gateway'", ())]
    core.journal.close()
    # The next start is an ordinary one, and the alarm is still open.
    core = begun(path, at("3m"))
    assert len(faults(core)) == 1
    assert core.counters.damaged == ""
    core.journal.close()


def test_a_replay_that_decides_otherwise_is_an_alarm(path):
    with Journal.open(path) as journal, journal.batch(at("1m")) as batch:
        batch._db.execute("UPDATE outbox SET notification_id = notification_id || '0'")
    core = begun(path)
    assert faults(core) == [("replay_differed", "false", "2 differences")]
    core.journal.close()


@pytest.mark.parametrize("fault_id", ["journal_unwritable", "session_lost", "broker_dropped"])
def test_a_fault_that_outlived_its_daemon_is_ended(path, fault_id):
    core = begun(path)
    core.commit(core.turn([Fault(fault_id, active=True, at=at("2m"))], at("2m")))
    core.journal.close()
    core = begun(path, at("3m"))
    assert [(rule_id, condition) for rule_id, condition, _ in faults(core)] == [(fault_id, "false")]
    core.journal.close()


def test_on_a_full_disk_the_ballast_makes_room_for_the_start(path, monkeypatch):
    ballast = Ballast(path, size=1 << 20)
    assert ballast.make(least=1 << 20)
    opened = []

    def full(*_arguments, **_options):
        opened.append(ballast.is_there())
        if ballast.is_there():
            raise JournalFullError("full")
        return None, None

    monkeypatch.setattr("sensor_guard.beginning.open_or_mend", full)
    assert open_journal(path, SystemClock()) == (None, None)
    assert opened == [True, False]


class Runs:
    """Stands for the daemon: each run ends as the script says."""

    def __init__(self, *ends):
        self.ends = list(ends)

    def __call__(self, *_arguments):
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


@pytest.fixture
def run(tmp_path, monkeypatch):
    config = SimpleNamespace(settings=SimpleNamespace(log=None, runtime=SimpleNamespace(directory=tmp_path)))
    monkeypatch.setattr(app, "load_for_service", lambda _path: SimpleNamespace(config=config))
    monkeypatch.setattr(app.gc, "disable", lambda: None)  # nobody would switch it on again
    monkeypatch.setattr(app.sys, "setswitchinterval", lambda _seconds: None)
    monkeypatch.setattr(app, "configure_log", lambda _settings: None)

    def go(*ends):
        runs = Runs(*ends)
        monkeypatch.setattr(app, "_run", runs)
        try:
            return app.run(tmp_path / "config.yaml"), runs.ends
        except JournalCorruptError as error:
            return error, runs.ends

    return go


def test_no_thread_waits_long_for_another_one_that_runs(run, monkeypatch):
    told = []
    monkeypatch.setattr(app.sys, "setswitchinterval", told.append)
    assert run(0) == (0, [])
    assert told == [app.SWITCH_AFTER]
    assert app.SWITCH_AFTER <= 0.001  # Python's own are 5 ms


def test_a_journal_found_damaged_is_mended_at_once_and_only_once_an_hour(run, tmp_path):
    damaged = JournalCorruptError(tmp_path / "journal.db", "malformed")
    assert run(damaged, 0) == (0, [])
    assert (tmp_path / "journal.db.suspect").read_text().startswith(str(tmp_path / "journal.db"))
    # No loop: the second time the process ends, and its manager's back-off has its say.
    assert run(damaged, damaged, 0) == (damaged, [0])


def test_a_journal_that_is_mended_after_a_reload_goes_on_with_what_is_in_force_now(tmp_path, monkeypatch):
    config = SimpleNamespace(settings=SimpleNamespace(log=None, runtime=SimpleNamespace(directory=tmp_path)))
    answers = [SimpleNamespace(config=config, n=1), SimpleNamespace(config=config, n=2)]
    answers.append(ConfigError([Problem("rules.yaml", 1, 1, "", "wrong")]))
    seen = []

    def load_for_service(_path):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(loaded, *_more):
        seen.append(loaded.n)
        if len(seen) < 3:
            raise JournalCorruptError(tmp_path / "journal.db", "malformed")
        return 0

    monkeypatch.setattr(app, "load_for_service", load_for_service)
    monkeypatch.setattr(app, "_run", run)
    monkeypatch.setattr(app, "_may_mend", lambda _last, _now: True)
    monkeypatch.setattr(app.gc, "disable", lambda: None)
    monkeypatch.setattr(app.sys, "setswitchinterval", lambda _seconds: None)
    monkeypatch.setattr(app, "configure_log", lambda _settings: None)

    assert app.run(tmp_path / "config.yaml") == 0
    # The third time the files cannot be read, nor is anything kept: what ran before runs on.
    assert seen == [1, 2, 2]


def test_another_programs_file_ends_it_at_once(run, tmp_path):
    foreign = ForeignFileError(tmp_path / "journal.db", "another program's")
    assert run(foreign, 0) == (foreign, [0])
    assert not (tmp_path / "journal.db.suspect").exists()


def test_damage_that_a_commit_meets_is_told_as_such(path):
    """Zeroed under the daemon's feet, as a dying card does it: the commit raises, and the next start mends."""
    core = begun(path)
    core.journal.checkpoint()
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(bytes(path.stat().st_size - 8_192))
    core.journal._db.execute("PRAGMA cache_size = 0")
    core.journal._db.execute("PRAGMA shrink_memory")

    def goes_on():
        for n in range(200):
            core.commit(core.turn([Fault("disk_full", active=bool(n % 2), at=at("2m") + n)], at("2m") + n))

    with pytest.raises(JournalCorruptError):
        goes_on()
    core.journal.close()
    began = time.monotonic()
    core = begun(path, at("4m"))
    assert core.counters.damaged
    assert time.monotonic() - began < 10
    core.journal.close()


def test_damage_that_only_the_mirror_meets_ends_the_loop_too(path):
    """Old readings are read by nobody else: it is told through the inbox, as everything is."""
    inbox = Inbox()
    source = _JournalSource(path, inbox)
    source.head()

    def damaged(_cursor, _limit):
        raise JournalCorruptError(path, "malformed")

    source._reader.rows_after = damaged
    with pytest.raises(JournalCorruptError):
        source.rows_after(0, 10)
    core = begun(path)
    core.commit(core.turn(inbox.take(0), at("3m")))
    assert "malformed" in str(core.damage)
    core.journal.close()
