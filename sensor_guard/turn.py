"""One batch on its way through the loop, and another configuration on its way into it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sensor_guard.inbox import Event, NewPlan
from sensor_guard.model import Effects, Input, Instant, Message, Notification, Quarantined, Reading


class MessageReader(Protocol):
    """What a turn asks of the decoders."""

    def route(self, message: Message) -> list[Reading] | Quarantined:
        """Read a message, or say why it cannot be read."""
        ...


@dataclass(slots=True)
class Turn:
    """One batch on its way. Kept by the loop when the commit fails, and committed again without being fed again."""

    events: Sequence[Event]
    now: Instant
    rest: list[Event] = field(default_factory=list)  # the events that are no message
    items: list[Message | Input] = field(default_factory=list)
    words: list[Input] = field(default_factory=list)  # the items that are no message
    readings_of: dict[int, list[Reading]] = field(default_factory=dict)  # place in items -> readings
    quarantined: list[Quarantined] = field(default_factory=list)
    plan: NewPlan | None = None
    stored: list[tuple[int, Input]] = field(default_factory=list)  # what of it was new, with its seq
    effects: Effects | None = None
    leased: list[Notification] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)  # texts that went out unstored and are in the outbox now
    answers: list[tuple[Callable[[object], None], object]] = field(default_factory=list)
    commit_ms: float = 0.0

    def messages(self) -> list[Message]:
        """Give the messages that may be acknowledged to the broker once the turn is committed."""
        return [event for event in self.events if isinstance(event, Message)]

    def tells(self) -> bool:
        """Say whether there is more in it than readings: something that somebody may have to be told."""
        effects = self.effects
        if self.leased or (
            effects and (effects.transitions or effects.alarms or effects.notifications or effects.cancelled)
        ):
            return True
        return bool(self.words)
