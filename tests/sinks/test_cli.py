"""The two verbs that ask the database itself: `history` and `db replay-refused`, against a real one."""

import pytest

from sensor_guard.clock import SystemClock, parse_at
from sensor_guard.journal import Journal as Store
from sensor_guard.journal import Reader
from sensor_guard.model import MINUTE, SECOND, Quarantined, Reading
from sensor_guard.sinks.mirror import Mirror
from tests.cli.conftest import FILES, folder, guard, pressed  # noqa: F401 - fixtures
from tests.sinks.rows import Loop, influx_sink

SINKS = "sinks: {{influxdb: {{url: '{url}', org: community, bucket: '{bucket}', timeout: 10s}}}}\n"


@pytest.fixture
def at(pressed, folder, shim, database, monkeypatch):  # noqa: F811 - see above
    """The box of tests/cli with this database as its history; what time it is."""
    settings = FILES["config.yaml"] + SINKS.format(url=shim.url, bucket=database)
    (folder / "config.yaml").write_text(settings, encoding="utf-8")
    (folder / "token").write_text("secret\n")
    (folder / "token").chmod(0o600)
    monkeypatch.setenv("SENSOR_GUARD_INFLUXDB_TOKEN_FILE", str(folder / "token"))
    return SystemClock().now()


def mirror_everything(path, url, database, now):
    """Copy the journal as the daemon does, dead letters and all."""
    with Store.open(path) as store, Reader.open(path) as reader, influx_sink(url, database) as sink:

        def save_cursor(cursor):
            with store.batch(now) as batch:
                batch.save_cursor("influxdb", cursor)

        def bury(letter):
            with store.batch(now) as batch:
                row = Quarantined(f"influxdb/{letter.seq}", letter.line.encode(), "refused", letter.detail, letter.at)
                batch.quarantine([row])

        mirror = Mirror(sink, reader, cursor=0, save_cursor=save_cursor, bury=bury, report=lambda _fault: None)
        Loop(mirror, now).until_current()


def test_history_gives_back_what_was_copied(guard, at, folder, shim, database):  # noqa: F811
    with Store.open(folder / "journal.db") as store, store.batch(at) as batch:
        batch.append_readings(
            [Reading("h1", "motion", "motion", float(n % 2), at - n * MINUTE, at - n * MINUTE, n) for n in range(1, 6)]
        )
    mirror_everything(folder / "journal.db", shim.url, database, at)

    said = guard("history", "h1", "--since", "2h")
    assert said.code == 0
    assert "3-301 (h1): 6 readings" in said.out  # the press of the button, an hour ago, is one
    assert said.out.count("  motion  motion  ") == 5
    rows = guard("history", "h1", "--since", "2h", "--quantity", "motion", "--json").lines
    assert [row["value"] for row in rows] == [1.0, 0.0, 1.0, 0.0, 1.0]
    times = [parse_at(row["observed_at"]) // SECOND for row in rows]
    assert times == [(at - n * MINUTE) // SECOND for n in range(5, 0, -1)]
    assert guard("history", "h2").out.startswith("3-302 (h2): 0 readings")


def test_history_says_what_is_wrong_with_the_database(guard, at, influxd, database):  # noqa: F811
    influxd.execute(f'DROP DATABASE "{database}"')
    said = guard("history", "h1")
    assert said.code == 1
    assert "not found" in said.err


def test_what_was_refused_is_written_again_once_the_database_takes_it(guard, at, folder, influxd, shim, database):  # noqa: F811
    """A conflict of types is over; what never was a line stays where it is, and is named."""
    path = folder / "journal.db"
    line = f"reading,home=h1,quantity=power_w,sensor=meter value=4.5,seq=7i {at}000007".encode()
    rows = [
        Quarantined("influxdb/7", line, "refused", "field type conflict", at),
        Quarantined("influxdb/8", b"(8, Reading('h1'))", "refused", "no line at all", at),
        Quarantined("home/h1/motion", b"{", "bad_json", "", at),
    ]
    with Store.open(path) as store, store.batch(at) as batch:
        batch.quarantine(rows)

    said = guard("db", "replay-refused", "--json")
    assert (said.code, said.json["stored"]) == (1, 1)
    assert [topic for topic, _why in said.json["refused"]] == ["influxdb/8"]
    [series] = influxd.execute("SELECT value FROM reading WHERE sensor = 'meter'", database)
    assert [row[1] for row in series["values"]] == [4.5]
    with Reader.open(path) as reader:
        assert {row.topic: row.reason for row in reader.quarantined()} == {
            "influxdb/7": "replayed",
            "influxdb/8": "refused",
            "home/h1/motion": "bad_json",
        }
    again = guard("db", "replay-refused")
    assert "0 of 1 refused row(s)" in again.out
    assert "still refused: influxdb/8" in again.out


def test_a_database_that_is_away_marks_nothing(guard, at, folder, influxd, database):  # noqa: F811
    path = folder / "journal.db"
    with Store.open(path) as store, store.batch(at) as batch:
        batch.quarantine([Quarantined("influxdb/7", b"reading value=1", "refused", "?", at)])
    influxd.execute(f'DROP DATABASE "{database}"')
    said = guard("db", "replay-refused")
    assert said.code == 1
    assert "misconfigured" in said.err
    with Reader.open(path) as reader:
        assert [row.topic for row in reader.refused("influxdb")] == ["influxdb/7"]
