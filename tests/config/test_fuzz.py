"""Whatever the files hold, they are read or told about; nothing else is raised."""

import contextlib
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor_guard.config import load
from sensor_guard.config.contacts import read_contacts
from sensor_guard.config.homes import read_homes
from sensor_guard.errors import ConfigError
from tests.config.conftest import RIGHT

PIECES = [
    *" \n:,-{}[]\"'#\t0~|>?%@家",
    "&a",
    "*a",
    "!t",
    "no",
    "null",
    ".nan",
    "1e999",
    "\ud800",
    "\u202e",
    "\0",
    "\xa0",
]
EDITS = st.tuples(
    st.sampled_from(sorted(RIGHT)),
    st.integers(0, 600),
    st.integers(0, 12),
    st.sampled_from(PIECES) | st.text(max_size=4),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(EDITS, min_size=1, max_size=3))
def test_edited_configuration_is_read_or_told(edits):
    files = dict(RIGHT)
    for name, place, cut, piece in edits:
        text = files[name]
        start = place % (len(text) + 1)
        files[name] = text[:start] + piece + text[start + cut :]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(ConfigError):
            load(Path(folder) / "config.yaml")


WORDS = [*',;\t\n\r"\0三', "'", "site", "home", "label", "kind", "sensor", "id", "name", "phone", "role", "power"]
TABLES = st.binary(max_size=80) | st.lists(st.sampled_from(WORDS), max_size=60).map(
    lambda words: "".join(words).encode()
)


@settings(max_examples=300, deadline=None)
@given(TABLES)
@example(b'site,home,label,kind,sensor\n"')
@example(b"\x81")
@example("site,home,label,kind,sensor\ns,h,三,power,p".encode("gb18030")[:-10] + b"\x81\xff")
def test_any_bytes_as_a_table_are_read_or_told(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(content)
        for read in (read_homes, lambda path, problems: read_contacts(path, problems, language="zh", homes=None)):
            problems = []
            result = read(path, problems)
            assert (result is None) == bool(problems)
