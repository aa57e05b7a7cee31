"""Replay files, the truth beside them, and the lists of homes and people."""

import csv
import gzip
import json

import pytest

from sensor_guard.clock import parse_at
from sensor_guard.config.contacts import read_contacts
from sensor_guard.config.homes import read_homes
from sensor_guard.model import DAY, DEVICE_TIME, HOUR, Reading
from simulators.files import SUFFIXES, read_replay, truth_path, write_replay, write_truth
from simulators.homes import Home, live
from simulators.incidents import Incident, IncidentKind
from simulators.roster import read_topics, rows_of, write_contacts, write_homes, write_span

START = parse_at("2026-03-01T00:00:00+08:00")


def day():
    return live([Home("h1"), Home("h2")], START, START + DAY)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_gives_back_what_was_written(tmp_path, suffix):
    path = tmp_path / f"day{suffix}"
    written = list(day())
    assert write_replay(path, iter(written)) == len(written)
    assert list(read_replay(path)) == [one._replace(seq=-1, quantity=str(one.quantity)) for one in written]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_stream_gives_the_same_bytes_under_any_name(tmp_path, suffix):
    for name in ("one", "two"):
        write_replay(tmp_path / f"{name}{suffix}", day())
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_a_csv_has_the_columns_of_a_replay(tmp_path):
    at = parse_at("2026-03-01T08:00:00Z")
    rows = [
        Reading("h1", "power", "power_w", 3.2, at, at, 0, DEVICE_TIME),
        Reading("h1", "door", "door_open", 1.0, at, at, 0, DEVICE_TIME),
    ]
    write_replay(tmp_path / "two.csv", rows)
    assert (tmp_path / "two.csv").read_text() == (
        "at,home_id,sensor_id,quantity,value\n"
        "2026-03-01T08:00:00Z,h1,power,power_w,3.2\n"
        "2026-03-01T08:00:00Z,h1,door,door_open,1\n"
    )
    write_replay(tmp_path / "two.jsonl.gz", rows)
    with gzip.open(tmp_path / "two.jsonl.gz", "rt") as file:
        assert json.loads(file.readline()) == {
            "at": "2026-03-01T08:00:00Z",
            "home_id": "h1",
            "sensor_id": "power",
            "quantity": "power_w",
            "value": 3.2,
        }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("at,home_id\n", "columns quantity, sensor_id, value are missing"),
        ("at,home_id,sensor_id,quantity,value\n2026-03-01T08:00:00,h,s,power_w,1\n", "row 1: .* no time zone"),
        ("at,home_id,sensor_id,quantity,value\n2026-03-01T08:00:00Z,h,s,power_w,nan\n", "row 1: 'nan' is no finite"),
        ("at,home_id,sensor_id,quantity,value\n2026-03-01T08:00:00Z,h\n", "row 1"),
    ],
)
def test_a_bad_file_is_told_by_its_row(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        list(read_replay(path))


def test_a_name_must_say_its_format(tmp_path):
    with pytest.raises(ValueError, match="must end in one of"):
        write_replay(tmp_path / "day.txt", day())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_truth_lies_beside_its_file(tmp_path, suffix):
    assert truth_path(tmp_path / f"week{suffix}") == tmp_path / "week.truth.jsonl"


def test_the_truth_is_one_line_an_incident_in_order_of_time(tmp_path):
    incidents = tuple(Incident.of(IncidentKind.PANIC, "h1", START + n * HOUR) for n in (5, 3))
    path = tmp_path / "week.truth.jsonl"
    assert write_truth(path, Home("h1", incidents=incidents).truth(START + DAY)) == 2
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["from"] for row in rows] == ["2026-02-28T19:00:00Z", "2026-02-28T21:00:00Z"]


def test_the_programs_own_reader_takes_the_lists(tmp_path):
    homes_file, contacts_file = tmp_path / "homes.csv", tmp_path / "contacts.yaml"
    assert write_homes(homes_file, [row for n in range(3) for row in rows_of(f"home-00{n}")]) == 21
    write_contacts(contacts_file, [f"home-00{n}" for n in range(3)])
    problems = []
    homes = read_homes(homes_file, problems)
    contacts = read_contacts(contacts_file, problems, language="zh", homes=homes)
    assert problems == []
    assert len(homes.entries) == 3
    assert {sensor.kind for sensor in homes.entries["home-001"].sensors} == {
        "door", "smoke", "panic", "motion", "water", "power"
    }  # fmt: skip
    assert {contact.role for contact in contacts.entries.values()} == {"worker", "family", "supervisor", "maintainer"}
    assert (homes.warnings, contacts.warnings) == ((), ())


def test_topics_come_from_homes_csv(tmp_path):
    path = tmp_path / "homes.csv"
    write_homes(path, rows_of("h1", site="sunshine"))
    assert read_topics(path)["h1", "power"] == "guard/sunshine/h1/power"
    with path.open("a", newline="") as file:
        csv.writer(file).writerow(["sunshine", "", "h1", "h1", "door", "back", "zigbee2mqtt/back", "zigbee2mqtt"])
    assert read_topics(path)["h1", "back"] == "zigbee2mqtt/back"
    path.write_text("home,sensor\n")
    with pytest.raises(ValueError, match="columns site are missing"):
        read_topics(path)


@pytest.mark.parametrize(("span", "text"), [(900_000, "15m"), (7 * DAY, "7d"), (4 * HOUR, "4h"), (30_000, "30s")])
def test_a_span_is_written_as_people_do(span, text):
    assert write_span(span) == text
