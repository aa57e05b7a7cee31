"""The last good configuration: copies of the operator's files as they were when the daemon last took them in.

They stand in the folder ``last_good`` beside the journal, for the service alone (0700), because the contacts are
among them and the journal must not hold names and numbers. A start with wrong files runs on them, and a start with
unchanged files reads their compiled form instead of checking everything again.

    last_good/current                   the name of the folder that counts
    last_good/<name>/manifest.json      which files these are, by hash, and which program compiled them
    last_good/<name>/{config.yaml, homes.csv, contacts.yaml, rules/*.yaml}   verbatim
    last_good/<name>/compiled.jsonl     see ``compiled``
    last_good/<name>/plan.json          the plan's canonical text, for the journal

A folder is written, and synced, before ``current`` names it: there is a whole one at any moment.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sensor_guard import __version__
from sensor_guard.config.canonical import WrittenPlan, plan_to_text
from sensor_guard.config.compiled import read_compiled, write_compiled
from sensor_guard.config.contacts import Contacts
from sensor_guard.config.homes import Homes
from sensor_guard.config.rules import RuleBook, rule_files
from sensor_guard.config.settings import JournalSettings, RuntimeSettings, Settings
from sensor_guard.config.shape import validated
from sensor_guard.config.source import Document, read_yaml
from sensor_guard.config.whole import Config, Places, load, named_places
from sensor_guard.engine.plan import Plan, Rule
from sensor_guard.errors import ConfigError, Problem
from sensor_guard.model import GATEWAY

FORM = 1
FOLDER = "last_good"
_MANIFEST_LIMIT = 4 * 1024 * 1024
_CHUNK = 1024 * 1024

Hashes = Mapping[str, str]
"""The absolute path of every file of a configuration, and the sha256 of what is in it."""


class FilesChangingError(Exception):
    """Somebody is writing the files at this very moment; read them again."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a daemon runs on.

    ``problems``: what is wrong with the present files; the configuration is then the last good one. ``kept``: the name
    of the folder that it was read from, "" when it was checked afresh and is to be kept. ``hashes``: of the present
    files, None where one cannot be read.
    """

    config: Config
    written: WrittenPlan
    problems: tuple[Problem, ...] = ()
    kept: str = ""
    hashes: Hashes | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """One folder of copies."""

    folder: Path
    config_path: str
    program: str
    hashes: Hashes
    plan_hash: str
    compiled_hash: str

    @property
    def name(self) -> str:
        """Its name below ``last_good``."""
        return self.folder.name

    def is_of(self, path: Path) -> bool:
        """Say whether these are copies of what this config.yaml names."""
        return self.config_path == str(path.absolute())

    def has(self, hashes: Hashes | None) -> bool:
        """Say whether these are copies of the present files, compiled by this program."""
        return hashes is not None and dict(hashes) == dict(self.hashes) and self.program == program_print()

    def reading(self) -> Generator[None, None, Config]:
        """Read the configuration, a piece for each step of the generator.

        Raises:
            ConfigError: another program compiled it, and for this one the copies are wrong.
            OSError, ValueError, LookupError, TypeError: the folder is damaged.
        """
        path = Path(self.config_path)
        if self.program != program_print():
            return load(path, copies=self._places())
        compiled = self.folder / "compiled.jsonl"
        if _hash_of(compiled) != self.compiled_hash:
            raise ValueError(f"{compiled} is damaged")
        settings = _settings_of(self.folder / "config.yaml", path.parent)

        def finish(
            homes: Homes, contacts: Contacts, rules: tuple[Rule, ...], plan: Plan, warnings: tuple[Problem, ...]
        ) -> Config:
            files = tuple(Path(name) for name in self.hashes)
            return Config(path, settings, homes, contacts, RuleBook(rules), plan, warnings, files)

        with compiled.open(encoding="utf-8") as lines:
            return (yield from read_compiled(lines, finish))

    def read(self) -> Config:
        """Read the configuration at once; see ``reading``."""
        return _finished(self.reading())

    def written(self, plan: Plan) -> WrittenPlan:
        """Give the plan with its text as it stands here."""
        if self.program != program_print():
            return WrittenPlan.of(plan)

        def text() -> str:
            try:
                return (self.folder / "plan.json").read_text(encoding="utf-8")
            except OSError:
                return plan_to_text(plan)

        return WrittenPlan(plan, self.plan_hash, text)

    def _places(self) -> Places:
        (homes,) = self.folder.glob("homes.*")
        (contacts,) = self.folder.glob("contacts.*")
        return Places(self.folder / "config.yaml", homes, contacts, self.folder / "rules")


class LastGood:
    """The folder of folders. ``store``, then ``make_current``; what is not current goes with the next one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def beside(cls, journal: Path) -> "LastGood":
        """Give the one that belongs to this journal."""
        return cls(journal.parent / FOLDER)

    def current(self) -> Kept | None:
        """Give what was kept last; None where there is nothing, or nothing that can be used."""
        try:
            name = (self.folder / "current").read_text(encoding="ascii").strip()
            return self.named(name) if re.fullmatch(r"[0-9a-f]{16}", name) else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def named(self, name: str) -> Kept:
        """Give one folder.

        Raises:
            OSError, ValueError, LookupError, TypeError: it is not there, or damaged.
        """
        with (self.folder / name / "manifest.json").open("rb") as stream:
            row = json.loads(stream.read(_MANIFEST_LIMIT))
        if row["form"] != FORM:
            raise ValueError(f"{name} was written by another version")
        return Kept(self.folder / name, row["config"], row["program"], row["files"], row["plan"], row["compiled"])

    def store(self, config: Config, hashes: Hashes) -> Kept:
        """Copy the files of ``config`` and write its compiled form, without making it current yet.

        hashes: of the files before they were read.

        Raises:
            FilesChangingError: the copies differ from that: somebody is writing the files.
            OSError: the disk is full, or the folder may not be written.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        name = _name_of(hashes)
        target = self.folder / name
        if (self.folder / "current").exists() and self._is_whole(target, hashes):
            return self.named(name)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(mode=0o700)
        written = WrittenPlan.of(config.plan)
        self._copy(config, hashes, target)
        _write(target / "plan.json", (written.text(),))
        _write(target / "compiled.jsonl", (f"{line}\n" for line in write_compiled(config)))
        manifest = {
            "form": FORM,
            "config": str(config.path.absolute()),
            "program": program_print(),
            "files": dict(hashes),
            "plan": written.plan_hash,
            "compiled": _hash_of(target / "compiled.jsonl"),
        }
        _write(target / "manifest.json", (json.dumps(manifest, ensure_ascii=False),))
        _sync(target)
        _sync(self.folder)
        return self.named(name)

    def make_current(self, name: str) -> None:
        """Let this folder count from now on, and delete the others."""
        _write(self.folder / "current.new", (name,))
        (self.folder / "current.new").replace(self.folder / "current")
        _sync(self.folder)
        for other in self.folder.iterdir():
            if other.is_dir() and other.name != name:
                shutil.rmtree(other, ignore_errors=True)

    def _is_whole(self, target: Path, hashes: Hashes) -> bool:
        try:
            kept = self.named(target.name)
            return kept.has(hashes) and _hash_of(target / "compiled.jsonl") == kept.compiled_hash
        except (OSError, ValueError, LookupError, TypeError):
            return False

    def _copy(self, config: Config, hashes: Hashes, target: Path) -> None:
        (target / "rules").mkdir(mode=0o700)
        rules = {str(file.absolute()) for file in config.book.files}
        for path in map(Path, hashes):
            if str(path) in rules:
                place = target / "rules" / path.name
            elif path == config.settings.homes.absolute():
                place = target / f"homes{path.suffix.lower()}"
            elif path == config.settings.contacts.absolute():
                place = target / f"contacts{path.suffix.lower()}"
            else:
                place = target / "config.yaml"
            with path.open("rb") as source, os.fdopen(_create(place), "wb") as copy:
                shutil.copyfileobj(source, copy, _CHUNK)
                copy.flush()
                os.fsync(copy.fileno())
            if _hash_of(place) != hashes[str(path)]:
                raise FilesChangingError(str(path))
        _sync(target / "rules")


def load_for_service(path: Path) -> Loaded:
    """Load what a daemon is to run on: the files, or their compiled form while they are unchanged, or the last good.

    Raises:
        ConfigError: the files are wrong, and there is no last good configuration.
    """
    hashes = hashes_of(path)
    kept = LastGood.beside(journal_of(path)).current()
    if kept is not None and not kept.is_of(path):
        kept = None
    if kept is not None and kept.has(hashes):
        config = _readable(kept)
        if config is not None:
            return Loaded(config, kept.written(config.plan), kept=kept.name, hashes=hashes)
    try:
        config = load(path)
    except ConfigError as error:
        return _instead(kept, error, tuple(error.problems))
    except Exception as error:  # noqa: BLE001
        # Ours, not the operator's: it must not leave a box that watches nobody, start after start.
        where = f"the program itself has a fault ({type(error).__name__}: {error}); please report it with the files"
        return _instead(kept, error, (Problem(str(path), 0, 0, "", where),))
    return Loaded(config, WrittenPlan.of(config.plan), hashes=hashes)


def _instead(kept: Kept | None, error: Exception, problems: tuple[Problem, ...]) -> Loaded:
    """Give the last good configuration, or raise why there is no present one."""
    config = _readable(kept) if kept is not None else None
    if kept is None or config is None:
        raise error
    return Loaded(config, kept.written(config.plan), problems, kept.name)


def load_for_people(path: Path) -> tuple[Config, ConfigError | None]:
    """Load what a verb for people needs: an alarm can be answered whatever somebody has written into the files.

    Gives the problems of the files, if there are any, with the last good configuration, or, where that may not be
    read, with what is left: where the daemon listens, and no names.
    """
    try:
        loaded = load_for_service(path)
        return loaded.config, ConfigError(list(loaded.problems)) if loaded.problems else None
    except ConfigError as error:
        return _bare(path, error), error


def places_of(path: Path) -> tuple[Places, Document | None]:
    """Say which files this config.yaml names, as far as it can be read."""
    document = read_yaml(path, [])
    return (Places(path), None) if document is None else (named_places(path, document), document)


def hashes_of(path: Path) -> Hashes | None:
    """Hash every file of the configuration; None where one cannot be read or is not named."""
    places, _ = places_of(path)
    if places.homes is None or places.contacts is None or places.rules is None:
        return None
    try:
        files = (path, places.homes, places.contacts, *rule_files(places.rules, []))
        return {str(file.absolute()): _hash_of(file) for file in files}
    except OSError:
        return None


def kept_name(path: Path) -> str:
    """Give the name under which the present files are kept, or would be; "" where one cannot be read."""
    hashes = hashes_of(path)
    return "" if hashes is None else _name_of(hashes)


def journal_of(path: Path) -> Path:
    """Say where the journal of this configuration is, even where config.yaml is wrong."""
    return path.parent / (_named_path(path, "journal", "path") or JournalSettings().path)


def program_print() -> str:
    """Name what turns files into a configuration: another version, or another state of these modules, is another."""
    package = Path(__file__).resolve().parent
    modules = sorted([*package.glob("*.py"), *package.parent.glob("engine/plan.py"), package.parent / "model.py"])
    marks = [(module.name, mark.st_size, mark.st_mtime_ns) for module in modules for mark in (module.stat(),)]
    return f"{__version__}-{hashlib.sha256(repr(marks).encode()).hexdigest()[:16]}"


def _name_of(hashes: Hashes) -> str:
    return hashlib.sha256(json.dumps([program_print(), dict(hashes)]).encode()).hexdigest()[:16]


def _named_path(path: Path, block: str, key: str) -> str:
    _, document = places_of(path)
    if document is not None:
        value = document.at((block, key))
        return value if isinstance(value, str) else ""
    # Not even YAML: look for the line as a person would.
    try:
        text = path.read_text(encoding="utf-8", errors="replace")[:_CHUNK]
    except OSError:
        return ""
    found = re.search(
        rf"^{block}:(?:[ \t]*\{{[^}}\n]*?|[^\n]*\n(?:[ \t]+[^\n]*\n)*?[ \t]+){key}:[ \t]*([^\s,}}#]+)",
        text,
        re.MULTILINE,
    )
    return found[1].strip("\"'") if found else ""


def _settings_of(file: Path, folder: Path) -> Settings:
    problems: list[Problem] = []
    document = read_yaml(file, problems)
    settings = None
    if document is not None:
        settings = validated(Settings, document, (), problems, context={"folder": folder})
    if settings is None:
        raise ConfigError(problems)
    return settings


def _readable(kept: Kept) -> Config | None:
    try:
        return kept.read()
    except (ConfigError, OSError, ValueError, LookupError, TypeError):
        return None


def _bare(path: Path, error: ConfigError) -> Config:
    try:
        settings = _settings_of(path, path.parent)
    except ConfigError:
        # Any: pydantic's way to make a model without its checks; the values are right by their types.
        known: dict[str, Any] = {"gateway": GATEWAY, "timezone": _zone_name(path), "ladders": {}}
        directory = _named_path(path, "runtime", "directory")
        if directory:
            known["runtime"] = RuntimeSettings.model_construct(directory=path.parent / directory)
        known["journal"] = JournalSettings.model_construct(path=journal_of(path))
        settings = Settings.model_construct(**known)
    return Config(path, settings, Homes(), Contacts(), RuleBook(), Plan((), ()), tuple(error.problems), (path,))


def _zone_name(path: Path) -> str:
    try:
        found = re.search(r"^timezone:[ \t]*[\"']?([A-Za-z0-9_+/-]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        return str(ZoneInfo(found[1])) if found else "UTC"
    except (OSError, ValueError, LookupError):
        return "UTC"


def _finished(steps: Generator[None, None, Config]) -> Config:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            config: Config = end.value
            return config


def _hash_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(path: Path, pieces: Iterable[str]) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(_create(path), "w", encoding="utf-8") as out:
        out.writelines(pieces)
        out.flush()
        os.fsync(out.fileno())


def _create(path: Path) -> int:
    # Ours alone from the first moment on, whatever the umask is.
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
