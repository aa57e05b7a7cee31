"""Whatever form a recording has, the same readings give the same alarms; whatever is wrong with it is told."""

import gzip
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from sensor_guard.cli import replay as verb
from sensor_guard.clock import parse_at
from sensor_guard.model import Reading
from sensor_guard.recording import in_time_order
from tests.replay.conftest import HEADER, at, csv_text, json_text, row, series

LOW = series("power_w", 3, "10m", "13h")
LOW_TOLD = [(at("12h"), "h1", "electricity_low")]


def test_a_file_alone_is_enough(replay):
    told = replay(LOW)

    assert (told.code, told.raised, told.err) == (0, LOW_TOLD, "")


def test_every_line_says_what_a_machine_needs(replay):
    (line,) = replay(LOW).lines

    assert (
        line.items()
        >= {
            "at": "2026-03-01T12:00:00Z",
            "home_id": "h1",
            "rule_id": "electricity_low",
            "state": "active",
            "severity": "warning",
            "alarm_id": "h1.electricity_low.20260301T120000Z",
        }.items()
    )
    assert {
        "since": "2026-03-01T00:00:00Z",
        "observed_s": 43200.0,
        "blind_s": 0.0,
        "count": 1,
        "sensors": [{"sensor_id": "s1", "quantity": "power_w", "value": 3.0, "at": at("11h50m"), "observed": True}],
    } == line["evidence"]


def test_the_installed_command_runs_as_a_process(tmp_path):
    (tmp_path / "r.csv").write_text(csv_text(*LOW))

    done = subprocess.run(
        [sys.executable, "-c", "from sensor_guard.cli import main; main()", "replay", "r.csv", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["rule_id"] for line in done.stdout.splitlines()] == ["electricity_low"]


def test_for_people_the_alarm_is_a_sentence_and_a_sum(replay):
    told = replay(LOW, as_json=False)

    assert told.code == 0
    assert "2026-03-01T12:00:00" in told.out
    assert "Electricity low (electricity_low): since 2026-03-01T00:00:00" in told.out
    assert "79 readings of 1 home(s), 0.5 days; 1 alarm(s)\n  electricity_low: 1" in told.out


CRLF = csv_text(*LOW).replace("\n", "\r\n")
QUOTED = "".join(",".join(f'"{cell}"' for cell in line.split(",")) + "\r\n" for line in csv_text(*LOW).splitlines())
TURNED = "".join(",".join(reversed(line.split(","))) + "\n" for line in csv_text(*LOW).splitlines())
SPACED = csv_text(*LOW).replace(",", " , ")
BLANK = "\n\n" + csv_text(*LOW).replace("\n", "\n\n   \n")
MORE = "".join(
    f"note,{line},unit,\n" if line.startswith("at,") else f"x,{line},W,,\n" for line in csv_text(*LOW).splitlines()
)


def test_the_collector_looks_seldom_while_it_runs(replay, monkeypatch):
    called = []
    monkeypatch.setattr(verb, "collect_rarely", lambda: called.append("rarely"))
    monkeypatch.setattr(
        verb._Source, "scan", lambda source, scan=verb._Source.scan: (called.append("scan"), scan(source))
    )

    assert replay(LOW).raised == LOW_TOLD
    assert called == ["rarely", "scan"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", CRLF),
        ("r.csv", csv_text(*LOW).replace("\n", "\r")),
        ("r.csv", QUOTED),
        ("r.csv", TURNED),
        ("r.csv", SPACED),
        ("r.csv", BLANK),
        ("r.csv", MORE),
        ("r.csv", csv_text(*LOW).removesuffix("\n")),
        ("r.csv", "\ufeff" + csv_text(*LOW)),
        ("r.csv.gz", gzip.compress(csv_text(*LOW).encode())),
        ("r.csv", gzip.compress(("\ufeff" + CRLF).encode())),
        ("named.txt", csv_text(*LOW)),
        ("r.jsonl", json_text(*LOW)),
        ("r.json", "\ufeff" + json_text(*LOW).replace("\n", "\r\n\r\n")),
        ("r.jsonl.gz", gzip.compress(json_text(*LOW).encode())),
        ("r.jsonl", json_text(*LOW).replace('"value"', '"topic": "a/b", "unit": "W", "value"')),
        ("r.jsonl", json_text(*LOW).replace('"3"', "3.0")),
    ],
)
def test_the_form_makes_no_difference(replay, name, content):
    told = replay(content, name=name)

    assert (told.code, told.raised, told.err) == (0, LOW_TOLD, "")


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ("2026-03-01T01:05:00,h1,s1,power_w,900", "2:1: at: '2026-03-01T01:05:00' has no time zone"),
        ("yesterday,h1,s1,power_w,900", "2:1: at: 'yesterday' is not a time"),
        ("1772323200,h1,s1,power_w,900", "2:1: at: '1772323200' is not a time"),
        ("1970-01-01T00:00:00Z,h1,s1,power_w,900", "2:1: at: '1970-01-01T00:00:00Z' is no time of a recording"),
        ("9999-12-31T23:59:59Z,h1,s1,power_w,900", "2:1: at: '9999-12-31T23:59:59Z' is no time of a recording"),
        ("0001-01-01T00:00:00+14:00,h1,s1,power_w,900", "2:1: at: '0001-01-01T00:00:00+14:00' is no time"),
        (row("1h5m", "watts", 900), "2:28: quantity: 'watts' is none of power_w"),
        (row("1h5m", "power_w", "much"), "2:36: value: 'much' is not a number"),
        (row("1h5m", "power_w", ""), "2:36: value: '' is not a number"),
        (row("1h5m", "power_w", "nan"), "2:36: value: 'nan' is outside"),
        (row("1h5m", "power_w", "inf"), "2:36: value: 'inf' is outside"),
        (row("1h5m", "power_w", 1e9), "2:36: value: '1000000000.0' is outside"),
        (row("1h5m", "smoke", 0.5), "2:34: value: '0.5' is neither 0 nor 1"),
        (row("1h5m", "power_w", 900, home="h 1"), "2:22: home_id: 'h 1' is no id"),
        (row("1h5m", "power_w", 900, sensor=""), "2:25: sensor_id: '' is no id"),
        (row("1h5m", "power_w", 900, home="gateway"), "2:22: home_id: gateway is the box itself"),
        ("2026-03-01T01:05:00Z,h1,s1,power_w", "2:1: has 4 columns, not 5"),
        ('2026-03-01T01:05:00Z,h1,"s1,power_w,900', "2:1: has 3 columns, not 5"),
        ("\0\0\0", "2:1: has 1 columns, not 5"),
    ],
)
def test_a_bad_row_is_told_with_its_line_and_the_others_are_judged(replay, bad, word):
    told = replay([bad, *LOW])

    assert (told.code, told.raised) == (1, LOW_TOLD)
    assert f"passed over: r.csv:{word}" in told.err
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ("{", "2:2: is not JSON"),
        ("[1]", "2:1: is not a JSON object"),
        ('{"at": "2026-03-01T01:05:00Z", "home_id": "h1"}', "2:1: sensor_id: is not there"),
        ("[" * 100_000, "2:1: is not JSON"),
        ('{"x": ' * 100_000, "2:1: is not JSON"),
        (json_text(row("1h5m", "power_w", 900)).replace('"900"', "true"), "2:91: value: 'True' is not a number"),
        (json_text(row("1h5m", "power_w", 900)).replace('"900"', "null"), "2:91: value: 'None' is not a number"),
        (json_text(row("1h5m", "power_w", 900)).replace('"900"', "1" * 4000), "2:91: value:"),
        (json_text(row("1h5m", "power_w", 900)).replace('"900"', "NaN"), "2:91: value: nan is outside"),
        (json_text(row("1h5m", "power_w", 900)).replace('"power_w"', "[]"), "2:68: quantity: [] is none of"),
        ('{"topic": "a/b", "tst": "now", "payload": "1"}', "2:18: tst: 'now' is not a time"),
        ('{"topic": "a/b", "payload": "1"}', "2:1: tst: '' is not a time"),
        ('{"topic": 5, "tst": "2026-03-01T01:05:00Z", "qos": "x"}', "2:45: qos: 'x' is not a whole number"),
        ('{"topic": "a/b", "tst": "2026-03-01T01:05:00Z", "payload": null}', "give the homes with --config"),
        ('{"topic": "guard/s/h1/x", "tst": "2026-03-01T01:05:00Z", "payload": "{"}', "bad_json"),
        ('{"topic": "guard/s/gateway/x", "tst": "2026-03-01T01:05:00Z", "payload": {"smoke": 1}}', "gateway"),
    ],
)
def test_a_bad_json_line_is_told_with_its_line_and_the_others_are_judged(replay, bad, word):
    first, *others = json_text(*LOW).splitlines()

    told = replay("\n".join([first, bad.strip(), *others]), name="r.jsonl")

    assert (told.code, told.raised) == (1, LOW_TOLD)
    assert "passed over: r.jsonl:2:" in told.err
    assert word in told.err


def test_the_column_is_that_of_the_cell_quotes_and_all(replay):
    told = replay(['2026-03-01T01:05:00Z,"h,1",s1,power_w,900', '"2026-03-01T01:05:00Z",h1,s1,power_w,', *LOW])

    assert "r.csv:2:22: home_id: 'h,1' is no id" in told.err
    assert "r.csv:3:38: value: '' is not a number" in told.err


def test_many_bad_rows_are_counted(replay):
    told = replay([*LOW, *["bad,bad,bad,bad,bad"] * 500])

    assert (told.code, told.raised) == (1, LOW_TOLD)
    assert len(told.err.splitlines()) == 21
    assert told.err.endswith("passed over: 500 rows in all\n")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "r.csv:1: is no recording: the first line must name the columns at,home_id,"),
        ("\n\n", "the file is empty"),
        ("time,house,watt\n1,2,3\n", "at, home_id, sensor_id, quantity, value is not there (found 'time,house,watt')"),
        ("[\n]\n", "is no recording"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is no recording"),
        (csv_text(), "no readings"),
        ("{}\n", "r.csv:1:1: at: is not there"),
    ],
)
def test_what_is_no_recording_is_told(replay, content, word):
    told = replay(content)

    assert (told.code, told.out) == (1, "")
    assert word in told.err


PACKED = gzip.compress(csv_text(*LOW).encode())


@pytest.mark.parametrize("content", [PACKED[:-10], PACKED[:15], PACKED[:60] + b"\xff" * 40 + PACKED[100:], PACKED[:2]])
def test_a_damaged_gzip_file_is_told(replay, content):
    told = replay(content, name="r.csv.gz")

    assert (told.code, told.out) == (1, "")
    assert "r.csv.gz: the gzip file is damaged or cut off" in told.err


def test_a_file_that_is_not_there_and_a_folder_are_told(replay):
    assert replay.again("gone.csv")[0:3:2] == (1, "gone.csv: cannot be read (No such file or directory)\n")
    assert replay.again(".")[0:3:2] == (1, ".: cannot be read (Is a directory)\n")


def test_a_pipe_is_told_since_a_recording_is_read_twice(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from sensor_guard.cli import main; main()", "replay", "/dev/stdin"],
        input=csv_text(*LOW),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "a recording is a file, not a pipe" in done.stderr or "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("order", ["reversed", "by sensor", "by home"])
def test_rows_out_of_order_are_judged_in_the_order_of_their_times(replay, order):
    two = [*series("power_w", 3, "10m", "13h"), *series("power_w", 3, "10m", "13h", home="h2")]
    rows = {
        "reversed": [*reversed(two)],
        "by sensor": [*two, *series("motion", 1, "1h", "13h", sensor="s2")],
        "by home": [*two[::-2], *two[::2]],
    }[order]

    assert [(at("12h"), home, "electricity_low") for home in ("h1", "h2")] == sorted(replay(rows).raised)


def test_several_files_are_one_recording_whatever_their_order(replay):
    Path("b.csv").write_text(csv_text(*LOW[40:]))
    Path("a.csv").write_text(csv_text(*LOW[:40]))

    assert replay.again("a.csv", "b.csv").raised == LOW_TOLD
    assert replay.again("b.csv", "a.csv").raised == LOW_TOLD


def test_a_sort_beyond_memory_is_stable():
    readings = [Reading("h", "s", "motion", float(n), n * 37 % 101, n * 37 % 101) for n in range(1_000)]

    expected = sorted(readings, key=lambda reading: reading.received_at)

    for limit in (1, 7, 333, 500, 1_000, 5_000):
        assert expected == list(in_time_order(iter(readings), limit=limit))
    assert expected[:3] == list(islice(in_time_order(readings, limit=10), 3))


CAPTURE = '{"tst":"%s","topic":"%s","qos":1,"retain":%d,"payloadlen":9,"mid":7,"payload":%s}\n'


def captured(stamp, topic, payload, *, retain=0):
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return CAPTURE % (stamp, topic, retain, json.dumps(text))


def test_a_capture_of_strangers_is_judged_by_what_its_topics_and_payloads_say(replay):
    told = replay(
        "".join(
            captured(f"2026-03-01T{n // 6:02}:{n % 6}0:00.000000Z+0000", "guard/s1/h7/meter", {"power_w": 2.5})
            for n in range(79)
        )
        + captured("2026-03-01T13:05:00.250000Z+0000", "guard/s1/h7/button", {"panic": 1, "battery_pct": 3}),
        name="capture.jsonl",
    )

    assert (told.code, told.err) == (0, "")
    assert sorted(told.raised) == [
        ("2026-03-01T12:00:00Z", "h7", "electricity_low"),
        ("2026-03-01T13:05:00Z", "h7", "battery_low"),
        ("2026-03-01T13:05:00Z", "h7", "panic"),
    ]


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-03-01T08:00:00.462558Z+0000",
        "2026-03-01T16:00:00.462558Z+0800",
        "2026-03-01T16:00:00.462558+0800",
        "2026-03-01T00:00:00.462558Z-0800",
        "2026-03-01T08:00:00.462558Z",
    ],
)
def test_the_time_of_a_capture_is_read_in_every_form_of_mosquitto_sub(replay, stamp):
    told = replay(captured(stamp, "guard/s1/h1/button", {"panic": 1}), name="c.jsonl")

    assert told.raised == [("2026-03-01T08:00:00Z", "h1", "panic")]
    assert parse_at(stamp) == parse_at("2026-03-01T08:00:00.462558Z")


def test_a_retained_press_in_a_capture_is_nothing_and_retained_smoke_is_an_alarm(replay):
    told = replay(
        captured("2026-03-01T08:00:00Z", "guard/s1/h1/button", {"panic": 1}, retain=1)
        + captured("2026-03-01T08:00:00Z", "guard/s1/h1/smoke", {"smoke": 1}, retain=1),
        name="c.jsonl",
    )

    assert [rule for _, _, rule in told.raised] == ["smoke"]


def test_the_devices_own_times_in_a_capture_count(replay):
    told = replay(
        "".join(
            captured(
                f"2026-03-01T{n // 6:02}:{n % 6}0:03Z",
                "guard/s1/h1/meter",
                {"power_w": 3, "ts": f"2026-03-01T{n // 6:02}:{n % 6}0:00Z", "seq": n},
            )
            for n in range(74)
        ),
        name="c.jsonl",
    )

    assert told.raised == [("2026-03-01T12:00:00Z", "h1", "electricity_low")]


def test_a_header_is_named_in_the_refusal(replay):
    told = replay(HEADER.replace("sensor_id", "sensor") + "\n" + LOW[0] + "\n")

    assert "sensor_id is not there (found 'at,home_id,sensor,quantity,value')" in told.err
