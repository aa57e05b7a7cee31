"""How somebody learns of it when the daemon cannot tell: word to the outside, and noise on the box.

``Heartbeat`` calls an address that somebody else watches (healthchecks and the like); a call that does not come is the
alarm. ``Untold`` finds out whether a critical alarm is open that nobody has been told of, ``Siren`` runs the
operator's command then. None of them is needed for an alarm's ordinary way, and none can hold it up: each has a thread
of its own, which the watchdog does not watch, because what it waits for is outside.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import structlog
import urllib3

from sensor_guard.errors import SensorGuardError
from sensor_guard.model import SECOND, Instant, Span

LOOK_EVERY = 5.0
"""Seconds between two looks at how things stand."""
UNTOLD_AFTER = 60.0
"""Seconds after which a critical text that nobody has taken is an alarm that nobody knows of."""
STORE = "journal"
"""The word for "nothing can be stored": whatever happens now, nobody is told."""
CALL_TIMEOUT = 10.0
ANSWER_LIMIT = 2_000
"""Bytes of a body that goes out."""
SETTLE_AFTER = 90.0
"""Seconds after a start without anything untold after which the siren is told to end: a crash may have left it on."""
HOOK_RETRY = 30.0
"""Seconds after which a command that failed is tried again."""

log = structlog.get_logger(__name__)


class Heartbeat:
    """Calls ``url`` while all is well, ``url``/fail with the faults while not, and not at all when a part is stuck.

    Args:
        url: reads the address, which is a secret: whoever has it can say that all is well.
        well: (whether every part moves, the faults that somebody outside should know of). On any thread.
        every: ms between two calls; a fault that begins or ends is told at once.
        monotonic: ``Clock.monotonic``.
    """

    def __init__(
        self,
        url: Callable[[], str],
        well: Callable[[], tuple[bool, Sequence[str]]],
        *,
        every: Span,
        monotonic: Callable[[], float],
    ) -> None:
        self.failed_count = 0
        self._url, self._well, self._every, self._monotonic = url, well, every / SECOND, monotonic
        # Not followed and not tried again: the address must go nowhere else, and the next call comes soon.
        self._pool = urllib3.PoolManager(
            num_pools=1, retries=False, timeout=urllib3.Timeout(connect=CALL_TIMEOUT, read=CALL_TIMEOUT)
        )
        self._told: tuple[str, ...] | None = None
        self._next_at = 0.0
        self._is_failing = False

    def step(self, _now: Instant) -> float:
        """Call if it is time to; say for how many seconds there is nothing to do."""
        alive, faults = self._well()
        now, word = self._monotonic(), tuple(sorted(faults))
        if not alive:
            return LOOK_EVERY  # the silence is the message
        if self._told is None:
            self._told = ()
            self._call("/start", b"")
        if now >= self._next_at or word != self._told:
            self._next_at, self._told = now + self._every, word
            self._call("/fail" if word else "", "\n".join(word).encode()[:ANSWER_LIMIT])
        return max(0.0, min(LOOK_EVERY, self._next_at - now))

    def _call(self, path: str, body: bytes) -> None:
        reason = self._post(path, body)
        if reason:
            self.failed_count += 1
            if not self._is_failing:
                log.warning("heartbeat.failed", reason=reason)
        elif self._is_failing:
            log.info("heartbeat.recovered")
        self._is_failing = bool(reason)

    def _post(self, path: str, body: bytes) -> str:
        """Give the reason of a failure, "" if it was taken. Never the exception's text: the address stands in it."""
        try:
            parts = urlsplit(self._url())
            url = urlunsplit(parts._replace(path=parts.path.rstrip("/") + path))
            answer = self._pool.request("POST", url, body=body, redirect=False, preload_content=False)
            status = int(answer.status)
            answer.close()  # the body is nothing to us, and may be without end
        except SensorGuardError:
            return "no_address"
        except urllib3.exceptions.TimeoutError:
            return "timeout"
        except Exception as error:  # noqa: BLE001 - whatever happens outside, the thread goes on
            return type(error).__name__
        return "" if 200 <= status < 300 else f"http_{status}"


class Untold:
    """Which critical alarms nobody has been told of for a minute. Counts its own time: no step of the clock bends it.

    Args:
        find: gives the ids of critical alarms that nobody has answered and whose newest texts nobody has taken.
        stalled: whether the journal refuses what should be stored.
        unstored: gives the ids of those that the journal has not taken, and that nobody has been told of either.
        monotonic: ``Clock.monotonic``.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[str]],
        stalled: Callable[[], bool],
        *,
        unstored: Callable[[], Sequence[str]] = tuple,
        monotonic: Callable[[], float],
    ) -> None:
        self.words: tuple[str, ...] = ()
        """Alarm ids, and ``journal`` while nothing can be stored. Read by any thread."""
        self._find, self._stalled, self._unstored, self._monotonic = find, stalled, unstored, monotonic
        self._seen: dict[str, float] = {}

    def look(self) -> None:
        """See how it stands now."""
        now = self._monotonic()
        try:
            found = set(self._find())
        except SensorGuardError:
            # What cannot be read may hold anything: what was untold stays so.
            found = {*self._seen, STORE}
        found.update(self._unstored())
        if self._stalled():
            found.add(STORE)
        self._seen = {word: self._seen.get(word, now) for word in found}
        words = tuple(sorted(word for word, at in self._seen.items() if now - at >= UNTOLD_AFTER))
        if words and not self.words:
            log.critical("alarm.untold", alarm_ids=words[:20], count=len(words))
        elif self.words and not words:
            log.warning("alarm.told")
        self.words = words


@dataclass(frozen=True, slots=True)
class Command:
    """What the operator wants to be run: argv, no shell. In ms: how long it may take, how often it is run again."""

    argv: tuple[str, ...]
    timeout: Span
    repeat_every: Span


class Siren:
    """Runs a command while a critical alarm is untold, and once when that is over. One at a time."""

    def __init__(self, untold: Untold, command: Command | None, *, monotonic: Callable[[], float]) -> None:
        self.failed_count = 0
        self._untold, self._command, self._monotonic = untold, command, monotonic
        self._is_on: bool | None = None  # None: nobody knows what the last process left
        self._began_at = monotonic()
        self._next_at = 0.0

    def step(self, _now: Instant) -> float:
        """Look, and run the command if it is time to; say for how many seconds there is nothing to do."""
        self._untold.look()
        if self._command is not None:
            state = self._due(self._monotonic())
            if state:
                self._run(self._command, state)
        return LOOK_EVERY

    def _due(self, now: float) -> str:
        if self._untold.words:
            if not self._is_on:
                return "begin" if now >= self._next_at else ""
            return "repeat" if now >= self._next_at else ""
        is_left_over = self._is_on is None and now - self._began_at >= SETTLE_AFTER
        return "end" if (self._is_on or is_left_over) and (now >= self._next_at or bool(self._is_on)) else ""

    def _run(self, command: Command, state: str) -> None:
        words = self._untold.words
        reason = _carry_out(command, state, words)
        now = self._monotonic()
        if reason:
            self.failed_count += 1
            log.error("hook.failed", state=state, reason=reason)
            self._next_at = now + HOOK_RETRY
            return
        log.warning("hook.run", state=state, count=len(words))
        self._is_on = state != "end"
        self._next_at = now + command.repeat_every / SECOND if self._is_on else 0.0


def _carry_out(command: Command, state: str, words: Sequence[str]) -> str:
    """Run the command; give the reason of a failure, "" if it ended well.

    It gets nothing of our environment, where secrets may be; ids only, in its own and as JSON on its input.
    """
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "SENSOR_GUARD_STATE": state,
        "SENSOR_GUARD_UNTOLD": str(len(words)),
    }
    text = json.dumps({"state": state, "untold": list(words)}).encode() + b"\n"
    try:
        # A session of its own, so that its children end with it. Its output is its own affair: it may hold anything.
        process = subprocess.Popen(  # noqa: S603 - the operator's own command, no shell
            command.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot be started: {error.strerror}"
    try:
        process.communicate(text, timeout=command.timeout / SECOND)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "timeout"
    return "" if process.returncode == 0 else f"exit code {process.returncode}"
