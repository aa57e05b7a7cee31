"""Every kind of mistake is told where it stands, with the way out. The corpus is mistakes.txt."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

CORPUS = Path(__file__).with_name("mistakes.txt")


class Mistake(NamedTuple):
    name: str
    file: str
    old: str | None
    new: str
    said: list[str]


def corpus() -> list[Mistake]:
    cases: list[Mistake] = []
    for block in CORPUS.read_text(encoding="utf-8").split("\n=== ")[1:]:
        head, *lines = block.split("\n")
        name, _, file = head.rpartition(", ")
        old = [line[2:] for line in lines if line.startswith("-")]
        new = [line[2:] for line in lines if line.startswith("+")]
        said = [line[2:] for line in lines if line.startswith(">")]
        assert said, f"{name}: what is said about it?"
        text = re.sub(r"<U\+([0-9A-F]{4})>", lambda found: chr(int(found[1], 16)), "\n".join(new))
        cases.append(Mistake(name, file, "\n".join(old) if old else None, text, said))
    return cases


@pytest.mark.parametrize("mistake", corpus(), ids=lambda mistake: mistake.name.replace(" ", "_"))
def test_mistake_is_told_with_its_place_and_the_way_out(folder, mistake):
    if mistake.old is None:
        folder.write(mistake.file, mistake.new + "\n" if mistake.new else "")
    else:
        folder.edit(mistake.file, mistake.old, mistake.new)

    assert folder.problems() == mistake.said


def test_every_mistake_of_the_corpus_has_a_name_of_its_own():
    names = [mistake.name for mistake in corpus()]

    assert len(names) == len(set(names))
    assert len(names) >= 200


def test_the_small_configuration_itself_is_right(folder):
    assert folder.problems() == []


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "config.yaml",
            "a: " + "[" * 500 + "]" * 500,
            "config.yaml:1:24: a.0.0: nested deeper than 20 levels; this cannot be meant",
        ),
        (
            "config.yaml",
            "a: " + "{" * 100_000,
            "config.yaml:1:25: a: nested deeper than 20 levels; this cannot be meant",
        ),
        (
            "config.yaml",
            "# " + "x" * 8_400_000,
            "config.yaml: is larger than 8192 KiB; keep long lists of homes in a CSV file, rules in several files",
        ),
        ("config.yaml", "gateway: box1\n".encode("utf-16"), "config.yaml: is UTF-16; save it as UTF-8"),
        (
            "contacts.yaml",
            "# ok\n联系人: 王芳\n".encode("gb18030"),
            "contacts.yaml:2:1: is not UTF-8 from here on (byte 0xC1); save the file with the encoding UTF-8",
        ),
        (
            "homes.csv",
            b"PK\x03\x04\x14\0",
            "homes.csv: is a workbook, not a table; in the spreadsheet choose Save as, 'CSV UTF-8'",
        ),
        (
            "homes.csv",
            "site\thome\n".encode("utf-16"),
            "homes.csv: is UTF-16 ('Unicode text'); in the spreadsheet choose Save as, 'CSV UTF-8'",
        ),
        (
            "homes.csv",
            "site,building,home,label,kind,sensor\ns1,b1,h1,阳光小区三号楼".encode() + b"\xe5\x9b,power,p1\n",
            "homes.csv:2:4: is UTF-8 with damaged characters, the first of them here; save it again as 'CSV UTF-8'",
        ),
    ],
)
def test_file_that_is_no_text_or_a_bomb_is_refused(folder, file, content, said):
    folder.write(file, content)

    assert said in folder.problems()


def test_number_of_five_thousand_digits_is_refused(folder):
    folder.edit("config.yaml", "rules: rules/", "rules: rules/\nmqtt: {port: " + "9" * 5_000 + "}")

    assert folder.problems() == [f"config.yaml:6:14: mqtt.port: write a whole number, not '{'9' * 35}...'"]


def test_everything_wrong_in_every_file_is_told_at_once(folder):
    folder.edit("config.yaml", "gateway: box1", "gatway: box1").edit("config.yaml", "after: 0m", "after: 0")
    folder.edit("homes.csv", "power", "powr").edit("homes.csv", "h1", "h 1")
    folder.edit("contacts.yaml", '"+8613800000001"', "13800000001").edit("contacts.yaml", "maintainer", "fixer")
    folder.edit("rules/r.yaml", "12h", "12 hours").edit("rules/r.yaml", "warning", "bad")

    said = folder.problems()

    assert [line.split(": ")[0] for line in said] == [
        "config.yaml:1:1",
        "config.yaml:1:1",
        "config.yaml:8:43",
        "contacts.yaml:2:33",
        "contacts.yaml:3:56",
        "homes.csv:2:3",
        "homes.csv:2:5",
        "rules/r.yaml:4:42",
        "rules/r.yaml:5:15",
    ]


def test_ten_thousand_wrong_rows_are_not_ten_thousand_lines(folder):
    rows = "".join(f"s1,b1,h{number},3-301,powr,p1,,,,,\n" for number in range(10_000))
    folder.edit("homes.csv", "s1,b1,h1,3-301,power,p1,,,,,\n", rows)

    said = folder.problems()

    assert len(said) == 101
    assert said[-1] == "homes.csv: 9,900 more problems in this file are not shown; correct these first"


def test_config_that_is_not_there_is_told(folder):
    Path("config.yaml").unlink()

    assert folder.problems() == [
        "config.yaml: no such file; check the spelling (a relative path counts from the folder of config.yaml)"
    ]


def test_rules_folder_without_rules_is_told(folder):
    Path("rules/r.yaml").rename("rules/r.txt")

    assert folder.problems() == ["rules: holds no .yaml file; put the rules here"]
