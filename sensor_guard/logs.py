"""The log: structlog, JSON lines in service, colours on a terminal. Ids only; no names, no numbers, no secrets.

Nobody logs such things on purpose. What slips through all the same (an exception of a library with a number in its
text, a log line of a library) meets ``redact``, the last net: by the field's name, and by what a text looks like.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from sensor_guard.config.settings import LogSettings

HIDDEN = "[hidden]"
_SECRET_KEYS = re.compile(
    r"token|secret|passw|authorization|credential|api_?key|heartbeat_url|phone|^(name|label|body|text|contact|payload)$",
    re.IGNORECASE,
)
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<![\w+])\+[1-9]\d{6,14}(?!\d)",  # E.164
        r"(?<![\w])%2B[1-9]\d{6,14}(?!\d)",  # the same in an address
        r"(?<![\w.:-])1[3-9]\d{9}(?![\w.])",  # a mobile number as it is written in China
        r"(?<=bearer )\S+|(?<=basic )[\w+/=-]{8,}|(?<=token )[\w+/=.~-]{16,}",
        r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",  # user and password in an address
        r"(?<=[?&]token=)[^&\s]+|(?<=[?&]key=)[^&\s]+|(?<=[?&]p=)[^&\s]+",
        r"(?<=/)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",  # the address of a heartbeat
    )
)


def configure_log(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Set structlog, and the standard library's log for everything that is not ours, up for this process.

    Args:
        settings: ``log:`` of config.yaml.
        stream: where lines go, stderr if None.
    """
    out = stream or sys.stderr
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # The plain traceback: a richer one would print the values of variables, and one of them is a token.
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(out),
    )
    # Libraries are heard from warnings on, whatever our level: what they say at debug are requests and their headers.
    logging.captureWarnings(capture=True)
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide what no log may hold, wherever it stands in the event."""
    return {key: HIDDEN if _SECRET_KEYS.search(key) else _hidden(value) for key, value in event.items()}


def redacted(text: str) -> str:
    """Hide telephone numbers, tokens and the like in a text."""
    for pattern in _PATTERNS:
        text = pattern.sub(HIDDEN, text)
    return text


def _hidden(value: object) -> object:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {str(key): HIDDEN if _SECRET_KEYS.search(str(key)) else _hidden(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(one) for one in value]
    if value is None or isinstance(value, int | float):
        return value
    return redacted(str(value))


class _Libraries(logging.Handler):
    """Passes what libraries log on to ours, so that there is one form, one place and one net."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; the exception's type without its text, which may hold anything."""
        error = record.exc_info[0] if record.exc_info else None
        structlog.get_logger(record.name).log(
            record.levelno,
            "library.logged",
            library=record.name,
            message=record.getMessage()[:500],
            error=error.__name__ if error is not None else None,
        )
