"""The store: what was read, decided and told, on disk before anybody is answered.

    with journal.batch(now) as batch:                       # one transaction, fsynced when the block ends
        inputs = batch.append_readings(readings)            # redelivered ones drop out
        batch.record(engine.feed(inputs, now))              # alarms, trail, outbox
        leased = batch.lease(now, limit, channel="twilio")  # to be sent once this is committed

``Journal`` is the one writer's, ``Reader`` is for everybody else. The layout is in schema/.
"""

from sensor_guard.journal.ballast import Ballast
from sensor_guard.journal.batch import Batch, HomeState
from sensor_guard.journal.codec import CodecError
from sensor_guard.journal.digest import FOLDING, Folding
from sensor_guard.journal.errors import (
    ForeignFileError,
    JournalBusyError,
    JournalCorruptError,
    JournalFullError,
    JournalIOError,
    JournalReadOnlyError,
    JournalUnavailableError,
    JournalVersionError,
)
from sensor_guard.journal.mend import Mended, open_or_mend, open_sound, open_to_look, suspect
from sensor_guard.journal.outbox import CALLS, REPORT_TABLE
from sensor_guard.journal.prune import Pruned
from sensor_guard.journal.reader import AlarmStep, Reader, Sizes
from sensor_guard.journal.rows import OutboxEntry
from sensor_guard.journal.store import Journal, StoredPlan
from sensor_guard.journal.tail import TailBatch
from sensor_guard.journal.trail import TrailEntry, What

__all__ = [
    "CALLS",
    "FOLDING",
    "REPORT_TABLE",
    "AlarmStep",
    "Ballast",
    "Batch",
    "CodecError",
    "Folding",
    "ForeignFileError",
    "HomeState",
    "Journal",
    "JournalBusyError",
    "JournalCorruptError",
    "JournalFullError",
    "JournalIOError",
    "JournalReadOnlyError",
    "JournalUnavailableError",
    "JournalVersionError",
    "Mended",
    "OutboxEntry",
    "Pruned",
    "Reader",
    "Sizes",
    "StoredPlan",
    "TailBatch",
    "TrailEntry",
    "What",
    "open_or_mend",
    "open_sound",
    "open_to_look",
    "suspect",
]
