"""/metrics and /healthz through real HTTP, and word to systemd through a real socket."""

import json
import socket
import threading
import urllib.error
import urllib.request

import pytest

from sensor_guard.health import Counters, HealthServer, Heartbeats, count, tell_systemd


@pytest.fixture
def served():
    counters, state = Counters(), {"well": True}
    server = HealthServer(
        ("127.0.0.1", 0),
        counters,
        lambda: {"inbox_depth": 3.0, "broker_connected": 1.0},
        lambda: (state["well"], {"stuck": [], "why": "断线"}),
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def get(path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{server.server_address[1]}{path}", timeout=10) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    yield counters, state, get
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_the_metrics_are_those_of_the_moment(served):
    counters, _, get = served
    counters.messages, counters.readings, counters.commit_ms_max = 12, 30, 8.5
    count(counters.raised, "panic")
    count(counters.raised, "panic")
    count(counters.quarantined, "bad_json", by=5)
    count(counters.notifications, "accepted")

    status, kind, text = get("/metrics")

    assert status == 200
    assert kind.startswith("text/plain")
    for line in (
        "sensor_guard_messages_total 12.0",
        "sensor_guard_readings_total 30.0",
        'sensor_guard_alarms_raised_total{rule="panic"} 2.0',
        'sensor_guard_quarantined_total{reason="bad_json"} 5.0',
        'sensor_guard_notifications_total{state="accepted"} 1.0',
        "sensor_guard_commit_ms_max 8.5",
        "sensor_guard_inbox_depth 3.0",
        "sensor_guard_broker_connected 1.0",
    ):
        assert line in text.splitlines()


def test_health_is_200_or_503_with_its_reasons(served):
    _, state, get = served

    assert get("/healthz")[0] == 200
    state["well"] = False
    status, kind, text = get("/healthz")

    assert (status, kind) == (503, "application/json; charset=utf-8")
    assert json.loads(text) == {"ok": False, "stuck": [], "why": "断线"}


def test_there_is_nothing_else(served):
    _, _, get = served

    assert get("/")[0::2] == (404, "/healthz or /metrics\n")


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path, abstract):
    name = f"@sensor-guard-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(10)
        tell_systemd(name, "READY=1")
        tell_systemd(name, "WATCHDOG=1")

        assert [manager.recv(100), manager.recv(100)] == [b"READY=1", b"WATCHDOG=1"]


def test_without_a_service_manager_nothing_happens(tmp_path):
    tell_systemd(None, "READY=1")
    tell_systemd("", "READY=1")
    tell_systemd(str(tmp_path / "nobody"), "READY=1")


def test_a_loop_that_does_not_turn_is_named():
    beats = Heartbeats()
    beats.beat("outbox", 10.0)
    beats.beat("mirror", 65.0)

    assert beats.stuck(70.0) == []
    assert beats.stuck(71.0) == ["outbox"]
    assert beats.stuck(71.0, limit=5.0) == ["outbox", "mirror"]
