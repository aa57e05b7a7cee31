"""Another configuration while the daemon runs: checked in a process of its own, swapped in one commit, or refused.

A reload takes everything or nothing. What is wrong stays outside: the old configuration goes on, the box has the fault
``config_wrong`` until a reload is right, and whoever asked is told every problem. Timers and alarms of what has not
changed go on as if nothing had happened; that is the engine's business (``PlanChanged``).

Owns no thread: parts.py calls ``step`` in a loop, and each step waits for a moment at most.
"""

import subprocess
from collections.abc import Callable, Generator
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

import structlog
from pydantic import BaseModel

from sensor_guard.clock import Clock
from sensor_guard.config import Config, LastGood, Loaded, Settings
from sensor_guard.config import child as reading
from sensor_guard.core import Core
from sensor_guard.errors import Problem
from sensor_guard.inbox import Inbox, NewPlan, Request
from sensor_guard.model import Fault, Instant

FAULT = "config_wrong"
"""The fault of the box while its files are wrong (config.builtin)."""
CHILD_LIMIT = 600.0
"""Seconds after which the process that reads the files is ended: 100,000 homes take a slow box one minute."""
WAITING_LIMIT = 100
"""Signals that wait; one reload answers them all, so that more of them say nothing new."""
KEPT_HERE = 1_000
"""Up to so many homes are kept at the start without another process: some 50 ms."""
_MOMENT = 0.25

# Parts that are made once, at the start, of the settings with these names.
_MADE_AT_START = (
    "gateway",
    "timezone",
    "mqtt",
    "journal.path",
    "sinks",
    "notifiers",
    "web",
    "health",
    "runtime",
    "log",
)

# Any: JSON for the command line.
Json = dict[str, Any]
Reply = Callable[[Json], None]
Steps = Generator[None]

log = structlog.get_logger(__name__)


class Reloader:
    """See the module. ``ask`` may be called on any thread, and by a signal handler; ``step`` by one thread.

    Args:
        loaded: what the daemon has started with.
        last_good: where it is kept.
        core: asked on the engine's thread only.
        inbox: the way to that thread.
        clock: ditto.
        prepare: makes of a new configuration what the other parts need, and gives what hands it to them, to be called
            on the engine's thread; on this thread.
        resume: secrets and connections are taken anew: somebody may have mended something.
        tell: a word for the service manager.
    """

    def __init__(  # noqa: PLR0913 - all but four are named at the call
        self,
        loaded: Loaded,
        last_good: LastGood,
        core: Core,
        inbox: Inbox,
        *,
        clock: Clock,
        prepare: Callable[[Config], Callable[[], None]],
        resume: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda _word: None,
    ) -> None:
        self.path = loaded.config.path
        self.problems = loaded.problems
        self.kept = loaded.kept
        """The name of the folder of what is in force, "" until it is kept."""
        self._started_with = loaded.config.settings
        self._unkept = None if loaded.kept else loaded
        self._last_good, self._core, self._inbox, self._clock = last_good, core, inbox, clock
        self._prepare, self._resume, self._tell = prepare, resume, tell
        self._waiting: SimpleQueue[Reply] = SimpleQueue()  # its put may be called in a signal handler
        self._job: Steps | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def ask(self, reply: Reply = lambda _answer: None) -> None:
        """Ask for a reload; ``reply`` is called with what has come of it."""
        if self._waiting.qsize() < WAITING_LIMIT:
            self._waiting.put(reply)
        else:
            reply({"error": f"{WAITING_LIMIT} others wait for a reload already"})

    def standing(self) -> Json:
        """Say which configuration is in force, and, while there is something to say, how the files stand."""
        standing: Json = {"configuration": self.kept}
        if self.problems:
            where = _places(self.problems)
            standing["files"] = f"WRONG ({where}): the last good configuration is in force; run sensor-guard check"
        return standing

    def told_at_start(self, now: Instant) -> Fault | None:
        """Give the fault that the start has found or ended, None where nothing has changed."""
        if self.problems:
            _log_refused(self.problems, "start")
            return None if self._core.has_told(FAULT) else Fault(FAULT, True, now, _places(self.problems))
        return Fault(FAULT, False, now) if self._core.has_fault(FAULT) else None

    def step(self, _now: Instant) -> float:
        """Go on with what is under way, or wait a moment for somebody to ask."""
        if self._job is None:
            self._job = self._next()
        if self._job is not None:
            try:
                next(self._job)
            except StopIteration:
                self._job = None
            except BaseException:
                self._job = None
                raise
        return 0.0

    def close(self) -> None:
        """End the process that reads, if there is one."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()

    def _next(self) -> Steps | None:
        if self._unkept is not None:
            loaded, self._unkept = self._unkept, None
            return self._keep(loaded)
        try:
            replies = [self._waiting.get(timeout=4 * _MOMENT)]
        except Empty:
            return None
        while len(replies) < WAITING_LIMIT:
            try:
                replies.append(self._waiting.get_nowait())
            except Empty:
                break
        return self._answer_all(replies)

    def _keep(self, loaded: Loaded) -> Steps:
        """Keep what the daemon has started with."""
        if loaded.hashes is None:
            return
        if len(loaded.config.homes.entries) <= KEPT_HERE:
            answer = reading.keep(self._last_good.folder, loaded.config, loaded.hashes)
        else:
            answer = yield from self._read()
        if answer.kept and self._last_good.named(answer.kept).hashes == loaded.hashes:
            self._make_current(answer.kept)
        else:
            # Files that are being changed are about to be reloaded; a full disk is told elsewhere.
            log.warning("configuration.not_kept", reason=answer.failure or "the files have changed meanwhile")

    def _answer_all(self, replies: list[Reply]) -> Steps:
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={round(self._clock.monotonic() * 1_000_000)}")
        answer: Json = {"error": "internal error; see the log"}
        try:
            answer = yield from self._reload()
        finally:
            self._tell("READY=1")
            for reply in replies:
                reply(answer)

    def _reload(self) -> Generator[None, None, Json]:
        self._resume()
        answer = yield from self._read()
        if answer.failure:
            log.error("reload.failed", reason=answer.failure)
            return {"error": f"{answer.failure}; the configuration is as it was"}
        if answer.problems:
            return (yield from self._refuse(answer.problems))
        if answer.kept == self.kept:
            yield from self._mended()
            log.info("reload.unchanged")
            return {"ok": True, "changed": False, "restart": []}
        kept = self._last_good.named(answer.kept)
        config = yield from kept.reading()
        written = kept.written(config.plan)
        text = written.text()  # read here: the engine's thread has other things to do
        yield from self._done(
            NewPlan(type(written)(written.plan, written.plan_hash, lambda: text), self._prepare(config))
        )
        self._make_current(answer.kept)
        yield from self._mended()
        restart = needs_restart(self._started_with, config.settings)
        log.info("reload.done", homes=len(config.homes.entries), restart=restart)
        return {"ok": True, "changed": True, "homes": len(config.homes.entries), "restart": restart}

    def _read(self) -> Generator[None, None, reading.Answer]:
        self._child = child = reading.start(self.path, self._last_good.folder)
        deadline = self._clock.monotonic() + CHILD_LIMIT
        while True:
            try:
                said, _ = child.communicate(timeout=_MOMENT)
            except subprocess.TimeoutExpired:
                if self._clock.monotonic() > deadline:
                    child.kill()
                    child.wait()
                    return reading.Answer(failure=f"reading the files took more than {CHILD_LIMIT:g} s")
                yield
            else:
                return reading.answer_of(said, child.returncode)

    def _refuse(self, problems: tuple[Problem, ...]) -> Generator[None, None, Json]:
        self.problems = problems
        _log_refused(problems, "reload")
        # Whoever mends a file tries three times: one alarm is enough, unless somebody has closed it.
        if not (yield from self._done(lambda: self._core.has_told(FAULT))):
            yield from self._done(Fault(FAULT, True, self._clock.now(), _places(problems)))
        return {"ok": False, "problems": [str(problem) for problem in problems]}

    def _mended(self) -> Steps:
        self.problems = ()
        if (yield from self._done(lambda: self._core.has_fault(FAULT))):
            yield from self._done(Fault(FAULT, False, self._clock.now()))

    def _done(self, event: NewPlan | Fault | Callable[[], object]) -> Generator[None, None, object]:
        """Hand something to the engine's thread and wait, however long the disk takes; give the answer."""
        done, answers = Event(), list[object]()

        def reply(answer: object) -> None:
            answers.append(answer)
            done.set()

        self._inbox.put(Request(event, reply), urgent=True)
        while not done.wait(_MOMENT):
            yield
        return answers[0]

    def _make_current(self, name: str) -> None:
        self.kept = name
        try:
            self._last_good.make_current(name)
        except OSError as error:
            log.warning("configuration.not_kept", reason=str(error))


def needs_restart(before: Settings, after: Settings) -> list[str]:
    """Name the settings that differ and that only a start takes in, such as mqtt.port."""
    return sorted(
        name
        for name in _differences(before, after, "")
        if any(name == made or name.startswith(f"{made}.") for made in _MADE_AT_START)
    )


def _differences(before: BaseModel, after: BaseModel, way: str) -> list[str]:
    names: list[str] = []
    for key, field in type(before).model_fields.items():
        here, there = getattr(before, key), getattr(after, key)
        name = f"{way}{field.alias or key}"
        if here == there:
            continue
        if isinstance(here, BaseModel) and isinstance(there, BaseModel):
            names.extend(_differences(here, there, f"{name}."))
        else:
            names.append(name)
    return names


def _places(problems: tuple[Problem, ...]) -> str:
    """Say where the problems are, and not what they are: that may hold a name or a number of the contacts."""
    first, more = problems[0], len(problems) - 1
    place = f"{first.file}:{first.line}:{first.column}" if first.line else first.file
    return f"{place} and {more} more" if more else place


def _log_refused(problems: tuple[Problem, ...], when: str) -> None:
    log.error("configuration.refused", when=when, problems=len(problems), first=_places(problems[:1]))
