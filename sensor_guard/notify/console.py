"""A telephone drawn on the terminal, for the demo and for trying rules: every text arrives at once."""

import string
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import TextIO

from sensor_guard.config.settings import NotifiersSettings
from sensor_guard.model import Instant, Notification, NotificationKind, NotificationState
from sensor_guard.notify.outcome import Reason, failure
from sensor_guard.notify.plain import plain
from sensor_guard.notify.protocol import Contact, Notifier, Receipt

_CALLS = (NotificationKind.ALARM, NotificationKind.REMINDER, NotificationKind.UNCLOSED)
_TOKEN = string.ascii_letters + string.digits + "[]-:"
WIDTH = 44
"""Inner width of the screen, in columns; a Chinese character takes two."""


class ConsoleNotifier:
    """Draws each text with its recipient's name, or the bare id where ``names`` is False."""

    def __init__(self, stream: TextIO, *, names: bool = True) -> None:
        self._stream = stream
        self._names = names
        self._numbers = count(1)

    def send(self, notification: Notification, contact: Contact, text: str, /) -> Receipt:
        """Draw the text.

        Raises:
            NotifyError: nobody reads the terminal any more.
        """
        person = (
            f"{plain(contact.name, 16)} ({notification.recipient_id})" if self._names else notification.recipient_id
        )
        asks = notification.kind in _CALLS
        drawn = drawn_telephone(person, text, notification.code if asks else "", by=notification.recipient_id)
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            self._stream.write(drawn.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):  # closed, or the reader of a pipe is gone
            raise failure(Reason.UNREACHABLE) from None
        return Receipt(f"console-{next(self._numbers)}", NotificationState.DELIVERED)

    def receipt(self, receipt_id: str, /) -> Receipt:
        """A drawn text has arrived."""
        return Receipt(receipt_id, NotificationState.DELIVERED)

    def find(self, contact: Contact, codes: Collection[str], since: Instant, /) -> Mapping[str, Receipt]:  # noqa: ARG002
        """Nobody knows what a terminal of an earlier process has shown: it is drawn again."""
        return {}

    def close(self) -> None:
        """Nothing to let go of."""


def open_console(settings: NotifiersSettings, read_token: Callable[[], str]) -> Notifier:  # noqa: ARG001
    """Make the channel to the terminal that the process writes to."""
    return ConsoleNotifier(sys.stdout)


def drawn_telephone(person: str, text: str, code: str, *, by: str = "") -> str:
    """Draw a telephone that has just received a text; below it, what the recipient can say to answer."""
    bar = "─" * (WIDTH + 2)
    lines = [f"╭{bar}╮", _row(f"✉  {person}"), f"├{bar}┤"]
    lines += [_row(line) for line in _wrapped(text)]
    if code:
        lines += [f"├{bar}┤", _row(f"sensor-guard ack {code}" + (f" --by {by}" if by else ""))]
    return "\n".join(["", *lines, f"╰{bar}╯", ""])


def width(text: str) -> int:
    """Count the columns of a terminal that a text takes."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _row(text: str) -> str:
    while width(text) > WIDTH:
        text = text[:-1]
    return f"│ {text}{' ' * (WIDTH - width(text))} │"


def _wrapped(text: str) -> list[str]:
    if width(text) == len(text):
        return textwrap.wrap(text, WIDTH)
    lines = [""]
    for letter in text:
        if width(lines[-1] + letter) > WIDTH:
            # A code, a number or a word stays whole.
            head = lines[-1].rstrip(_TOKEN)
            tail = lines[-1][len(head) :] if letter in _TOKEN and head else ""
            lines[-1] = lines[-1][: len(lines[-1]) - len(tail)]
            lines.append(tail)
        lines[-1] += letter
    return lines
