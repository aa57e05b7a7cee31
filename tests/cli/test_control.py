"""The control socket, with real sockets."""

import json
import os
import socket
import threading

import pytest

from sensor_guard.control import LINE_LIMIT, ControlServer, DaemonAbsentError, ask
from sensor_guard.errors import CommandRefusedError


def handle(request, uid):
    if request.get("verb") == "refuse":
        raise CommandRefusedError("there is no home h9")
    if request.get("verb") == "break":
        raise RuntimeError("oh")
    return {"ok": True, "request": request, "uid": uid}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run" / "control.sock"
    server = ControlServer(path, handle)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield path
    server.shutdown()
    thread.join(10)
    server.server_close()
    assert not path.exists()


def raw(path, *lines):
    """Send these bytes on one connection; every answer until it is closed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        for line in lines:
            peer.sendall(line)
        peer.shutdown(socket.SHUT_WR)
        with peer.makefile("rb") as answers:
            return [json.loads(answer) for answer in answers]


def test_a_request_is_answered_and_the_kernel_says_who_asked(path):
    answer = ask(path, {"verb": "ack", "note": "我来了", "uid": 0})

    assert answer == {"ok": True, "request": {"verb": "ack", "note": "我来了", "uid": 0}, "uid": os.getuid()}
    assert path.stat().st_mode & 0o777 == 0o660


def test_a_refusal_and_a_mistake_of_ours_are_answers(path):
    assert ask(path, {"verb": "refuse"}) == {"error": "there is no home h9"}
    assert ask(path, {"verb": "break"}) == {"error": "internal error: RuntimeError: oh"}
    assert ask(path, {"verb": "ack"})["ok"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"hello\n", "Expecting value"),
        (b"[1]\n", "a request is a JSON object"),
        (b"\xff\xfe\n", "decode"),
        (b"[" * 50_000 + b"\n", ""),
        (b"{}", "a request is one line of at most 65536 bytes"),
    ],
)
def test_what_is_no_request_is_told(path, line, why):
    (answer,) = raw(path, line)

    assert why in answer["error"]
    assert ask(path, {"verb": "ack"})["ok"]


def test_a_line_that_is_too_long_is_told_once_and_the_connection_closed(path):
    (answer,) = raw(path, b'{"x": "' + b"x" * LINE_LIMIT * 2)

    assert answer == {"error": "a request is one line of at most 65536 bytes"}
    assert ask(path, {"verb": "ack"})["ok"]


def test_one_connection_may_ask_often(path):
    answers = raw(path, *[json.dumps({"n": n}).encode() + b"\n" for n in range(5)])

    assert [answer["request"]["n"] for answer in answers] == list(range(5))


def test_callers_do_not_wait_for_each_other(path, monkeypatch):
    """The second is answered while the first still waits for its commit."""
    release = threading.Event()
    answers = []

    def slow(request, uid):
        assert request["n"] != 1 or release.wait(10)
        return request

    server = ControlServer(path.with_name("second.sock"), slow)
    listening = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    listening.start()
    first = threading.Thread(target=lambda: answers.append(ask(server.path, {"n": 1})))
    first.start()
    answers.append(ask(server.path, {"n": 2}))
    release.set()
    first.join(10)
    server.shutdown()
    listening.join(10)
    server.server_close()

    assert answers == [{"n": 2}, {"n": 1}]


def test_many_callers_are_each_answered(path):
    answers = {}
    threads = [
        threading.Thread(target=lambda n=n: answers.update({n: ask(path, {"n": n})["request"]["n"]})) for n in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert answers == {n: n for n in range(40)}


def test_a_dead_daemons_socket_is_taken_over(tmp_path):
    stale = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(stale))

    with pytest.raises(DaemonAbsentError, match=r"no daemon at .*control\.sock \(Connection refused\)"):
        ask(stale, {})
    ControlServer(stale, handle).server_close()
    with pytest.raises(DaemonAbsentError, match="No such file"):
        ask(stale, {})


def test_a_daemon_that_does_not_answer_is_absent(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.bind(str(path))
        deaf.listen()
        with pytest.raises(DaemonAbsentError, match=r"did not answer within 0\.05 s"):
            ask(path, {}, timeout=0.05)


@pytest.mark.parametrize(("said", "why"), [(b"", "without an answer"), (b'{"ok": tr', "without an answer")])
def test_an_answer_cut_short_is_none(tmp_path, said, why):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dying:
        dying.bind(str(path))
        dying.listen()

        def die():
            peer, _ = dying.accept()
            with peer:
                peer.recv(100)
                peer.sendall(said)

        thread = threading.Thread(target=die)
        thread.start()
        with pytest.raises(DaemonAbsentError, match=why):
            ask(path, {})
        thread.join(10)
