"""The command line: its verbs, its files, its exit codes."""

import json
import subprocess
import sys

import pytest

from sensor_guard.clock import SystemClock, parse_at
from sensor_guard.model import SECOND
from simulators.cli import main
from simulators.files import read_replay
from simulators.scenario import RECORDED
from tests.simulators.listener import Listener
from tests.simulators.places import CHECKOUT


def test_simulate_writes_readings_truth_and_lists(tmp_path, capsys):
    out = tmp_path / "fall.csv.gz"
    code = main(
        [
            "simulate", "--homes", "2", "--days", "2", "--out", str(out),
            "--incident", "collapse,home-001,2026-03-01T09:10:00+08:00,16h",
            "--fault", "drop=0.02", "--fault", "delay=0.1,3m",
            "--fault", "dead_battery,home-002,door,2026-03-01T12:00:00+08:00,2026-03-02T00:00:00+08:00",
            "--homes-file", str(tmp_path / "homes.csv"), "--contacts-file", str(tmp_path / "contacts.yaml"),
        ]
    )  # fmt: skip
    assert code == 0
    assert len(list(read_replay(out))) > 2_000
    records = [json.loads(line) for line in (tmp_path / "fall.truth.jsonl").read_text().splitlines()]
    assert [(one["home_id"], one["incident"]) for one in records] == [
        ("home-001", "collapse"),
        ("home-002", "dead_battery"),
    ]
    assert len((tmp_path / "homes.csv").read_text().splitlines()) == 15
    assert "role: maintainer" in (tmp_path / "contacts.yaml").read_text()
    assert "dropped" in capsys.readouterr().err


def test_simulate_gives_the_same_bytes_again(tmp_path):
    for name in ("one", "two"):
        assert (
            main(["simulate", "--homes", "3", "--days", "1", "--scatter", "2d", "--out", f"{tmp_path}/{name}.csv.gz"])
            == 0
        )
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()
    assert (tmp_path / "one.truth.jsonl").read_bytes() == (tmp_path / "two.truth.jsonl").read_bytes()


def test_one_home_can_be_cut_out_of_a_city(tmp_path):
    assert main(["simulate", "--homes", "30", "--days", "1", "--only", "home-007", "--out", f"{tmp_path}/one.csv"]) == 0
    assert {one.home_id for one in read_replay(tmp_path / "one.csv")} == {"home-007"}


def test_scenario_says_what_will_happen(tmp_path, capsys):
    assert main(["scenario", "--out", f"{tmp_path}/night.jsonl", "--homes-file", f"{tmp_path}/homes.csv"]) == 0
    said = capsys.readouterr().out
    assert "2-102: panic should raise panic at 2026-03-01T21:30:00+08:00" in said
    assert "1-102: power_low should raise electricity_low at 2026-03-02T07:40:00+08:00" in said
    assert (tmp_path / "night.truth.jsonl").read_text().count("\n") == 2


def test_convert_writes_a_recording_and_says_what_it_dropped(tmp_path, capsys):
    out = tmp_path / "water.csv"
    assert main(["convert", "weusedto", str(RECORDED), "--out", str(out), "--homes-file", f"{tmp_path}/homes.csv"]) == 0
    assert len(list(read_replay(out))) > 4_000
    assert "wholehouse: 202 rows, dropped: 40 negative" in capsys.readouterr().err
    assert ",toilet,,own,7d," in (tmp_path / "homes.csv").read_text()


def test_convert_leaves_no_empty_file_behind(tmp_path, capsys):
    folder, out = tmp_path / "recorded", tmp_path / "water.csv"
    folder.mkdir()
    for file in RECORDED.glob("*.csv"):
        (folder / file.name).write_text("")
    assert main(["convert", "weusedto", str(folder), "--out", str(out)]) == 1
    assert "no readings; nothing was written" in capsys.readouterr().err
    assert not out.exists()


def test_publish_brings_a_file_to_a_broker(tmp_path, broker, capsys):
    out, ledger = tmp_path / "day.csv", tmp_path / "ledger.tsv"
    main(["simulate", "--homes", "1", "--days", "1", "--out", str(out), "--homes-file", f"{tmp_path}/homes.csv"])
    code = main(
        [
            "publish", str(out), "--flat", "--port", str(broker.port), "--ledger", str(ledger),
            "--topics", f"{tmp_path}/homes.csv", "--quiet",
        ]
    )  # fmt: skip
    assert code == 0
    count = len(list(read_replay(out)))
    assert f"published {count}, acknowledged {count}, refused 0" in capsys.readouterr().out
    lines = ledger.read_text().splitlines()
    assert len(lines) == len(set(lines)) == count
    assert lines[0].startswith("guard/demo/home-001/")


def test_publish_moves_an_old_file_to_now(tmp_path, broker):
    out = tmp_path / "two.csv"
    out.write_text(
        "at,home_id,sensor_id,quantity,value\n"
        "2019-02-16T16:36:19Z,h1,power,power_w,3.2\n"
        "2019-02-16T16:36:20Z,h1,power,power_w,4\n"
    )
    before = SystemClock().now()
    with Listener(broker) as listener:
        assert main(["publish", str(out), "--port", str(broker.port), "--quiet"]) == 0
        (topic, first), (_, second) = listener.take(2)
    assert topic == "guard/demo/h1/power"
    assert before - SECOND <= parse_at(first["ts"]) <= parse_at(second["ts"]) <= SystemClock().now()
    assert parse_at(second["ts"]) - parse_at(first["ts"]) == SECOND
    assert (first["power_w"], second["power_w"], first["seq"], second["seq"]) == (3.2, 4, 0, 1)


def test_publish_makes_up_a_load(broker, capsys):
    assert main(["publish", "--count", "500", "--homes", "7", "--port", str(broker.port)]) == 0
    said = capsys.readouterr()
    assert "published 500, acknowledged 500" in said.out
    assert "acknowledged 500, waiting 0" in said.err


def test_publish_runs_on_a_shared_clock(tmp_path, broker):
    clock = tmp_path / "demo.clock"
    code = main(["publish", "--scenario", "--clock", str(clock), "--factor", "100000", "--port", str(broker.port)])
    assert code == 0
    assert json.loads(clock.read_text())["factor"] == 100_000


def test_messages_that_nobody_acknowledged_are_exit_code_1(tmp_path, capsys):
    out = tmp_path / "day.csv"
    main(["simulate", "--homes", "1", "--days", "0.1", "--out", str(out)])
    assert main(["publish", str(out), "--flat", "--port", "1", "--patience", "0.2", "--quiet"]) == 1
    assert "acknowledged 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "VERB"),
        (["simulate"], "--out"),
        (["simulate", "--out", "x.txt"], "must end in one of .csv"),
        (["simulate", "--out", "x.csv", "--homes", "0"], "a whole number from 1 on"),
        (["simulate", "--out", "x.csv", "--start", "2026-03-01"], "no time zone"),
        (["simulate", "--out", "x.csv", "--zone", "Mars/Olympus"], "no time zone; write one such as"),
        (["simulate", "--out", "x.csv", "--incident", "fall"], "KIND,HOME,TIME"),
        (["simulate", "--out", "x.csv", "--fault", "lose=1"], "drop=SHARE"),
        (["simulate", "--out", "x.csv", "--scatter", "often"], "write a span"),
        (["convert", "nobody", "."], "invalid choice"),
        (["publish", "x.csv", "--scenario"], "not allowed with"),
    ],
)
def test_a_wrong_command_is_exit_code_2_with_the_way_out(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "sgsc", "{tmp}", "--out", "{tmp}/x.csv"], "no file customer_"),
        (["publish", "{tmp}/missing.csv", "--flat"], "missing.csv"),
        (
            ["simulate", "--homes", "1", "--out", "{tmp}/x.csv", "--incident", "panic,h9,2026-03-02T00:00:00Z"],
            "no home h9",
        ),
        (["publish", "--scenario", "--clock", "{tmp}/c", "--host", "broker.example"], "on this machine"),
    ],
)
def test_a_wrong_file_or_place_is_exit_code_2_with_the_way_out(arguments, message, tmp_path, capsys):
    assert main([one.replace("{tmp}", str(tmp_path)) for one in arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_help_teaches_by_example():
    run = subprocess.run(
        [sys.executable, "-m", "simulators", "--help"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    for verb in ("simulate", "scenario", "convert", "publish"):
        assert f"python -m simulators {verb}" in run.stdout or f"  {verb}  " in run.stdout
    assert "exit codes" in run.stdout
