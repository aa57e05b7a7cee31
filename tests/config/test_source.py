"""YAML keeps what it looks like, and its places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_guard.config.source import parse_yaml


def read(text):
    problems = []
    document = parse_yaml("f", text, problems)
    assert problems == []
    return document


@pytest.mark.parametrize(
    "word", ["no", "on", "y", "22:00", "12:30:00", "0123", "0x1F", "0o17", "+8613800000001", "1_000", "2026-03-01", "="]
)
def test_plain_word_stays_text(word):
    assert read(f"key: {word}\n").data == {"key": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [("0", 0), ("-12", -12), ("1.5", 1.5), ("1e3", 1000.0), ("true", True), ("False", False), ('"5"', "5"), ("''", "")],
)
def test_plain_number_and_truth_are_what_they_are(word, value):
    data = read(f"key: {word}\n").data

    assert data == {"key": value}
    assert type(data["key"]) is type(value)


def test_each_value_and_key_has_its_place():
    document = read("a:\n  - {b: 1, c: [x, y]}\n")

    assert document.place(("a", 0, "c", 1)) == (2, 19)
    assert document.place(("a", 0, "c"), at_key=True) == (2, 12)
    assert document.place(("a", 0, "missing")) == (2, 5)


def test_windows_line_ends_do_not_move_the_places():
    document = read("a: 1\r\nb:\r\n  c: 2\r\n")

    assert document.place(("b", "c")) == (3, 6)


def test_alias_gives_the_same_again_and_stands_where_it_is_used():
    document = read("a: &x {k: 1}\nb: *x\n")

    assert document.data == {"a": {"k": 1}, "b": {"k": 1}}
    assert document.place(("b", "k")) == (2, 4)


def test_quotes_are_remembered():
    document = read('a: "5"\nb: 5\n')

    assert ("a",) not in document.plain
    assert document.plain["b",] == "5"


def test_all_duplicate_keys_are_told():
    problems = []
    document = parse_yaml("f", "a: 1\nb: 2\na: {c: 3}\nb: [4]\nd: 5\n", problems)

    assert [str(problem) for problem in problems] == [
        "f:3:1: a: 'a' stands here twice; the first is in line 1",
        "f:4:1: b: 'b' stands here twice; the first is in line 2",
    ]
    assert document.data == {"a": 1, "b": 2, "d": 5}


_PIECES = st.sampled_from(
    [
        "a",
        ": ",
        "- ",
        "\n",
        "  ",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "*",
        "&x",
        "!",
        "|",
        ">",
        "#",
        "\t",
        ",",
        "?",
        "%",
        "\\u",
        "<<",
        "---",
        "é",
        "\u2028",
        "\x85",
        "\ufeff",
    ]
)


@given(st.lists(_PIECES, max_size=40).map("".join) | st.text(max_size=60))
def test_any_text_is_read_or_told_and_never_raises(text):
    problems = []

    document = parse_yaml("f", text, problems)

    assert document is not None or problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
