"""The pages that say where everything in the file is, kept a second time beside it: <journal>.head.

They are written once a layout, and without them nothing in the file can be found. A checkpoint writes the first page
again and again, so it is not the one that a dying disk spares.
"""

import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from sensor_guard.journal.errors import SQLITE_FAILED

PAGE = 4_096
COPY_LIMIT = 1 << 30
"""Bytes; a larger file is not copied to try it with another head: a start must not take minutes."""
_MARK = b"sensor_guard head 1\n"
_INTERIOR = 0x05


def keep_head(db: sqlite3.Connection, path: Path) -> None:
    """Write <journal>.head if there is none of this layout; without room or right to write it there is none."""
    version: int = db.execute("PRAGMA schema_version").fetchone()[0]
    begin = _MARK + version.to_bytes(4, "big")
    head = _head(path)
    with suppress(OSError, *SQLITE_FAILED):  # without one the journal is no worse than it was
        if head.exists() and head.read_bytes()[: len(begin)] == begin:
            return
        if db.execute("PRAGMA page_size").fetchone()[0] != PAGE:
            return
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = _schema_pages(path)
        fresh = head.with_name(f"{head.name}.partial")
        fresh.touch(mode=0o600)  # copies of pages of the journal are for whom the journal is for
        fresh.write_bytes(begin + b"".join(number.to_bytes(4, "big") + page for number, page in pages.items()))
        fd = os.open(fresh, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.rename(head)


def copy_with_head(path: Path) -> Path | None:
    """Copy a file that cannot be opened, with its -wal, and give the copy the pages that were kept; None if not."""
    copy = path.with_name(f"{path.name}.mending-copy")
    wal = path.with_name(f"{path.name}-wal")
    with suppress(OSError):
        size = path.stat().st_size
        kept = _head(path).read_bytes()
        if not kept.startswith(_MARK) or size > COPY_LIMIT or shutil.disk_usage(path.parent).free < 3 * size:
            return None
        shutil.copyfile(path, copy)
        if wal.exists():
            shutil.copyfile(wal, copy.with_name(f"{copy.name}-wal"))
        with copy.open("r+b") as file:
            for start in range(len(_MARK) + 4, len(kept) - PAGE - 3, PAGE + 4):
                number, page = int.from_bytes(kept[start : start + 4], "big"), kept[start + 4 : start + 4 + PAGE]
                file.seek((number - 1) * PAGE)
                file.write(_header_of(page, size) if number == 1 else page)
        return copy
    return None


def remove_copy(copy: Path) -> None:
    """Delete what ``copy_with_head`` made."""
    for suffix in ("", "-wal", "-shm"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)


def _header_of(page: bytes, size: int) -> bytes:
    """Make the first page fit the file as it is: so many pages, none of them known to be free."""
    changes = page[24:28]
    return page[:28] + (size // PAGE).to_bytes(4, "big") + bytes(8) + page[40:92] + changes + page[96:]


def _schema_pages(path: Path) -> dict[int, bytes]:
    """Read the tree of sqlite_master: the first page, and what it points to."""
    pages: dict[int, bytes] = {}
    waiting = [1]
    with path.open("rb") as file:
        while waiting and len(pages) < 64:
            number = waiting.pop()
            file.seek((number - 1) * PAGE)
            page = pages[number] = file.read(PAGE)
            start = 100 if number == 1 else 0
            if page[start] != _INTERIOR:
                continue
            cells = int.from_bytes(page[start + 3 : start + 5], "big")
            places = [int.from_bytes(page[start + 12 + 2 * n : start + 14 + 2 * n], "big") for n in range(cells)]
            waiting += [int.from_bytes(page[place : place + 4], "big") for place in places]
            waiting.append(int.from_bytes(page[start + 8 : start + 12], "big"))
    return pages


def _head(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")
