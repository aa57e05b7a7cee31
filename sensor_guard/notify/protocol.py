"""What a channel to people is, and what it can say about a text.

A channel sends, says what became of a text, and finds a text again whose reply was lost. It makes one attempt a call;
when and how often is decided in ``worker``. A new channel is one file beside this one and one row of ``NOTIFIERS``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Protocol

from sensor_guard.model import Instant, Notification, NotificationState


class Contact(Protocol):
    """A person as the contacts file has them. ``phone``: E.164. ``language``: zh or en."""

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class
    @property
    def phone(self) -> str: ...  # noqa: D102
    @property
    def language(self) -> str: ...  # noqa: D102


class Directory(Protocol):
    """Names and words, joined to ids at the moment a text is rendered and kept nowhere else.

    Ids that nobody knows any more give something readable, ``contact`` None.
    """

    @property
    def zone(self) -> tzinfo:
        """The time zone of the homes."""
        ...

    def contact(self, contact_id: str, /) -> Contact | None:
        """Give a person."""
        ...

    def label(self, home_id: str, /) -> str:
        """Give what people call a home."""
        ...

    def name(self, rule_id: str, language: str, /) -> str:
        """Give what people call a rule."""
        ...

    def message(self, rule_id: str, language: str, /) -> str:
        """Give a rule's own message with its placeholders: {home} {held} {since} {sensor}."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a text is. ``receipt_id``: the provider's id. ``reason``: of a failure, as ``outcome.worded`` says it."""

    receipt_id: str
    state: NotificationState = NotificationState.ACCEPTED
    reason: str = ""


class Notifier(Protocol):
    """A way to people. No retry inside; every call ends by itself, however the network behaves."""

    def send(self, notification: Notification, contact: Contact, text: str, /) -> Receipt:
        """Send a text, once.

        Raises:
            NotifyError: it is not sent, or nobody knows; its reason is a word of ``outcome.Reason``.
        """
        ...

    def receipt(self, receipt_id: str, /) -> Receipt:
        """Ask where a text is.

        Raises:
            NotifyError: no answer.
        """
        ...

    def find(self, contact: Contact, codes: Collection[str], since: Instant, /) -> Mapping[str, Receipt]:
        """Look for texts to this person that carry one of the codes; give those that are there, by code.

        Args:
            contact: to whom they were sent.
            codes: as they stand in the texts.
            since: older texts are others, whose codes were the same.

        Raises:
            NotifyError: no answer. Nothing may be concluded from it.
        """
        ...

    def close(self) -> None:
        """Let go of connections and secrets; the next call takes both anew."""
        ...
