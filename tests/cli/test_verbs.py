"""Verbs with no daemon running: they do their work under the journal's lock, once, and say what they did."""

import socket
import threading

import pytest

from sensor_guard import __version__
from sensor_guard.cli.output import NOBODY_WATCHES, until_text
from sensor_guard.cli.people import _home_line
from sensor_guard.clock import parse_at
from sensor_guard.config import load
from sensor_guard.control import ControlServer
from sensor_guard.journal import Journal
from sensor_guard.testing import span


def test_an_open_alarm_is_listed_with_label_name_and_state(guard, pressed):
    said = guard("alarms")

    assert said.code == 0
    assert "unanswered  3-301  Panic button" in said.out
    (alarm,) = guard("alarms", "--json").lines
    assert (alarm["alarm_id"], alarm["state"]) == (pressed, "active")
    assert said.out.endswith(f"  [{alarm['code']}]  [{pressed}]\n")
    assert guard("alarms", "--home", "h2").out == "no open alarms\n"


def test_a_list_of_alarms_that_was_cut_says_so(guard, pressed):
    assert "the newest 1 only, there may be more: --limit 10\n" in guard("alarms", "--limit", "1").err
    assert "only" not in guard("alarms", "--limit", "2").err
    assert guard("alarms", "--limit", "0").code == 2


def test_an_alarm_is_answered_and_closed_and_shown_with_its_steps(guard, pressed):
    assert guard("ack", pressed, "--by", "wang", "--note", "on my way")[:2] == (0, f"{pressed}: answered by wang.\n")
    again = guard("ack", pressed, "--by", "li")
    assert (again.code, again.err.splitlines()) == (1, [NOBODY_WATCHES, f"{pressed} was already answered by wang"])
    assert "answered  3-301" in guard("alarms").out

    closed = guard("close", pressed, "--by", "wang", "--outcome", "helped", "--json")
    assert (closed.code, closed.json["ok"]) == (0, True)
    assert guard("alarms").out == "no open alarms\n"
    assert "closed helped  3-301  Panic button  wang" in guard("alarms", "--all").out

    shown = guard("alarm", pressed).out
    assert "on my way (uid" in shown
    assert f"REFUSED, nothing was changed: {pressed} was already answered by wang" in shown
    assert "closed" in shown
    machine = guard("alarm", pressed, "--json").json
    assert machine["alarm"]["outcome"] == "helped"
    assert [step["reason"] for step in machine["trail"] if step["what"] == "refusal"] == ["refused"]


def test_json_tells_every_time_as_iso_8601(guard, pressed):
    stamp = pressed.rpartition(".")[2]
    (alarm,) = guard("alarms", "--json").lines
    assert alarm["raised_at"].replace("-", "").replace(":", "") == stamp
    assert alarm["evidence"]["since"] == alarm["raised_at"]
    assert alarm["evidence"]["observed_for"] == 0  # a span, in ms
    assert guard("mute", "battery_low", "--until", "3d", "--reason", "x", "--by", "wang").code == 0
    (h1, _) = guard("homes", "--json").lines
    assert h1["muted_until"]["battery_low"].endswith("Z")


def test_the_list_of_homes_names_the_sensors_that_cannot_be_seen(guard, pressed, folder):
    (h1, _) = guard("homes", "--json").lines
    seen = [{**sensor, "observed": sensor["sensor_id"] == "panic"} for sensor in h1["sensors"]]
    partly = {**h1, "blind": "partly", "blind_since": None, "last_sign_at": None, "sensors": seen}
    config = load(folder / "config.yaml")
    assert "partly blind motion (never heard)" in _home_line(partly, config)
    assert "BLIND (never heard)" in _home_line({**partly, "blind": "yes"}, config)


def test_the_code_of_a_text_names_the_alarm(guard, pressed, folder):
    with Journal.open(folder / "journal.db") as journal:
        code = journal.reader._rows("SELECT code FROM outbox", ())[0][0]

    assert guard("ack", code.lower(), "--by", "wang").code == 0
    assert "answered" in guard("alarms").out


def test_the_code_in_the_list_of_alarms_answers_it(guard, pressed):
    (alarm,) = guard("alarms", "--json").lines

    assert guard("ack", alarm["code"], "--by", "wang").code == 0
    assert guard("alarm", pressed, "--json").json["alarm"]["acknowledged_by"] == "wang"


def test_watching_an_installer_needs_a_daemon(guard, pressed):
    said = guard("watch", "h1")

    assert (said.code, said.out) == (3, "")
    assert "cannot be done without one" in said.err


def test_an_alarm_shows_who_was_told(guard, pressed):
    assert "text to 王芳 (wang): alarm, sending" in guard("alarm", pressed).out


def test_a_configuration_that_nobody_named_is_asked_for(guard, monkeypatch):
    monkeypatch.delenv("SENSOR_GUARD_CONFIG", raising=False)
    said = guard("check")

    assert said.code == 78
    assert "name yours with --config" in said.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("ack", "h1.panic.19990101T000000Z", "--by", "wang"), "there is no open alarm"),
        (("ack", "QQQQ", "--by", "wang"), "no text of the last 7 days has the code QQQQ"),
        (("alarm", "h1.panic.x"), "there is no alarm h1.panic.x"),
        (("away", "h9", "--until", "3d"), "there is no home h9"),
        (("away", "h1", "--until", "2020-01-01 08:00"), "is not within the next 400 days"),
        (("mute", "panic", "--until", "3d", "--reason", "noise"), "panic can never be muted"),
        (("mute", "nothing", "--until", "3d", "--reason", "noise"), "there is no rule nothing"),
        (("notify", "test", "nobody"), "there is no contact nobody; there are sun, wang"),
    ],
)
def test_a_refusal_is_told_and_ends_with_1(guard, pressed, arguments, why):
    said = guard(*arguments)

    assert (said.code, said.out) == (1, "")
    assert why in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("dance",),
        ("ack",),
        ("ack", "x"),
        ("close", "x", "--by", "wang"),
        ("close", "x", "--by", "wang", "--outcome", "great"),
        ("away", "h1"),
        ("away", "h1", "--until", "tomorrow"),
        ("mute", "battery_low", "--until", "3d"),
        ("sensor", "test-mode", "h1", "5h"),
        ("sensor", "test-mode", "h1", "soon"),
        ("db",),
        ("replay",),
        ("test",),
    ],
)
def test_wrong_usage_ends_with_2(guard, pressed, arguments):
    assert guard(*arguments).code == 2


def test_a_home_goes_away_and_comes_back(guard, pressed):
    assert "3-301 (h1) is away until " in guard("away", "h1", "--until", "3d", "--by", "wang").out
    (h1, h2) = guard("homes", "--json").lines
    assert (h1["away"], h1["label"], h2["away"]) == (True, "3-301", False)
    assert "away until" in guard("homes").out
    assert guard("back", "h1").code == 0
    assert not guard("homes", "--json").lines[0]["away"]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2099-11-30 18:00", "2099-11-30T18:00:00+08:00"),
        ("2099-11-30", "2099-11-30T00:00:00+08:00"),
        ("2099-11-30T18:00+01:00", "2099-11-30T18:00:00+01:00"),
        ("2099-11-30T18:00Z", "2099-11-30T18:00:00Z"),
    ],
)
def test_until_without_a_zone_is_the_homes_time(folder, text, instant):
    assert parse_at(until_text(text, load(folder / "config.yaml"), 0)) == parse_at(instant)


def test_until_as_a_span_is_counted_from_now(folder):
    now = parse_at("2026-03-01T00:00:00Z")
    for text in ("90m", "3d", "12h"):
        assert parse_at(until_text(text, load(folder / "config.yaml"), now)) == now + span(text)


def test_mute_test_mode_and_a_test_text(guard, pressed):
    assert guard("mute", "battery_low", "--until", "3d", "--reason", "ordered").code == 0
    assert guard("mute", "battery_low", "--until", "3d", "--reason", "ordered", "--home", "h2").code == 0
    assert "battery_low muted until" in guard("homes").out
    assert guard("unmute", "battery_low").code == 0
    assert "nobody is texted" in guard("sensor", "test-mode", "h1", "20m").out
    assert "test until" in guard("homes").out
    assert guard("notify", "test", "wang").code == 0


def test_without_a_daemon_the_status_says_so(guard, pressed):
    said = guard("status", "--json")

    assert said.code == 1
    assert (said.json["running"], said.json["open_alarms"]) == (False, 1)
    assert "running: False" in guard("status").out


def test_without_a_daemon_no_verb_looks_as_if_somebody_watched(guard, pressed):
    for words in (("alarms",), ("alarms", "--json"), ("alarm", pressed), ("homes",)):
        assert guard(*words)[0::2] == (0, f"{NOBODY_WATCHES}\n")
    for words in (("ack", pressed, "--by", "wang"), ("close", pressed, "--by", "wang", "--outcome", "fine")):
        said = guard(*words)
        first, second = said.err.splitlines()
        assert (said.code, first) == (0, NOBODY_WATCHES)
        assert "texts wait until the daemon runs" in second
    others = (
        ("away", "h1", "--until", "3d"),
        ("back", "h1"),
        ("mute", "battery_low", "--until", "3d", "--reason", "x"),
        ("unmute", "battery_low"),
        ("sensor", "test-mode", "h1"),
    )
    for words in others:
        assert guard(*words)[0::2] == (0, f"{NOBODY_WATCHES}\n")
    said = guard("notify", "test", "wang")
    assert said.err.splitlines()[0] == NOBODY_WATCHES
    assert "texts wait until the daemon runs" in said.err
    said = guard("status")  # it says so itself, once, in its answer
    assert (NOBODY_WATCHES in said.out, said.err) == (True, "")


def test_an_outcome_that_there_is_not_is_told_with_those_that_there_are(guard, pressed):
    said = guard("close", pressed, "--by", "wang", "--outcome", "okay")

    outcomes = "helped, fine, away, false_alarm, sensor_fault, repaired, test"
    assert (said.code, said.err) == (2, f"--outcome is one of {outcomes}; not 'okay'\n")
    assert "helped|fine|" in guard("close", "--help").out


@pytest.mark.parametrize("verb", [("alarms",), ("status",), ("homes",), ("ack", "x.y.z", "--by", "wang")])
def test_where_no_daemon_ever_ran_it_is_3(guard, verb):
    said = guard(*verb)

    assert said.code == 3
    assert "the daemon has never run here" in said.err


def test_an_empty_journal_is_3(guard, folder):
    Journal.open(folder / "journal.db").close()

    assert guard("alarms").code == 3


def test_a_daemon_that_holds_the_journal_and_does_not_answer_is_3(guard, pressed, folder):
    with Journal.open(folder / "journal.db"):
        said = guard("alarms")

    assert said.code == 3
    assert "though a daemon holds the journal" in said.err


def test_with_a_daemon_the_verb_is_asked_of_it(guard, pressed, folder):
    asked = []

    def handle(request, _uid):
        asked.append(request)
        return {"ok": True, "command_id": "c1"} if request["verb"] == "ack" else {"error": "no"}

    server = ControlServer(folder / "run" / "control.sock", handle)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with Journal.open(folder / "journal.db"):
        assert guard("ack", "K7PW", "--by", "wang")[0::2] == (0, "")
        assert guard("back", "h1")[0::2] == (1, "no\n")
    server.shutdown()
    thread.join(10)
    server.server_close()

    assert asked == [
        {"verb": "ack", "target": "K7PW", "by": "wang", "note": ""},
        {"verb": "back", "target": "h1", "by": ""},
    ]


@pytest.fixture
def answers(folder):
    """A daemon that answers each verb with what stands here."""
    given: dict[str, dict] = {}
    server = ControlServer(folder / "run" / "control.sock", lambda request, _uid: given[request["verb"]])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield given
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_a_status_with_wrong_files_ends_with_1_though_their_alarm_is_closed(guard, answers):
    answers["alarms"] = {"alarms": []}
    answers["status"] = {"running": True}
    assert guard("status").code == 0
    answers["status"] = {"running": True, "files": "WRONG (r.yaml:3:1)"}
    assert guard("status")[:2] == (1, "running: True\nfiles: WRONG (r.yaml:3:1)\n")
    assert guard("status", "--json").code == 1


def test_a_fault_that_holds_is_told_though_its_alarm_is_muted_or_closed(guard, answers):
    answers["alarms"] = {"alarms": []}
    answers["status"] = {"running": True, "holding": ["broker_offline"]}
    said = guard("status")
    assert said[:2] == (
        1,
        "running: True\nFAULT: MQTT broker offline: holds, though its alarm is muted or closed\n",
    )
    machine = guard("status", "--json")
    assert (machine.code, machine.json) == (1, {"running": True, "faults": ["broker_offline"]})


def test_a_reload_says_what_is_not_in_force_until_a_restart(guard, answers):
    answers["reload"] = {"ok": True, "changed": True, "homes": 2, "restart": []}
    assert guard("reload").out == "The new configuration is in force: 2 homes.\n"
    answers["reload"] = {"ok": True, "changed": True, "homes": 2, "restart": ["health.port", "mqtt.port"]}
    said = guard("reload")
    assert (said.code, "is in force" in said.out) == (0, False)
    assert said.out.startswith("The files are taken in: 2 homes; not in force until a restart: health.port, mqtt.port.")


def test_a_socket_nobody_listens_on_does_no_harm(guard, pressed, folder):
    (folder / "run").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(folder / "run" / "control.sock"))

    assert guard("alarms").code == 0


# -- the journal ------------------------------------------------------------------------------------------------------


def test_the_journal_is_copied_checked_and_shortened(guard, pressed, folder):
    said = guard("db", "backup", "copy.db")
    assert (said.code, (folder / "copy.db").exists()) == (0, True)
    again = guard("db", "backup", "copy.db")
    assert (again.code, again.out) == (1, "")
    assert guard("db", "backup", "copy2.db", "--json").json["ok"]

    assert guard("db", "check", "--full", "--json").json == {"ok": True, "faults": []}
    assert guard("db", "check").out.endswith("journal.db: 0 fault(s)\n")
    assert guard("db", "check", "copy.db")[:2] == (0, "copy.db: 0 fault(s)\n")
    (folder / "copy.db").write_bytes(b"no journal at all" * 1000)
    assert guard("db", "check", "copy.db").code == 1
    assert guard("db", "check", "none.db").code == 1
    assert guard("db", "prune", "--json").json["ok"]
    assert guard("db", "prune").code == 0


def test_a_damaged_journal_is_found(guard, pressed, folder):
    (folder / "journal.db").write_bytes(b"not a database" * 1000)
    (folder / "journal.db-wal").unlink(missing_ok=True)

    for arguments in (("db", "check"), ("db", "backup", "copy.db"), ("db", "prune")):
        said = guard(*arguments)
        assert (said.code, said.out) == (1, "")
        assert "journal.db" in said.err


def test_a_backup_runs_while_a_daemon_holds_the_journal(guard, pressed, folder):
    with Journal.open(folder / "journal.db"):
        assert guard("db", "backup", "copy.db").code == 0
        assert guard("db", "check").code == 0


def test_without_a_journal_its_verbs_say_so(guard, folder):
    for arguments in (("db", "check"), ("db", "backup", "copy.db")):
        said = guard(*arguments)
        assert (said.code, said.out) == (1, "")
        assert "journal.db" in said.err
    assert not (folder / "copy.db").exists()


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_sound_configuration_is_said_in_sentences(guard):
    said = guard("check")

    assert said.code == 0
    assert "2 homes, 3 sensors, 2 contacts, 2 rules: no problems" in said.out
    machine = guard("check", "--json").json
    assert (machine["ok"], machine["homes"], machine["topics"], set(machine["rules"])) == (True, 2, 3, {"zh", "en"})


def test_every_fault_of_the_files_is_told_at_once_with_its_place(guard, folder):
    (folder / "homes.csv").write_text((folder / "homes.csv").read_text() + "s1,b1,h 3,x,panic,p,,,,,\n")
    (folder / "rules" / "r.yaml").write_text((folder / "rules" / "r.yaml").read_text().replace("severity", "severty"))

    said = guard("check")
    assert (said.code, said.out) == (78, "")
    assert "homes.csv:5:" in said.err
    assert "did you mean 'severity'?" in said.err
    assert said.err.splitlines()[-1].endswith("problem(s)")
    machine = guard("check", "--json")
    assert (machine.code, machine.json["ok"]) == (78, False)
    assert len(machine.json["problems"]) >= 3


@pytest.mark.parametrize("arguments", [("alarms",), ("ack", "x", "--by", "y"), ("db", "check"), ("run",)])
def test_with_wrong_files_every_verb_ends_with_78(guard, folder, arguments):
    (folder / "config.yaml").write_text("gateway: [\n")

    said = guard(*arguments)

    assert (said.code, said.out) == (78, "")
    assert "config.yaml:" in said.err


def test_a_config_that_is_not_there_is_78(guard):
    said = guard("check", "--config", "gone.yaml")

    assert said.code == 78
    assert "gone.yaml" in said.err


def test_rule_tests_run_and_a_failing_one_is_told_with_its_place(guard, folder):
    assert guard("test", "rules").out == "without any test: battery_low\n1 passed, 0 failed, of 2 rules\n"

    (folder / "rules" / "r.yaml").write_text(
        (folder / "rules" / "r.yaml").read_text().replace('"59m", alarms: []', '"59m", alarms: [active]')
    )
    said = guard("test", "rules")
    assert said.code == 1
    assert "FAILED " in said.out
    assert "r.yaml:15: panic: a press: at 0h59m: expected active, found no alarm" in said.out
    (line,) = guard("test", "rules/r.yaml", "--json").lines
    assert (line["passed"], line["failures"]) == (False, ["at 0h59m: expected active, found no alarm"])


def test_rules_without_tests_and_wrong_rules_do_not_pass(guard, folder):
    (folder / "rules" / "r.yaml").write_text((folder / "rules" / "r.yaml").read_text().partition("tests:")[0])
    assert guard("test", "rules").code == 1

    (folder / "rules" / "r.yaml").write_text("rules: 7")
    assert guard("test", "rules").code == 78
    assert guard("test", "gone").code == 78


def test_the_schema_and_the_version_are_printed(guard):
    assert guard("schema").json["$schema"].startswith("https://json-schema.org/")
    assert guard("--version").out == f"sensor_guard {__version__}\n"
    assert guard("--help").code == 0
    assert "Exit codes" in guard("-h").out


def test_without_influxdb_there_is_no_history_to_read(guard):
    said = guard("history", "h1")

    assert (said.code, said.out) == (1, "")
    assert "no history to read" in said.err
