"""How long a text is on the air, and how it is made shorter.

A text that fits one segment arrives at once and whole; a longer one is cut into parts that may come late, out of order,
or not at all, and costs as many times more (3GPP TS 23.038 and 23.040).
"""

import unicodedata

SEPTETS = 160
"""Of one segment, if every character is in the GSM 7-bit alphabet."""
UNITS = 70
# UCS-2: any character outside GSM-7, so any Chinese one, makes the whole text 70 units a segment, not 160.
SEPTETS_OF_PART = 152
UNITS_OF_PART = 66
"""Of one of several: 153 and 67, less the one that stays empty where a double character would be cut in two."""

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")  # an escape and a character: two septets


def is_gsm(text: str) -> bool:
    """Say whether every character is in the GSM 7-bit alphabet."""
    return all(letter in _BASIC or letter in _EXTENDED for letter in text)


def length(text: str) -> int:
    """Count septets if the text is GSM-7, else UCS-2 units: a character beyond U+FFFF takes two."""
    if is_gsm(text):
        return sum(2 if letter in _EXTENDED else 1 for letter in text)
    return sum(2 if letter > "\uffff" else 1 for letter in text)


def fits(text: str, *, segments: int = 1) -> bool:
    """Say whether the text is at most so many segments."""
    return segment_count(text) <= segments


def segment_count(text: str) -> int:
    """Count segments. Of a text of several, each one gives up room for saying which it is."""
    whole, part = (SEPTETS, SEPTETS_OF_PART) if is_gsm(text) else (UNITS, UNITS_OF_PART)
    size = length(text)
    return 1 if size <= whole else -(-size // part)


def shortened(text: str, count: int) -> str:
    """Give at most ``count`` characters of a name of a place: both ends of it, of the end twice as much.

    An address becomes more precise towards its end in Chinese, towards its beginning in English.
    """
    if len(text) <= count:
        return text
    mark = ".." if is_gsm(text) else "…"
    room = count - len(mark)
    if room < 3:
        return text[len(text) - count :] if count else ""
    front = room // 3
    return text[:front].rstrip() + mark + _without_loose_mark(text[len(text) - (room - front) :])


def cut(text: str, count: int) -> str:
    """Give the first ``count`` characters."""
    return text if len(text) <= count else text[:count].rstrip()


def _without_loose_mark(text: str) -> str:
    # An accent or a variation selector whose letter was cut away would sit on the wrong one.
    start = 0
    while start < len(text) and unicodedata.combining(text[start]):
        start += 1
    return text[start:].lstrip()
