"""Starts the daemon with a trap or a mistake in it, or the publisher; as a process of its own, or forked from one.

    python -m tests.faults.launcher '{"run": "daemon", "config": ..., ...}'     one process
    python -m tests.faults.launcher --serve                                     a line on stdin forks one

Forking spares the second and a half that imports take; memory is as fresh as after an exec, because the server does
nothing but import and fork. Whoever starts this and dies takes it with him.
"""

import ctypes
import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path

PR_SET_PDEATHSIG = 1


def tie() -> None:
    """Die when the parent does, whatever becomes of it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def run(request: dict) -> None:
    """Do what is asked, and end with SystemExit or by a signal."""
    if request["run"] == "publisher":
        from tests.faults import load  # noqa: PLC0415 - each process imports what it runs

        raise SystemExit(load.publish(Path(request["spec"])))
    if request["run"] == "exec":
        os.execvp(request["argv"][0], request["argv"])
    _hurry(request.get("hurry", {}))
    from sensor_guard.cli import main  # noqa: PLC0415 - likewise
    from tests.faults.failpoints import FAILPOINTS, Trap  # noqa: PLC0415 - likewise
    from tests.faults.mutations import MUTATIONS  # noqa: PLC0415 - likewise

    if request.get("failpoint"):
        trap = Trap(request["failpoint"], request["hit"], Path(request["mark"]), request.get("pause", 0.0))
        FAILPOINTS[trap.name](trap)
    if request.get("mutation"):
        MUTATIONS[request["mutation"]]()
    sys.argv = ["sensor-guard", "run", "--config", request["config"], "--clock", request["clock"]]
    main()


def _hurry(limits: dict[str, int]) -> None:
    """Let happen within seconds what otherwise takes an hour; no promise hangs on these figures."""
    from sensor_guard import core  # noqa: PLC0415 - likewise
    from sensor_guard.journal import readings, store  # noqa: PLC0415 - likewise

    core.CHECKPOINT_INPUTS = limits.get("checkpoint_inputs", core.CHECKPOINT_INPUTS)
    readings.FLUSH_AFTER = limits.get("flush_after", readings.FLUSH_AFTER)
    if "prune_limit" in limits:
        store.Journal.prune.__kwdefaults__["limit"] = limits["prune_limit"]


def serve() -> None:
    """Fork a child for each line of stdin; say on stdout which pid it has, and when it has ended."""
    import influxdb_client  # noqa: F401, PLC0415 - so that the children need not
    import twilio.rest  # noqa: F401, PLC0415 - likewise

    import sensor_guard.app  # noqa: PLC0415 - likewise
    import sensor_guard.cli  # noqa: F401, PLC0415 - likewise
    import tests.faults.failpoints  # noqa: PLC0415 - likewise
    import tests.faults.load  # noqa: PLC0415 - likewise
    import tests.faults.mutations  # noqa: F401, PLC0415 - likewise

    ended, noted = os.pipe()
    os.set_blocking(noted, False)
    os.set_blocking(ended, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(noted)
    buffered = b""
    _say("ready")
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            os.read(ended, 4_096)
            _reap()
        if 0 in ready:
            more = os.read(0, 65_536)
            if not more:
                return
            *lines, buffered = (buffered + more).split(b"\n")
            for line in lines:
                _fork(json.loads(line))


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say(f"ended {pid} {os.waitstatus_to_exitcode(status)}")


def _fork(request: dict) -> None:
    pid = os.fork()
    if pid:
        _say(f"started {pid}")
        return
    code = 1
    try:
        tie()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _redirect(Path(request["log"]))
        os.environ.update(request.get("environment", {}))
        run(request)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - whatever it is, the child ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _redirect(log: Path) -> None:
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(target, 1)
    os.dup2(target, 2)
    sys.stdout.reconfigure(line_buffering=True)


def _say(words: str) -> None:
    os.write(1, f"{words}\n".encode())


if __name__ == "__main__":
    tie()
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        asked = json.loads(sys.argv[1])
        _redirect(Path(asked["log"]))
        os.environ.update(asked.get("environment", {}))
        run(asked)
