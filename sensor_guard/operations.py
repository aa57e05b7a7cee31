"""What people can ask of the daemon and tell it: one table of verbs, the same over the socket and without a daemon.

A request is a JSON object with "verb" and the verb's fields; an answer is a JSON object, {"error": text} if it was
refused. What changes something becomes a ``Command`` and is answered after its commit.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from uuid import uuid4

from sensor_guard.clock import parse_at
from sensor_guard.core import Core
from sensor_guard.engine.views import view_home
from sensor_guard.errors import CommandRefusedError
from sensor_guard.journal import Reader
from sensor_guard.model import GATEWAY, AlarmOutcome, Command, CommandKind, Instant

# Any: JSON of another process; every field is checked where it is used.
Json = dict[str, Any]
Question = Callable[[], Json]

NOTE_LIMIT = 500
"""Characters of a note: it is kept for years and read on a screen."""
DIGEST_LISTED = 20
"""Alarms that are listed where somebody uses the code of a digest."""
_UNTIL_LIMIT = 400 * 86_400_000
"""Nothing is away or muted for longer than about a year: 400 days in ms."""

_COMMANDS = {
    "ack": CommandKind.ACKNOWLEDGE,
    "close": CommandKind.CLOSE,
    "away": CommandKind.AWAY,
    "back": CommandKind.BACK,
    "mute": CommandKind.MUTE,
    "unmute": CommandKind.UNMUTE,
    "test_mode": CommandKind.TEST_MODE,
    "notify_test": CommandKind.NOTIFY_TEST,
}
ONLY_ASK = frozenset({"homes", "home", "alarms", "alarm", "status"})
"""Verbs that write nothing: without a daemon they are answered from a journal that is opened for reading only."""
_NEEDS_UNTIL = {CommandKind.AWAY, CommandKind.MUTE, CommandKind.TEST_MODE}
UNLISTED = (
    "the disk takes nothing now, and alarms since then are not listed yet: act on the text that you have, and answer"
    " when `sensor-guard status` says that the journal is ok"
)

_AROUND = " []【】［］"


class Operations:
    """Turns requests into commands or questions. ``contacts``: the ids that a test text may go to."""

    def __init__(self, core: Core, contacts: Callable[[], set[str]], status: Question) -> None:
        self._core = core
        self._contacts = contacts
        self._questions: dict[str, Callable[[Json], Json]] = {
            "homes": self._homes,
            "home": self._home,
            "alarms": self._alarms,
            "alarm": self._alarm,
            "replayed": self._replayed,
            "status": lambda _request: status(),
        }

    def prepare(self, request: Json, uid: int, now: Instant) -> Command | Question:
        """Make of a request the command to be stored, or the question to be asked on the engine's thread.

        Raises:
            CommandRefusedError: the request cannot be carried out; the message says why and what would work.
        """
        verb = request.get("verb")
        question = self._questions.get(verb) if isinstance(verb, str) else None
        if question is not None:
            return lambda: question(request)
        kind = _COMMANDS.get(verb) if isinstance(verb, str) else None
        if kind is None:
            raise CommandRefusedError(
                f"there is no verb {verb!r}; there are {', '.join([*_COMMANDS, *self._questions])}"
            )
        return self._command(kind, request, uid, now)

    def _command(self, kind: CommandKind, request: Json, uid: int, now: Instant) -> Command:
        target = _text(request, "target", required=True)
        if kind in (CommandKind.ACKNOWLEDGE, CommandKind.CLOSE):
            target = self._alarm_id(target)
        if kind in (CommandKind.TEST_MODE, CommandKind.AWAY) and target == GATEWAY:
            # Its faults would text nobody meanwhile, and nothing would show it.
            raise CommandRefusedError(f"{GATEWAY} is the box itself, no home; `sensor-guard homes` lists the homes")
        if kind is CommandKind.NOTIFY_TEST and target not in self._contacts():
            known = ", ".join(sorted(self._contacts())[:20])
            raise CommandRefusedError(f"there is no contact {target}; there are {known}")
        outcome = _text(request, "outcome") or None
        if kind is CommandKind.CLOSE and outcome not in set(AlarmOutcome):
            raise CommandRefusedError(f"closing needs an outcome, one of {', '.join(AlarmOutcome)}; not {outcome!r}")
        note = _text(request, "note")
        if kind is CommandKind.MUTE and not note:
            raise CommandRefusedError("a mute needs a reason: say --reason why nobody shall be told")
        return Command(
            command_id=uuid4().hex[:16],
            kind=kind,
            target_id=target,
            # Whatever somebody calls himself, the kernel says which account it was.
            actor_id=_text(request, "by") or f"uid{uid}",
            at=now,
            note=f"{note} (uid {uid})".strip() if kind in (CommandKind.ACKNOWLEDGE, CommandKind.CLOSE) else note,
            until=_until(request, kind, now),
            outcome=outcome,
            home_id=_text(request, "home") or None,
        )

    def _alarm_id(self, target: str) -> str:
        target = target.strip(_AROUND)  # texts and lists show both in brackets, and so they are copied
        if "." in target:
            return target
        # On the caller's thread, so with a connection of its own: SQLite's stay on the thread that opened them.
        with Reader.open(self._core.journal.path) as reader:
            alarm = reader.alarm_by_code(target)
            told = reader.told_by_digest(target) if alarm is None else None
        if told is not None:
            raise CommandRefusedError(_digest_refusal(target.strip().upper(), told))
        if alarm is None:
            why = f"{UNLISTED}; the code {target} may be one of them" if self._core.is_refused else ""
            raise CommandRefusedError(
                why or f"no text of the last 7 days has the code {target}; see `sensor-guard alarms`"
            )
        return alarm.alarm_id

    # -- questions ------------------------------------------------------------------------------------------------

    def _homes(self, _request: Json) -> Json:
        homes = self._core.engine.homes
        return {"homes": [asdict(view_home(self._core.engine, homes[h])) for h in sorted(homes) if h != GATEWAY]}

    def _home(self, request: Json) -> Json:
        home = self._core.engine.homes.get(_text(request, "target", required=True))
        if home is None:
            raise CommandRefusedError(f"there is no home {request.get('target')}; `sensor-guard homes` lists them")
        rejected = [
            {"topic": row.topic, "reason": row.reason, "detail": row.detail, "at": row.received_at}
            for row in self._core.journal.reader.quarantined(limit=50)
            if home.home_id in row.topic
        ]
        view = asdict(view_home(self._core.engine, home))
        return {"home": view, "now": self._core.engine.now, "rejected": rejected}

    def _alarms(self, request: Json) -> Json:
        home_id = _text(request, "home") or None
        reader = self._core.journal.reader
        alarms = reader.alarms(open_only=not request.get("all"), home_id=home_id, limit=_limit(request))
        if home_id is not None and not alarms and home_id not in self._core.engine.homes:
            # A slip of the pen must not read as "nothing is open". A home that has left may still have alarms.
            raise CommandRefusedError(f"there is no home {home_id}; `sensor-guard homes` lists them")
        codes = self._core.journal.reader.codes([alarm.alarm_id for alarm in alarms])
        return {
            "alarms": [{**asdict(alarm), "state": alarm.state, "code": codes.get(alarm.alarm_id)} for alarm in alarms],
            "unlisted": UNLISTED if self._core.is_refused else "",
        }

    def _replayed(self, request: Json) -> Json:
        """Mark dead letters that `db replay-refused` has written into InfluxDB since."""
        topics = request.get("topics")
        if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
            raise CommandRefusedError("topics must be a list of texts")
        # A transaction of its own: a question is asked after the turn's commit.
        with self._core.journal.batch(self._core.engine.now) as batch:
            return {"ok": True, "marked": batch.replayed(topics)}

    def _alarm(self, request: Json) -> Json:
        alarm_id = self._alarm_id(_text(request, "target", required=True))
        reader = self._core.journal.reader
        alarm = reader.alarm(alarm_id)
        if alarm is None:
            raise CommandRefusedError(f"there is no alarm {alarm_id}; `sensor-guard alarms --all` lists them")
        return {
            "alarm": {**asdict(alarm), "state": alarm.state},
            "trail": [entry._asdict() for entry in reader.trail(alarm_id)],
            "texts": [
                {
                    "recipient_id": entry.notification.recipient_id,
                    "kind": entry.notification.kind,
                    "state": entry.notification.state,
                    "reason": entry.reason,
                    "created_at": entry.created_at,
                    "changed_at": entry.changed_at,
                }
                for entry in reader.notifications(alarm_id)
            ],
        }


def _digest_refusal(code: str, told: list[tuple[str, str]]) -> str:
    """Say which alarms a digest told: to answer several at once would be to say that somebody goes to all of them."""
    if not told:
        return f"{code} is the code of a text about several alarms; all of them are closed"
    listed = "; ".join(f"{alarm_code} {alarm_id}" for alarm_id, alarm_code in told[:DIGEST_LISTED])
    more = f"; and {len(told) - DIGEST_LISTED} more" if len(told) > DIGEST_LISTED else ""
    return (
        f"{code} is the code of a text about several alarms: answer each by its own code: {listed}{more};"
        " `sensor-guard alarms` lists all"
    )


def _text(request: Json, name: str, *, required: bool = False) -> str:
    value = request.get(name) or ""
    if not isinstance(value, str) or len(value) > NOTE_LIMIT:
        raise CommandRefusedError(f"{name} must be a text of at most {NOTE_LIMIT} characters")
    if required and not value:
        raise CommandRefusedError(f"{name} is missing")
    return "".join(character for character in value if character.isprintable())


def _until(request: Json, kind: CommandKind, now: Instant) -> Instant | None:
    text = _text(request, "until")
    if not text:
        if kind in _NEEDS_UNTIL:
            raise CommandRefusedError(f"{kind} must end: say until when")
        return None
    try:
        until = parse_at(text)
    except ValueError as error:
        raise CommandRefusedError(str(error)) from error
    if not now < until <= now + _UNTIL_LIMIT:
        raise CommandRefusedError(f"until {text} is not within the next 400 days")
    return until


def _limit(request: Json) -> int:
    limit = request.get("limit", 100)
    return limit if isinstance(limit, int) and 0 < limit <= 10_000 else 100
