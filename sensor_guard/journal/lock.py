"""One writer: whoever holds the lock beside the journal. The kernel lets go of it when the process ends, however."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from sensor_guard.errors import AlreadyRunningError, JournalError


class WriterLock:
    """The flock on ``<journal>.lock``. The file stays; only the lock on it means anything."""

    def __init__(self, journal: Path) -> None:
        """Take the lock.

        Raises:
            AlreadyRunningError: another process has it; the text says which.
            JournalError: the folder is missing, or may not be written.
        """
        path = journal.with_name(journal.name + ".lock")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise JournalError(
                f"{path}: {error.strerror}; the journal's folder must be there, and writable for the daemon's user"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise AlreadyRunningError(
                f"{journal}: in use by process {holder or '?'}; two daemons cannot share a journal:"
                f" end that one first, or give this one a journal.path of its own"
            ) from None
        with suppress(OSError):  # on a full disk: the lock is held all the same, only the text does not say by whom
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._fd)
