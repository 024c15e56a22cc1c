"""The rules of the house that neither ruff nor import-linter can say."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scheduler_service.alerts.apprise_channel import NEEDED
from scheduler_service.clock import BUILT_AT, from_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "scheduler_service"
MODULES = sorted(PACKAGE.rglob("*.py"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

MOST_LINES = 350
VAGUE_NAMES = re.compile(r"manager|helper|utils?(?![a-z])|misc(?![a-z])", re.IGNORECASE)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def shown(path: Path, node: ast.expr | ast.stmt | None = None) -> str:
    return path.relative_to(ROOT).as_posix() + (f":{node.lineno}" if node else "")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Absolute names; of ``from a import b`` both ``a`` and ``a.b``, as b may be a module."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call):
                yield path, node


def test_a_module_is_short_enough_to_hold_in_the_head() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_a_module_begins_with_the_future_import() -> None:
    def begins(path: Path) -> bool:
        statements = [node for node in tree_of(path).body if not isinstance(node, ast.Expr)]
        return bool(statements) and ast.unparse(statements[0]) == "from __future__ import annotations"

    assert [shown(path) for path in MODULES if not begins(path)] == []


def test_names_say_what_a_thing_is() -> None:
    definitions = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    names = [(path, path.stem) for path in MODULES]
    names += [
        (path, node.name) for path in MODULES for node in ast.walk(tree_of(path)) if isinstance(node, definitions)
    ]
    assert [f"{shown(path)}: {name}" for path, name in names if VAGUE_NAMES.search(name)] == []


def test_nothing_is_left_for_later() -> None:
    assert [shown(path) for path in MODULES if UNFINISHED.search(path.read_text(encoding="utf-8"))] == []


def test_only_the_clock_imports_time() -> None:
    assert [shown(path) for path in MODULES if "time" in imports_of(path)] == ["scheduler_service/clock.py"]


def test_a_release_is_not_older_than_the_clock_it_believes() -> None:
    """A clock before ``BUILT_AT`` is wrong: that day is moved on with each release."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[\d[^]]*\] - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    assert [day for day in released if from_iso(f"{day}T00:00:00Z") > BUILT_AT] == []


def test_feedparser_is_given_bytes_in_memory_only() -> None:
    """It would open a text or bytes argument as a file or an address."""
    for path in MODULES:
        assert not [name for name in imports_of(path) if name.startswith("feedparser.")], shown(path)
    given = [(path, call, call.args[0]) for path, call in calls() if ast.unparse(call.func) == "feedparser.parse"]
    assert given
    for path, call, body in given:
        assert isinstance(body, ast.Call), shown(path, call)
        assert ast.unparse(body.func) in ("io.BytesIO", "BytesIO"), shown(path, call)


def test_certificates_are_always_checked() -> None:
    for path, call in calls():
        off = {k.arg for k in call.keywords if isinstance(k.value, ast.Constant) and k.value.value is False}
        assert not off & {"ssl", "verify", "verify_ssl", "check_hostname"}, shown(path, call)


def declaring(folder: str, base: str) -> dict[str, Path]:
    """The modules of a folder that declare a subclass of ``base``: one domain each."""

    def declares(path: Path) -> bool:
        bases = (b for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef) for b in node.bases)
        return any(ast.unparse(b).split("[")[0] == base for b in bases)

    paths = (path for path in (PACKAGE / folder).glob("*.py") if declares(path))
    return {module_name(path): path for path in paths}


def reachable(start: str, among: Iterable[Path]) -> set[str]:
    """The modules that ``start`` imports, directly or not, by way of ``among``."""
    paths = {module_name(path): path for path in among}
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        for name in imports_of(paths[ahead.pop()]) & paths.keys() - seen:
            seen.add(name)
            ahead.append(name)
    return seen - {start}


PARSERS = declaring("parsers", "Record")
PROCESSORS = declaring("processors", "Processor")
SHARED_BETWEEN = [*(PACKAGE / "parsers").glob("*.py"), *(PACKAGE / "processors").glob("*.py")]


def test_every_domain_is_a_pair_of_files() -> None:
    assert len(PARSERS) == len(PROCESSORS) >= 3


@pytest.mark.parametrize("parser", PARSERS)
def test_a_domains_parser_knows_no_other_domain(parser: str) -> None:
    assert reachable(parser, SHARED_BETWEEN) & (PARSERS.keys() | PROCESSORS.keys()) == set()


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_domains_processor_knows_one_parser_and_no_other_domain(processor: str) -> None:
    known = reachable(processor, SHARED_BETWEEN)
    assert known & PROCESSORS.keys() == set()
    assert len(known & PARSERS.keys()) == 1


def test_no_two_processors_share_a_domains_parser() -> None:
    parsers = [known for processor in PROCESSORS for known in reachable(processor, SHARED_BETWEEN) & PARSERS.keys()]
    assert len(parsers) == len(set(parsers))


def test_what_all_domains_share_names_none_of_them() -> None:
    """Everything shared is keyed by a domain's name, and gets it from a processor or from the configuration."""
    assigned = (
        node.value
        for path in PROCESSORS.values()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Assign | ast.AnnAssign) and "domain" in ast.unparse(node).split("=")[0]
    )
    domains = {value.value for value in assigned if isinstance(value, ast.Constant)}
    assert len(domains) == len(PROCESSORS)
    named = [
        shown(path, node)
        for path in MODULES
        if path.parent.name not in ("parsers", "processors", "sandbox")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and node.value in domains
    ]
    assert named == []


def locked(path: Path) -> dict[str, str]:
    """Name to version of a lock file."""
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize("path", LOCKS, ids=shown)
def test_a_lock_pins_everything_by_hash_and_names_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert re.search(r"^-", text, flags=re.MULTILINE) is None
    assert " @ " not in text
    blocks = re.split(r"\n(?=[a-z])", text.replace("\\\n", " "))
    unhashed = [block.split()[0] for block in blocks if not block.startswith("#") and "--hash=sha256:" not in block]
    assert unhashed == []


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime, dev = locked(ROOT / "requirements/runtime.txt"), locked(ROOT / "requirements/dev.txt")
    alerts = locked(ROOT / "requirements/alerts.txt")
    groups, extra = project["dependency-groups"], project["project"]["optional-dependencies"]["alerts"]
    wanted = [
        *((lock, text) for lock in (alerts, dev) for text in extra),
        *((runtime, text) for text in [*project["project"]["dependencies"], *groups["build"]]),
        *((dev, text) for text in [*project["project"]["dependencies"], *groups["dev"]] if isinstance(text, str)),
    ]
    for lock, text in wanted:
        requirement = Requirement(text)
        version = lock.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement}: run make lock"
        assert requirement.specifier.contains(version), f"{requirement}: run make lock"
    assert runtime.items() <= alerts.items() <= dev.items(), "the locks disagree: run make lock"
    assert extra == [NEEDED], "what `check` says to install is what the extra installs"
