"""Dead letters once more: the lines that a sink would not have, after somebody has mended what was wrong there."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sensor_guard.model import Quarantined
from sensor_guard.sinks.protocol import SinkError, SinkFailure

CHUNK_LIMIT = 500
"""Lines of one request."""
ABOUT_ROWS = (SinkFailure.REFUSED, SinkFailure.EXPIRED, SinkFailure.TOO_LARGE, SinkFailure.SERVER_ERROR)
"""What may be the lines' own fault; anything else concerns all of them."""


class Replayed(NamedTuple):
    """``stored``: topics of the letters that were taken; ``refused``: (topic, why) of the others."""

    stored: list[str]
    refused: list[tuple[str, str]]


def replay(write: Callable[[bytes], None], letters: Sequence[Quarantined]) -> Replayed:
    """Write each letter's line as it was sent: the same point, so that a second time changes nothing.

    Raises:
        SinkError: nothing is taken at all (nobody there, the wrong token ...); what was stored before stays stored.
    """
    result = Replayed([], [])
    pieces = [letters[start : start + CHUNK_LIMIT] for start in range(0, len(letters), CHUNK_LIMIT)][::-1]
    while pieces:
        piece = pieces.pop()
        try:
            write(b"\n".join(letter.payload for letter in piece))
        except SinkError as error:
            if error.failure not in ABOUT_ROWS:
                raise
            if len(piece) > 1:
                half = len(piece) // 2
                pieces += [piece[half:], piece[:half]]
            else:
                result.refused.append((piece[0].topic, error.detail))
            continue
        result.stored.extend(letter.topic for letter in piece)
    return result
