"""The log: structlog, JSON lines in service, colours on a terminal. Ids only; no names, no numbers, no secrets."""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

from sensor_guard.config.settings import LogSettings


def configure_log(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Set structlog up for this process.

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
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(out),
    )
