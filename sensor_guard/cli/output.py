"""What every verb shares: the configuration, the daemon, exit codes, and words in two languages."""

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import structlog
import typer

from sensor_guard.clock import SystemClock, format_at, local_time, parse_at
from sensor_guard.config import Config, load_for_people, parse_span, plan_from_text, service_environment
from sensor_guard.control import ANSWER_WITHIN, DaemonAbsentError, ask
from sensor_guard.core import Core
from sensor_guard.errors import AlreadyRunningError, JournalError, SensorGuardError
from sensor_guard.inbox import Request
from sensor_guard.journal import (
    ForeignFileError,
    Journal,
    JournalCorruptError,
    JournalVersionError,
    open_sound,
    open_to_look,
    suspect,
)
from sensor_guard.model import Command, Instant, Message, Quarantined, Reading
from sensor_guard.operations import ONLY_ASK, Operations

# Any: JSON between processes.
Json = dict[str, Any]


class Exit(IntEnum):
    """Exit codes, as docs/operations.md lists them."""

    OK = 0
    FAULTS = 1  # ran, and found faults; or the daemon refused
    USAGE = 2
    NO_DAEMON = 3
    SECOND_DAEMON = 75  # EX_TEMPFAIL
    CONFIG = 78  # EX_CONFIG


_TIMES = ("at", "since", "now", "until")

NOBODY_WATCHES = "现在无人看护 NOBODY IS WATCHING: the daemon does not run."
_SAYS_ITSELF = {"status"}
"""Any other verb's answer from a journal at rest looks like a watched house."""
_TEXTING = {"ack", "close", "notify_test"}

ConfigPath = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="config.yaml; without it $SENSOR_GUARD_CONFIG, else /etc/sensor_guard/config.yaml."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: JSON instead of sentences.")]
By = Annotated[str, typer.Option("--by", help="Who says so: your contact id, or your name.")]


def fail(text: str, code: Exit) -> NoReturn:
    """Say what is wrong on stderr and end with the exit code."""
    typer.echo(text, err=True)
    raise typer.Exit(int(code))


def say_json(value: object) -> None:
    """Print one JSON value on one line; every time in it as ISO 8601 in UTC."""
    typer.echo(json.dumps(_readable(value), ensure_ascii=False, default=str))


def _readable(value: object, name: str = "") -> object:
    """Write instants as ISO 8601: whole numbers under a name that says a time. Spans stay whole milliseconds."""
    if isinstance(value, dict):
        # What is muted is keyed by rule: the name that says a time is the one above.
        return {key: _readable(part, name if name == "muted_until" else str(key)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(part, name) for part in value]
    is_time = name in _TIMES or name.endswith(("_at", "_until", "_since"))
    return format_at(value) if is_time and type(value) is int else value


def config_path(path: Path | None) -> Path:
    """Say which config.yaml is meant."""
    return path or service_environment().config_path


def config_file(path: Path | None) -> Path:
    """Say which config.yaml is meant, and end with 78 if nobody named one and none stands where it should."""
    found = config_path(path)
    if path is None and not found.exists():
        fail(f"{found}: no such file; name yours with --config, or in $SENSOR_GUARD_CONFIG.", Exit.CONFIG)
    return found


def load_config(path: Path | None, *, whole: bool = False) -> Config:
    """Load the configuration; where it is wrong, say so, and go on with the last good one.

    Whatever somebody has written into the files, an alarm can be answered: even if no other is found, by the daemon's
    socket alone, unless ``whole`` says that this is not enough.
    """
    file = config_file(path)
    config, error = load_for_people(file)
    if whole and not config.is_whole:
        _refuse(config)
    if error is not None:
        typer.echo(f"warning: {file}: {len(error.problems)} problem(s), see `sensor-guard check`; going on", err=True)
    return config


def _refuse(config: Config) -> NoReturn:
    problems = "\n".join(map(str, config.warnings))
    fail(f"{problems}\n{len(config.warnings)} problem(s); nothing was started or changed.", Exit.CONFIG)


def request(
    config: Config,
    verb: str,
    *,
    needs_daemon: bool = False,
    within: float = ANSWER_WITHIN,
    warns: bool = True,
    **fields: object,
) -> Json:
    """Ask the daemon, or do it here where none runs; a refusal ends with 1, no answer with 3.

    needs_daemon: a journal at rest is no answer. within: seconds to wait for the answer. warns: on stderr, that nobody
    watches, where the verb could look as if somebody did.
    """
    wanted: Json = {"verb": verb, **{key: value for key, value in fields.items() if value is not None}}
    try:
        answer = ask(config.settings.runtime.directory / "control.sock", wanted, timeout=within)
    except DaemonAbsentError as absent:
        if not config.is_whole:
            _refuse(config)
        if needs_daemon:
            fail(f"{absent}; it cannot be done without one.", Exit.NO_DAEMON)
        answer = _do_here(config, wanted, absent)
        if warns and verb not in _SAYS_ITSELF:
            typer.echo(NOBODY_WATCHES, err=True)
        if verb in _TEXTING and "error" not in answer:
            typer.echo("短信要等程序运行后才发出 texts wait until the daemon runs.", err=True)
    if "error" in answer:
        fail(str(answer["error"]), Exit.FAULTS)
    return answer


def _do_here(config: Config, wanted: Json, absent: DaemonAbsentError) -> Json:
    """Run the same code once: under the journal's lock, or, for a verb that only asks, without writing anything."""
    path = config.settings.journal.path
    if not path.exists():
        fail(f"{absent}; and there is no journal at {path}: the daemon has never run here.", Exit.NO_DAEMON)
    only_asks = wanted["verb"] in ONLY_ASK
    try:
        with _quiet_log(), _opened(path, only_asks=only_asks) as journal:
            stored = journal.last_plan()
            if stored is None:
                fail(f"{path} is empty: the daemon has never run here.", Exit.NO_DAEMON)
            core = Core(journal, plan_from_text(stored.body), _NoMessages())
            now = max(SystemClock().now(), journal.last_now() or 0)
            operations = Operations(core, lambda: set(config.contacts.entries), lambda: _offline_status(core))
            item = operations.prepare(wanted, _uid(), now)
            if only_asks:
                core.look(now)
                assert not isinstance(item, Command)
                return item()
            core.restore(now, settle=False, blind_start=True)  # what waits in the broker may disprove it
            answers: list[object] = []
            core_turn = core.turn([Request(item, answers.append)], now)
            core.commit(core_turn)
            for reply, answer in core_turn.answers:
                reply(answer)
    except AlreadyRunningError as error:
        fail(f"{absent}, though a daemon holds the journal: {error}", Exit.NO_DAEMON)
    except (JournalError, OSError) as error:
        if isinstance(error, JournalCorruptError) and not isinstance(error, ForeignFileError):
            suspect(path, str(error))  # the next start sets the file aside, whatever it sees by itself
        fail(f"{absent}; without it: {error}", Exit.NO_DAEMON)
    except SensorGuardError as error:
        return {"error": str(error)}
    return reply_of(item, answers[0])


def _opened(path: Path, *, only_asks: bool) -> Journal:
    if only_asks:
        with contextlib.suppress(JournalVersionError):  # an older layout has to be brought up to date first
            return open_to_look(path)
    return open_sound(path)


@contextlib.contextmanager
def _quiet_log() -> Iterator[None]:
    """Keep what the daemon's parts log out of a verb's output: only what is wrong is told, on stderr."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def reply_of(item: Command | Callable[[], Json], answer: object) -> Json:
    """Turn what the engine's thread answered into the answer of the verb."""
    if not isinstance(item, Command):
        return answer if isinstance(answer, dict) else {"error": str(answer)}
    return {"ok": True, "command_id": item.command_id} if answer is None else {"error": str(answer)}


def _offline_status(core: Core) -> Json:
    sizes = core.journal.reader.sizes()
    return {"running": False, "last_turn_at": sizes.last_now, "open_alarms": sizes.open_alarms}


def _uid() -> int:
    import os  # noqa: PLC0415 - only here, and nothing of the environment is read

    return os.getuid()


class _NoMessages:
    def route(self, message: Message) -> list[Reading] | Quarantined:
        raise AssertionError(message.topic)  # a single command brings no messages


def until_text(text: str, config: Config, now: Instant) -> str:
    """Turn "3d", "2026-11-30 18:00" (in the homes' zone) or ISO 8601 into ISO 8601; anything else ends with 2."""
    zone = config.settings.zone
    try:
        return local_time(now + parse_span(text), zone).isoformat(timespec="minutes")
    except ValueError:
        pass
    try:
        parse_at(text)
    except ValueError:
        pass
    else:
        return text
    try:
        from datetime import datetime  # noqa: PLC0415

        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is no time: write 3d, 12h, 2026-11-30 18:00 or 2026-11-30T18:00+08:00", Exit.USAGE)
    if moment.tzinfo is None and not config.is_whole:
        fail(f"{text!r}: the files are wrong, so say the time with its zone: {text}+08:00", Exit.CONFIG)
    return moment.replace(tzinfo=zone).isoformat()


def when(at: Instant | None, config: Config, *, never: str = "-") -> str:
    """Write an instant for people, in the homes' zone, to the minute."""
    return never if at is None else local_time(at, config.settings.zone).strftime("%Y-%m-%d %H:%M")


def is_terminal() -> bool:
    """Say whether a person watches."""
    return sys.stderr.isatty()
