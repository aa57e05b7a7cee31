"""Renders the text that tells several at once: how many, the most important by name, and where the rest is listed.

Its ``params``, all strings: ``count`` alarms that wait for an answer, ``alarm0`` ... ``alarm7`` "home rule" of the most
important of them, ``news`` alarms that somebody else has dealt with, ``late`` "1" if one of the texts is late.
"""

import re
from collections.abc import Mapping, Sequence

from sensor_guard.notify.plain import plain, without_addresses
from sensor_guard.notify.protocol import Directory
from sensor_guard.notify.segment import cut, fits, shortened
from sensor_guard.notify.words import Words, words_for

SEGMENTS = 2
LABEL_LIMIT = 16
LABEL_LEAST = 8
RULE_LIMIT = 16


def render_digest(params: Mapping[str, str], directory: Directory, language: str, ending: str) -> str:
    """Give the text, at most two segments with ``ending`` (the code): as many alarms by name as there is room for."""
    words = words_for(language)[1]
    count, news = _number(params, "count"), _number(params, "news")
    named = [params[f"alarm{place}"].partition(" ") for place in range(8) if f"alarm{place}" in params]
    shown = [
        (plain(directory.label(home), 40), plain(directory.name(rule, language), RULE_LIMIT))
        for home, _, rule in named[:count]
    ]
    text = ""
    for place in range(len(shown), -1, -1):
        for limit in (LABEL_LIMIT, LABEL_LEAST):
            text = _put_together(shown[:place], limit, (count, news), words, late="late" in params)
            if fits(text + ending, segments=SEGMENTS):
                return text + ending
    while not fits(text + ending, segments=SEGMENTS):
        text = cut(text, len(text) - 1)
    return text + ending


def _put_together(
    shown: Sequence[tuple[str, str]], limit: int, counts: tuple[int, int], words: Words, *, late: bool
) -> str:
    count, news = counts
    parts = [words.late] if late else []
    if count:
        parts.append(words.open_alarms.replace("{count}", str(count)))
        parts.append(words.between.join(f"{shortened(label, limit)} {rule}".strip() for label, rule in shown))
        if len(shown) < count and shown:
            parts.append(words.and_more)
        parts.append(words.see_list)
        if news:
            parts.append(words.news.replace("{news}", str(news)))
    else:
        parts.append(words.news_only.replace("{news}", str(news)))
    # Two fields side by side may have made an address.
    return without_addresses("".join(parts)).replace("：。", "。").replace(": .", ".")


def _number(params: Mapping[str, str], key: str) -> int:
    text = params.get(key, "")
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else 0
