"""Room kept for alarms: a file beside the journal that is given up when the disk is full.

A full disk fails the next commit, and a commit needs room for its -wal pages even where rows were removed from the
file before. So some room is taken while there is enough, and let go when nothing else is left.
"""

import os
from pathlib import Path

BALLAST_SIZE = 8 << 20
"""Some 80 commits of 500 readings each, or thousands with one alarm."""
BALLAST_FLOOR = 1 << 20
"""A ballast smaller than this is none: one commit may need 600 kB."""
WAL_ROOM = 4 << 20
"""What the -wal file grows to between two checkpoints (1,000 pages): never made into ballast."""


class Ballast:
    """The file, really allocated. ``size``: how large it should be."""

    def __init__(self, journal: Path, *, size: int = BALLAST_SIZE) -> None:
        self.path = journal.with_name(f"{journal.stem}.ballast")
        self.size = size
        self.floor = min(size, BALLAST_FLOOR)
        self._wal = journal.with_name(f"{journal.name}-wal")

    def free(self) -> int:
        """Say how many bytes of the file system this process may still use; 0 where nobody can say."""
        try:
            room = os.statvfs(self.path.parent)
        except OSError:
            return 0
        return room.f_bavail * room.f_frsize

    def total(self) -> int:
        """Say how large the file system is; 0 where nobody can say."""
        try:
            room = os.statvfs(self.path.parent)
        except OSError:
            return 0
        return room.f_blocks * room.f_frsize

    def is_there(self) -> bool:
        """Say whether there is room that alarms could get."""
        return _allocated(self.path) >= self.floor

    def make(self, *, least: int, spare: int = 0) -> bool:
        """Take what is missing of the ballast; is there one now?

        What is taken is allocated, not promised: a file of zeros that is only long would give back nothing. Room that
        the -wal file will grow into is never taken.

        least: a ballast smaller than this is not made; spare: bytes that must be left for others.
        """
        there = _allocated(self.path)
        spare += max(0, WAL_ROOM - _allocated(self._wal))
        size = min(self.size, there + self.free() - spare)
        if size <= there or size < least:
            return self.is_there()
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(fd, 0, size)
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError:
            if not self.is_there():
                self.release()  # half a ballast would only take the room that commits need
        return self.is_there()

    def release(self) -> bool:
        """Let go of it; False where there was none, or where it cannot be removed."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True


def _allocated(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0
