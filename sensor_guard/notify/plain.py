"""Makes any field plain: what a label, a name or a sensor's id may carry into a text that goes to a telephone.

Control and bidirectional characters could turn a text round or hide a part of it, a web address makes carriers in
China refuse it and could lead somebody astray. Names come from files that many hands fill in.
"""

import re
import unicodedata

from sensor_guard.notify.segment import cut

# What has no place on one line: control characters and line separators part words; format characters (bidi, zero
# width), surrogates, private use and noncharacters are nothing that anybody sees.
_PARTING = frozenset({"Cc", "Zl", "Zp"})
_UNSEEN = frozenset({"Cf", "Cs", "Co", "Cn"})
# Typewriters for what a word processor makes of quotes, dashes and spaces: one of them in an English text would make
# it UCS-2, 70 characters instead of 160. The full-width full stop counts as a dot in a web address.
_PLAINER = str.maketrans(
    {
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "–": "-",
        "—": "-",
        "−": "-",
        "…": "..",
        "．": ".",
        "｡": ".",
        "／": "/",
        "\u00a0": " ",
        "\u3000": " ",
    }
)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*[:：]//[!-~]*|www\.[!-~]*", re.IGNORECASE)
# evil.com/x, a@b.cn, 10.0.0.1: the dots are taken out rather than the whole, because "St.John" is a name.
_DOT = re.compile(r"(?<=[^\W_])\.(?=[^\W\d_]{2,})")
_IP = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")


def plain(text: str, limit: int) -> str:
    """Give the text on one line, without anything unseen and without web addresses, at most ``limit`` characters."""
    text = unicodedata.normalize("NFC", text[: 8 * limit]).translate(_PLAINER)
    text = "".join(" " if unicodedata.category(letter) in _PARTING else letter for letter in text)
    text = "".join(letter for letter in text if unicodedata.category(letter) not in _UNSEEN)
    return cut(" ".join(without_addresses(text).split()), limit)


def without_addresses(text: str) -> str:
    """Take web addresses out, and the dots out of what a telephone would make a link of."""
    before = ""
    while before != text:  # taking one out may put another together
        before = text
        text = _ADDRESS.sub("", text)
    text = text.replace("://", " ")
    text = _IP.sub(lambda found: found[0].replace(".", " "), text)
    return _DOT.sub(" ", text)
