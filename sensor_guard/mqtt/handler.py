"""Whom a connection tells what happens to it."""

from collections.abc import Sequence
from typing import Protocol

from sensor_guard.model import Instant, Message
from sensor_guard.mqtt.access import Filter, Will


class Handler(Protocol):
    """Whom a connection tells. Everything is called on the connection's own thread."""

    def will(self, now: Instant) -> Will | None:
        """Give the last will for the connection that is opened now."""
        ...

    def filters(self) -> Sequence[Filter]:
        """Name what is to be subscribed, in this order."""
        ...

    def connected(self, now: Instant, *, session_present: bool) -> None:
        """The broker has taken us; the SUBSCRIBEs are on their way."""
        ...

    def subscribed(self, now: Instant, refused: Sequence[str]) -> None:
        """Every SUBSCRIBE is answered; ``refused`` names the topics that we may not have."""
        ...

    def message(self, message: Message) -> None:
        """A message has come. Nobody else acknowledges it."""
        ...

    def stumbled(self, message: Message) -> None:
        """``message`` has raised: hand it over as it came, so that it is not sent again for ever."""
        ...

    def publish_refused(self, reason: str) -> None:
        """The broker lets us not publish what we wanted to."""
        ...

    def turned(self, now: Instant) -> None:
        """A turn is over: look at your deadlines. At least twice a second while connected."""
        ...

    def lost(self, at: Instant, reason: str) -> None:
        """The connection is gone, or could not be opened. ``at``: until when it can be vouched for."""
        ...

    def farewell(self, now: Instant) -> Will | None:
        """Give what is to be published, retained, before a clean end."""
        ...
