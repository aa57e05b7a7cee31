"""The errors of sensor_guard. The type says whose fault it is, the message names the way out."""

from dataclasses import dataclass


class SensorGuardError(Exception):
    """Anything that sensor_guard itself raises."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault in a file, where a person finds it.

    ``line`` and ``column`` count from 1; 0 means that the fault belongs to the file as a whole.
    ``where`` is the dotted path of the value (``rules.0.for``); ``message`` says the way out.
    """

    file: str
    line: int
    column: int
    where: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.where}: {self.message}" if self.where else f"{place}: {self.message}"


class ConfigError(SensorGuardError):
    """The operator's files are wrong. Carries every problem at once, in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class DecodeError(SensorGuardError):
    """A device's message cannot be read. ``reason`` is a word of ``model.RejectReason``."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class NotifyError(SensorGuardError):
    """A provider did not take a notification.

    ``reason`` is a word of ``notify.outcome.Reason``; ``retryable`` says whether the same message may be
    tried again; ``retry_after`` is in milliseconds, None where the provider did not say.
    """

    def __init__(self, reason: str, *, retryable: bool, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.retry_after = retry_after


class JournalError(SensorGuardError):
    """The journal cannot be used: we must stop, or keep the batch and try again."""


class AlreadyRunningError(JournalError):
    """A second daemon wants the same journal (exit code 75)."""


class StartError(SensorGuardError):
    """The daemon cannot start, and not for its journal's sake; the message names the file."""


class CommandRefusedError(SensorGuardError):
    """A person's command cannot be carried out; the message says why and what would work."""
