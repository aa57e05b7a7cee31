"""What a sink is, and what it can say when a write fails.

A sink takes the journal's rows elsewhere. It may be slow or down: it never stops the line, because ``Mirror``
follows the journal by a cursor of its own. A new sink is one file beside this one and one row of ``SINKS``.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

from sensor_guard.errors import SensorGuardError
from sensor_guard.model import Instant, Reading, Span, Transition


class AlarmEvent(NamedTuple):
    """One step in the life of an alarm, as a history keeps it.

    ``event`` and ``text`` are words of the program and ids, never a person's note, a name or a home's label.
    """

    alarm_id: str
    home_id: str
    rule_id: str
    event: str
    severity: str
    at: Instant
    text: str = ""

    @classmethod
    def of(cls, transition: Transition, severity: str) -> "AlarmEvent":
        """Say a transition as an event; the note, in which a person may have written a name, stays behind."""
        home_id, rule_id, _raised_at = transition.alarm_id.split(".")
        event = _EVENTS.get((transition.field, transition.after), transition.reason)
        text = f"{transition.field}: {transition.before} > {transition.after}, {transition.reason}"
        return cls(transition.alarm_id, home_id, rule_id, event, severity, transition.at, text)


_EVENTS = {
    ("condition", "true"): "opened",
    ("condition", "unknown"): "unseen",
    ("condition", "false"): "resolved",
    ("response", "acknowledged"): "acked",
    ("response", "closed"): "closed",
}

Row: TypeAlias = tuple[int, Reading | AlarmEvent]
"""A row of the journal with its seq."""


def instant_of(row: Row) -> Instant:
    """Say when the row's reading was taken, or its event happened."""
    noun = row[1]
    return noun.observed_at if isinstance(noun, Reading) else noun.at


class AlarmStep(Protocol):
    """A step in the life of an alarm, as the journal gives it."""

    @property
    def transition(self) -> Transition:
        """What changed."""
        ...

    @property
    def severity(self) -> str:
        """The alarm's."""
        ...


class RowSource(Protocol):
    """What a mirror asks of the journal, on the mirror's own thread."""

    def rows_after(self, cursor: int, limit: int) -> Sequence[tuple[int, Reading | AlarmStep]]:
        """Give at most ``limit`` readings and steps of alarms with a seq above ``cursor``, in the order of seq.

        The same cursor always gives the same rows, but for those that retention has removed since.
        """
        ...

    def head(self) -> int:
        """Give the highest seq of the journal, 0 where it is empty."""
        ...


class SinkFailure(StrEnum):
    """Why a write failed, by what can be done about it. Log, metric, ``status`` and test use these words."""

    OUTAGE = "outage"  # nobody there, or too busy: the same write again later
    MISCONFIGURED = "misconfigured"  # a person must mend the address, the token or the bucket
    REFUSED = "refused"  # something in these rows is wrong
    SERVER_ERROR = "server_error"  # 500: an outage, unless it stays
    TOO_LARGE = "too_large"  # the same rows in smaller pieces
    EXPIRED = "expired"  # some rows are older than what the server keeps; the others are stored


class SinkError(SensorGuardError):
    """A sink did not take what it was given; it may have stored a part, or all of it.

    ``retry_after``: how long the server asks us to stay away, in ms. ``dropped``: with EXPIRED, how many rows
    were too old.
    """

    def __init__(self, failure: SinkFailure, detail: str, *, retry_after: Span | None = None, dropped: int = 0) -> None:
        super().__init__(f"{failure}: {detail}")
        self.failure = failure
        self.detail = detail
        self.retry_after = retry_after
        self.dropped = dropped


class ReadingSink(Protocol):
    """Where rows go. One attempt a call, no retry inside; writing a row twice must be the same as once."""

    def write(self, rows: Sequence[Row]) -> None:
        """Store the rows; return only when they are stored.

        Raises:
            SinkError: they are not, or it is not known.
        """
        ...

    def probe(self, now: Instant) -> None:
        """Write something known to be good to the same place, to tell a bad row from a bad server.

        Raises:
            SinkError: that fails too.
        """
        ...

    def render(self, row: Row) -> str:
        """Say the row as it would be sent, for the dead letters."""
        ...

    def close(self) -> None:
        """Let go of connections. ``write`` may be called again and opens new ones."""
        ...
