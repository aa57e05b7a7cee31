"""Which packets were committed last: how a redelivered message is known whose device sends no time.

A broker that did not hear our acknowledgement sends the packet again, with its id and DUP=1. It can do so for as many
packets as it may have under way, the receive maximum; older ones need not be remembered.
"""

import sqlite3
from collections import deque
from hashlib import blake2b
from typing import TypeAlias

PACKET_LIMIT = 500
"""Packets remembered a lane: the receive maximum."""
LANE_LIMIT = 4
"""Two connections, and the session before for each. A further lane takes the place of the one used longest ago."""

_Key: TypeAlias = tuple[int, bytes]


class _Ring:
    """The last packets of one lane; ``turns`` numbers them through all lanes."""

    __slots__ = ("known", "turns")

    def __init__(self) -> None:
        self.turns: deque[tuple[int, _Key]] = deque()
        self.known: dict[_Key, int] = {}

    def add(self, turn: int, key: _Key) -> None:
        self.turns.append((turn, key))
        self.known[key] = turn
        if len(self.turns) > PACKET_LIMIT:
            oldest, gone = self.turns.popleft()
            if self.known[gone] == oldest:
                del self.known[gone]


class RecentPackets:
    """The ring of each lane. ``lane`` names a connection and its session: a new session numbers its packets anew."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._rings: dict[str, _Ring] = {}  # the lane used last is the last one
        self._turn = 0
        self._new: dict[tuple[str, _Key], None] = {}
        for lane, turn, packet_id, digest in db.execute(
            "SELECT lane, turn, packet_id, payload_hash FROM recent_packets ORDER BY turn"
        ):
            self._use(lane).add(turn, (packet_id, digest))
            self._turn = turn

    def seen(self, lane: str, packet_id: int, payload: bytes, *, duplicate: bool) -> bool:
        """Say whether this is a packet that was committed before; if it is not, remember it with the batch.

        ``duplicate``: the broker's DUP flag. Without it the packet id has been given to another message.
        """
        key = (packet_id, blake2b(payload, digest_size=8).digest())
        if duplicate:
            ring = self._rings.get(lane)
            if (ring is not None and key in ring.known) or (lane, key) in self._new:
                return True
        self._new.pop((lane, key), None)
        self._new[lane, key] = None
        return False

    def was_committed(self, lane: str, packet_id: int, payload: bytes) -> bool:
        """Say whether this packet was committed before, and remember nothing of the question."""
        ring = self._rings.get(lane)
        return ring is not None and (packet_id, blake2b(payload, digest_size=8).digest()) in ring.known

    def write(self) -> None:
        """Put what was remembered into the batch's transaction, and take out what is too old."""
        if not self._new:
            return
        rows = [(lane, self._turn + n, *key) for n, (lane, key) in enumerate(self._new, 1)]
        self._db.executemany(
            "INSERT INTO recent_packets (lane, turn, packet_id, payload_hash) VALUES (?, ?, ?, ?)", rows
        )
        lanes = self._new_lanes()
        for lane in lanes:
            self._db.execute(
                "DELETE FROM recent_packets WHERE lane = ?1 AND turn <= (SELECT turn FROM recent_packets"
                " WHERE lane = ?1 ORDER BY turn DESC LIMIT 1 OFFSET ?2)",
                (lane, PACKET_LIMIT),
            )
        for lane in self._surplus(lanes):
            self._db.execute("DELETE FROM recent_packets WHERE lane = ?", (lane,))

    def settle(self) -> None:
        """The batch is on disk: its packets count from now on."""
        if not self._new:
            return
        for lane in self._surplus(self._new_lanes()):
            del self._rings[lane]
        for lane, key in self._new:
            self._turn += 1
            self._use(lane).add(self._turn, key)
        self._new.clear()

    def revert(self) -> None:
        """The batch is not: its packets will come again."""
        self._new.clear()

    def _use(self, lane: str) -> _Ring:
        ring = self._rings.pop(lane, None) or _Ring()
        self._rings[lane] = ring
        return ring

    def _new_lanes(self) -> list[str]:
        return list(dict.fromkeys(lane for lane, _key in self._new))

    def _surplus(self, used: list[str]) -> list[str]:
        """Give the lanes that must go when those in ``used`` are written."""
        others = [lane for lane in self._rings if lane not in used]
        return others[: max(0, len(others) + len(used) - LANE_LIMIT)]
