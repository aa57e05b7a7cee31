"""The reload from the asking to the answer, on a real journal, turned by hand; the files are read for real."""

import threading

import pytest

from sensor_guard.config import LastGood, child, load_for_service
from sensor_guard.core import Core
from sensor_guard.decode import Router
from sensor_guard.health import Counters, Heartbeats
from sensor_guard.inbox import Inbox
from sensor_guard.journal import Journal
from sensor_guard.line import Line
from sensor_guard.model import AlarmOutcome, Command, CommandKind, Message
from sensor_guard.reload import Reloader, needs_restart
from sensor_guard.standing import Standing
from sensor_guard.testing import VirtualClock


class InProcess(Reloader):
    """Reads the files at once: a process of its own would only take longer."""

    def _read(self):
        yield
        return child.read(self.path, self._last_good.folder)


class Box:
    """What app.py makes of the files, without threads."""

    def __init__(self, files, *, kind=InProcess):
        self.files, self.clock, self.inbox = files, VirtualClock(), Inbox(linger=0.0)
        self.kind = kind
        self.words: list[str] = []
        self.resumed = 0
        self.on()

    def on(self):
        loaded = load_for_service(self.files.config)
        self.config = loaded.config
        self.journal = Journal.open(self.config.settings.journal.path)
        self.core = Core(self.journal, loaded.written, Router(self.config.topics), channel="console")
        self.standing = Standing(self.core, self.clock, self.inbox, Counters(), Heartbeats(), home_count=0)
        self.line = Line(self.core, self.standing, self.clock, pause=lambda _seconds: False)
        self.reloader = self.kind(
            loaded,
            LastGood.beside(self.config.settings.journal.path),
            self.core,
            self.inbox,
            clock=self.clock,
            prepare=self._prepare,
            resume=self._resume,
            tell=self.words.append,
        )
        self.core.restore(self.clock.now())
        fault = self.reloader.told_at_start(self.clock.now())
        if fault is not None:
            self.inbox.put(fault)
        self.turn()
        self.reloader.step(0)  # keeps what it has started with
        self.turn()

    def off(self):
        self.reloader.close()
        self.journal.close()

    def turn(self, *events):
        self.line.step([*self.inbox.take(0.0), *events])

    def reload(self) -> dict:
        """Ask, and turn the two threads in turn until there is an answer."""
        answers = []
        self.reloader.ask(answers.append)
        stepper = threading.Thread(target=self._step_until, args=(answers,))
        stepper.start()
        while stepper.is_alive():
            self.turn()
            stepper.join(0.001)
        (answer,) = answers
        return answer

    def _step_until(self, answers):
        while not answers:
            self.reloader.step(0)

    def _prepare(self, config):
        router = Router(config.topics)

        def taken():
            self.config = config
            self.core.read_with(router)

        return taken

    def _resume(self):
        self.resumed += 1

    def message(self, topic, payload='{"panic": 1}'):
        return Message(topic, payload.encode(), 1, False, False, 1, 0, self.clock.now())

    def faults(self):
        found = self.journal.reader.alarms(home_id="gateway", limit=100)
        return [(alarm.rule_id, str(alarm.condition), alarm.evidence.detail) for alarm in found]

    def closes_the_fault(self):
        (alarm,) = self.journal.reader.alarms(home_id="gateway")
        kind, at = CommandKind.CLOSE, self.clock.now()
        self.turn(Command("c1", kind, alarm.alarm_id, "sun", at, "", None, AlarmOutcome.REPAIRED))


@pytest.fixture
def box(files):
    made = Box(files)
    yield made
    made.off()


def test_what_changes_nothing_says_so_and_takes_the_secrets_anew(box):
    assert box.reload() == {"ok": True, "changed": False, "restart": []}
    assert box.resumed == 1
    assert box.faults() == []


def test_a_new_home_is_watched_from_the_reload_on(box, files):
    stranger = "guard/s1/h9/panic"
    box.turn(box.message(stranger))
    assert box.core.counters.quarantined == {"unknown_sensor": 1}
    files.edit("homes.csv", "s1,b1,h2", "s1,b1,h9,3-309,panic,panic,,,,,\ns1,b1,h2")

    assert box.reload() == {"ok": True, "changed": True, "homes": 3, "restart": []}

    box.clock.passes("1m")
    box.turn(box.message(stranger))
    assert [alarm.home_id for alarm in box.journal.reader.alarms()] == ["h9"]
    assert box.config.label("h9") == "3-309"


def test_a_topic_that_is_gone_is_a_stranger_and_its_message_is_still_acknowledged(box, files):
    files.edit("homes.csv", "s1,b1,h2,3-302,panic,panic,,,,,\n", "")

    assert box.reload()["changed"]

    turn = box.core.turn([box.message("guard/s1/h2/panic")], box.clock.now())
    box.core.commit(turn)
    assert len(turn.messages()) == 1
    assert [row.reason for row in box.journal.reader.quarantined(limit=5)] == ["unknown_sensor"]


def test_wrong_files_leave_everything_as_it_was_and_are_a_fault_until_they_are_right(box, files):
    before = (box.core.engine.plan_hash, box.config)
    files.edit("rules/r.yaml", "15 %", "15 W")

    answer = box.reload()

    assert answer["ok"] is False
    assert len(answer["problems"]) == 1
    assert "r.yaml:10:53: rules.1.when.below: " in answer["problems"][0]
    assert (box.core.engine.plan_hash, box.config) == before
    assert box.faults() == [("config_wrong", "true", f"{files.folder}/rules/r.yaml:10:53"[:120])]
    assert "WRONG" in box.reloader.standing()["files"]

    files.edit("rules/r.yaml", "15 W", "16 %")
    assert box.reload()["changed"]
    assert [fault[:2] for fault in box.faults()] == [("config_wrong", "false")]
    assert box.reloader.standing() == {"configuration": box.reloader.kept}


def test_files_that_are_put_back_as_they_were_end_the_fault(box, files):
    files.edit("rules/r.yaml", "15 %", "15 W")
    box.reload()
    files.edit("rules/r.yaml", "15 W", "15 %")

    assert box.reload() == {"ok": True, "changed": False, "restart": []}
    assert [fault[:2] for fault in box.faults()] == [("config_wrong", "false")]


def test_three_tries_at_mending_are_one_alarm(box, files):
    files.edit("rules/r.yaml", "15 %", "15 W")
    for _ in range(3):
        box.reload()
        box.clock.passes("1m")

    (alarm,) = box.journal.reader.alarms(home_id="gateway")
    assert alarm.evidence.count == 1
    assert len([t for t in box.journal.outbox_open() if t.alarm_id == alarm.alarm_id]) == 1


def test_a_start_with_wrong_files_runs_on_the_last_good_ones_and_says_so(box, files):
    box.off()
    plan_hash = box.core.engine.plan_hash
    files.edit("contacts.yaml", '"+8613800000001"', "13800000001")
    box.clock.passes("1m")
    box.on()

    assert box.core.engine.plan_hash == plan_hash
    assert [fault[:2] for fault in box.faults()] == [("config_wrong", "true")]
    assert "13800000001" not in str(box.faults())
    assert "WRONG" in box.reloader.standing()["files"]

    box.off()
    files.edit("contacts.yaml", "13800000001", '"+8613800000001"')
    box.clock.passes("1m")
    box.on()
    assert [fault[:2] for fault in box.faults()] == [("config_wrong", "false")]


@pytest.mark.parametrize("at_start", [True, False])
def test_files_that_are_wrong_again_after_mending_and_closing_are_a_new_alarm(box, files, at_start):
    files.edit("rules/r.yaml", "15 %", "15 W")
    box.reload()
    files.edit("rules/r.yaml", "15 W", "15 %")
    box.reload()
    box.closes_the_fault()
    box.off()
    box.clock.passes("1m")
    if not at_start:
        box.on()
    files.edit("rules/r.yaml", "15 %", "15 W")
    if at_start:
        box.on()
    else:
        box.reload()

    (alarm,) = box.journal.reader.alarms(home_id="gateway", open_only=True)
    assert (alarm.rule_id, str(alarm.condition)) == ("config_wrong", "true")
    assert len([text for text in box.journal.outbox_open() if text.alarm_id == alarm.alarm_id]) == 1


def test_names_and_numbers_of_wrong_contacts_reach_neither_journal_nor_log(box, files, capsys):
    files.edit("contacts.yaml", '"+8613800000001"', "13800000001")
    answer = box.reload()

    assert "13800000001" in answer["problems"][0]
    said = capsys.readouterr()
    assert "configuration.refused" in said.out + said.err
    assert "13800000001" not in said.out + said.err
    for path in files.folder.glob("journal.db*"):
        assert b"13800000001" not in path.read_bytes()
        assert "王芳".encode() not in path.read_bytes()


def test_what_needs_a_restart_is_named(box, files):
    files.edit("config.yaml", "gateway: box1", "gateway: box2\nmqtt: {port: 1884}\nhealth: {port: 9999}")
    files.edit("config.yaml", "journal: {path: journal.db}", "journal: {path: journal.db, keep_readings: 8d}")
    files.edit("homes.csv", "3-302", "3-999")

    answer = box.reload()

    assert answer["restart"] == ["gateway", "health.port", "mqtt.port"]
    assert box.config.label("h2") == "3-999"
    assert box.config.settings.journal.keep_readings == 8 * 86_400_000


def test_the_service_manager_hears_of_it(box):
    box.reload()

    assert [word.split("\n")[0] for word in box.words] == ["RELOADING=1", "READY=1"]
    assert box.words[0].split("\n")[1].startswith("MONOTONIC_USEC=")


def test_a_disk_without_room_for_the_copies_refuses_the_reload_and_is_no_mistake_of_the_files(box, files, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LastGood, "store", full)
    files.edit("homes.csv", "3-302", "3-999")

    assert "No space left on device" in box.reload()["error"]
    assert box.faults() == []
    assert box.config.label("h2") == "3-302"


def test_many_who_ask_at_once_are_answered_by_one_reload(box):
    answers = []
    for _ in range(20):
        box.reloader.ask(answers.append)

    assert box.reload()["ok"]
    assert len(answers) == 20
    assert len(box.words) == 2


def test_a_fault_of_the_reload_itself_is_answered(box, monkeypatch):
    monkeypatch.setattr(InProcess, "_read", lambda _self: iter([1, 2]))
    answers = []
    box.reloader.ask(answers.append)

    for _ in range(2):
        box.reloader.step(0)
    with pytest.raises(AttributeError):
        box.reloader.step(0)

    assert answers == [{"error": "internal error; see the log"}]


def test_settings_that_only_a_start_takes_in_are_compared_with_the_start(files):
    first = files.load().settings
    files.edit("config.yaml", "order: [console]", "order: [console, twilio]")
    files.edit(
        "config.yaml", "console: {}", 'console: {}, twilio: {account_sid: "AC' + "0" * 32 + '", from: "+15005550006"}'
    )

    assert needs_restart(first, files.load().settings) == ["notifiers.order", "notifiers.twilio"]
    assert needs_restart(first, first) == []


def test_reloads_by_a_real_process_take_in_every_change(files):
    box = Box(files, kind=Reloader)
    try:
        for number in range(6):
            files.edit("homes.csv", "3-302" if number == 0 else f"r{number - 1}-302", f"r{number}-302")
            if number == 3:
                files.edit("rules/r.yaml", "15 %", "15 W")
                assert not box.reload()["ok"]
                files.edit("rules/r.yaml", "15 W", "15 %")
            assert box.reload()["changed"]
            assert box.config.label("h2") == f"r{number}-302"
    finally:
        box.off()
    assert load_for_service(files.config).kept == box.reloader.kept


def test_a_process_that_dies_is_no_mistake_of_the_files(files, monkeypatch):
    monkeypatch.setattr(child, "_PROGRAM", "import os; os.kill(os.getpid(), 9)")
    box = Box(files, kind=Reloader)
    files.edit("homes.csv", "3-302", "3-999")
    try:
        assert "ended with -9" in box.reload()["error"]
        assert box.faults() == []
    finally:
        box.off()


def test_a_process_with_much_to_say_is_heard_to_the_end(files):
    box = Box(files, kind=Reloader)
    rows = "".join(f"s1,b1,h{number},{'x' * 39},{'powr' * 40},p1,,,,,\n" for number in range(2_000))
    files.edit("homes.csv", "s1,b1,h2,3-302,panic,panic,,,,,\n", rows)
    try:
        answer = box.reload()
        assert len(answer["problems"]) == 101
    finally:
        box.off()
