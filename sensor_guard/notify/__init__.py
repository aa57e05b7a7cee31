"""From the outbox to people: texts, the channels that carry them, and what becomes of each."""

from collections.abc import Callable

from sensor_guard.config.settings import NotifiersSettings
from sensor_guard.notify.console import open_console
from sensor_guard.notify.protocol import Notifier
from sensor_guard.notify.twilio import open_twilio

NOTIFIERS: dict[str, Callable[[NotifiersSettings, Callable[[], str]], Notifier]] = {
    "console": open_console,
    "twilio": open_twilio,
}
"""The channels by their name in config.yaml. A row takes ``notifiers:`` and a function that reads its secret."""
