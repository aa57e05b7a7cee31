"""The people, their numbers and what they cover."""

from pathlib import Path

import pytest

from sensor_guard.config.contacts import Role, check_phone, read_contacts
from sensor_guard.config.homes import read_homes


def read(content, name="c.yaml", *, mode=0o640, homes=None):
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    problems = []
    contacts = read_contacts(path, problems, language="zh", homes=homes)
    return contacts, [str(problem) for problem in problems]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


SUN = '  - {id: sun, name: 孙工, phone: "+8613800000002", role: maintainer}\n'


def test_person_without_language_reads_the_box_s_and_covers_everything():
    contacts, _ = read("contacts:\n" + SUN)

    sun = contacts.entries["sun"]
    assert (sun.language, sun.role, sun.covers) == ("zh", Role.MAINTAINER, (("all", ""),))


def test_name_and_number_are_not_in_the_repr():
    contacts, _ = read("contacts:\n" + SUN)

    assert repr(contacts.entries["sun"]) == "Contact('sun')"


@pytest.mark.parametrize("phone", ["+8613812345678", "+15005550006", "+447400123456", "+85261234567", "+819012345678"])
def test_real_numbers_are_taken(phone):
    assert check_phone(phone)[0] is None


def test_landline_is_doubtful():
    assert check_phone("+442071234567") == (None, "is a landline, which takes no texts; write a mobile number")


@pytest.mark.parametrize(
    "phone",
    ["", "+", "+86", "13800000000", "+86-13800000000", "+0013800000000", "+861380000000\n", "+８６13800000000"],
)
def test_what_is_no_number_is_refused(phone):
    assert check_phone(phone)[0]


def test_spreadsheet_s_damage_is_told_by_row_and_column():
    _, problems = read(
        "id,name,phone,language,role,covers\n"
        "a,A,8613800000001,zh,worker,\n"
        "b,B,13800000001,zh,worker,\n"
        "c,C,8.6138E+12,zh,worker,\n"
        "d,D,+8613800000001,zh,维护,site:s1 site:s2\n",
        "c.csv",
    )

    assert problems == [
        "c.csv:2:3: phone: '8613800000001': the + is missing (a spreadsheet drops it: format the column as text); "
        "write +8613800000001",
        "c.csv:3:3: phone: '13800000001': the country code is missing; write +8613800000001 for a number in China",
        "c.csv:4:3: phone: 8.6138E+12: a spreadsheet has rounded this number; format the column as text and write it "
        "again",
    ]


def test_table_says_the_same_as_yaml():
    table, problems = read("编号,姓名,电话,角色,负责范围\nsun,孙工,+8613800000002,维护,site:s1;home:h2\n", "c.csv")
    tree, _ = read("contacts:\n" + SUN.replace("}", ', covers: ["site:s1", "home:h2"]}'))

    assert problems == []
    assert table.entries == tree.entries


def test_covers_is_checked_against_the_homes():
    Path("h.csv").write_text("site,building,home,label,kind,sensor\nsun,b1,h301,301,power,p1\n", encoding="utf-8")
    homes = read_homes(Path("h.csv"), [])

    _, problems = read(
        "contacts:\n" + SUN.replace("}", ', covers: ["site:sun", "building:b2", "home:h310"]}'), homes=homes
    )

    assert problems == [
        "c.yaml:2:89: contacts.0.covers.1: there is no building 'b2' among the homes",
        "c.yaml:2:104: contacts.0.covers.2: there is no home 'h310' among the homes; did you mean 'h301'?",
    ]


def test_file_that_everybody_may_read_is_a_warning():
    contacts, _ = read("contacts:\n" + SUN, mode=0o644)

    assert [str(warning) for warning in contacts.warnings] == [
        "c.yaml: everybody on this machine may read names and numbers; run: chmod 640 c.yaml"
    ]


def test_same_number_twice_is_a_warning():
    contacts, _ = read("contacts:\n" + SUN + SUN.replace("id: sun", "id: moon"))

    assert [str(warning) for warning in contacts.warnings] == [
        "c.yaml:3:33: contacts.1.phone: has the same number as sun in line 2: a ladder may tell one person twice"
    ]


def test_one_wrong_person_does_not_hide_what_is_wrong_with_the_next():
    _, problems = read(
        'contacts:\n  - {id: a, name: A, role: worker}\n  - {id: b, name: B, phone: "1", role: worker}\n'
    )

    assert [problem.split(": ")[0] for problem in problems] == ["c.yaml:2:5", "c.yaml:3:29"]
