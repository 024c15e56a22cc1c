"""What the documentation says is so: its commands run, its excerpts are real, what it names exists."""

from __future__ import annotations

import json
import re
import shlex
import signal
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.cli.commands import cli
from scheduler_service.stores.notice_schema import METADATA
from tests.acceptance.commands import ROOT, document, documents, free_port, running, said, until

if TYPE_CHECKING:
    from pathlib import Path

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENDLESS = "run"
ONCE = "init"
NEED_THE_SERVICE = {"status", "reload", "pause", "resume", "run-now"}
QUICK = {
    "SCHEDULER_PROVIDERS__FEEDS__REQUESTS_PER_MINUTE": "6000",
    "SCHEDULER_PROVIDERS__EDGAR__REQUESTS_PER_SECOND": "10",
    "SCHEDULER_PROVIDERS__FINNHUB__REQUESTS_PER_MINUTE": "6000",
    "SCHEDULER_PROVIDERS__PERPLEXITY__REQUESTS_PER_MINUTE": "6000",
    "SCHEDULER_PROVIDERS__SANDBOX__LATENCY": "1ms",
}

pytestmark = pytest.mark.timeout(300)


def blocks(kind: str) -> list[str]:
    return [text for language, text in BLOCK.findall(README) if language == kind]


def commands() -> list[list[str]]:
    """The arguments of every ``scheduler-service`` command of the README that ends by itself."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("scheduler-service ")]
    assert len(lines) > 5
    return [words for line in lines if not {ENDLESS, ONCE} & {*(words := shlex.split(line)[1:])}]


def plain(text: str) -> str:
    """Without what differs from run to run: numbers, and where the data lies."""
    return re.sub(r"\d[\d.,]*", "0", re.sub(r"are in \S+/documents/", "are in /documents/", text))


async def test_the_readme_shows_what_happens_and_its_commands_work(tmp_path: Path) -> None:
    settings = QUICK | {"SCHEDULER_HTTP__PORT": str(free_port())}
    async with running(tmp_path, settings=settings) as service:
        for domain in ("news", "earnings", "fundamentals", "quotes"):
            await service.until_it_says(f"initial {domain}: done")
        await until(lambda: len(documents(tmp_path / "data")) == 32, "all documents")
        for arguments in commands():
            told = await said(tmp_path, *arguments, settings=settings)
            assert told.code == 0, (arguments, told)
            assert told.out
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
    happened = set(map(plain, service.log.splitlines()))
    (excerpt,) = blocks("text")
    assert [line for line in excerpt.splitlines() if line != "..." and plain(line) not in happened] == []
    _check_shown_document(document(tmp_path / "data", "earnings", "AAPL"))

    for arguments in {arguments[0]: arguments for arguments in commands()}.values():
        told = await said(tmp_path, *arguments, settings=settings)
        assert told.code == (3 if NEED_THE_SERVICE & {*arguments} else 0), (arguments, told)


async def test_going_live_takes_the_steps_that_the_readme_names(tmp_path: Path) -> None:
    (line,) = [line for block in blocks("sh") for line in block.splitlines() if " init " in line]
    assert (await said(tmp_path, *shlex.split(line)[1:])).code == 0
    key = {"PERPLEXITY_API_KEY": "pplx-made-up-for-this-test"}
    for settings, calls in (({}, 0), (key, 1)):
        accepted = await said(tmp_path, "--config", "config/scheduler.yaml", "check", "--json", settings=settings)
        assert accepted.code == 0, accepted
        plans = json.loads(accepted.out)
        assert plans["sandbox"] is False
        assert sum(one["provider"] == "perplexity" for one in plans["estimate"]) == calls


def test_the_readme_lists_the_commands_there_are() -> None:
    section = README.partition("## Commands")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)[^|]*` \|", section, re.MULTILINE)
    assert sorted(set(rows)) == sorted(cli.commands)


def test_every_table_of_the_ledger_is_explained_and_no_other() -> None:
    text = (ROOT / "docs/ledger.md").read_text(encoding="utf-8")
    tables = text.partition("## Tables")[2].partition("## Promises")[0]
    explained = {
        *re.findall(r"^\| `(\w+)` \|", tables, re.MULTILINE),
        *re.findall(r"^`(\w+)` says", tables, re.MULTILINE),
    }
    assert explained == METADATA.tables.keys()


def test_every_module_has_its_place_among_the_layers() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    layers = text.partition("## The layers")[2].partition("```text\n")[2].partition("```")[0]
    found = (ROOT / "scheduler_service").glob("[a-z]*")
    modules = {path.stem for path in found if path.suffix == ".py" or (path / "__init__.py").exists()}
    placed = {name for line in layers.splitlines() for name in re.findall(r"\w+", line.split("  ")[0])}
    assert placed == {*modules, "__main__"}


def test_every_file_that_the_documentation_names_is_there() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        linked = [page.parent / link for link in re.findall(r"\]\(([\w./-]+)\)", text)]
        code = [ROOT / "scheduler_service" / name for name in re.findall(r"`([a-z_/]+(?:\.py|/))`", text)]
        folders = {"documents/", "raw/", "backups/"}
        there = [path.exists() or (ROOT / path.relative_to(ROOT / "scheduler_service")).exists() for path in code]
        missing = [path for path, exists in zip(code, there, strict=True) if not exists]
        assert [path for path in linked if not path.exists()] == []
        assert [path for path in missing if f"{path.name}/" not in folders] == []


def _check_shown_document(found: dict[str, Any]) -> None:
    """The README's document is the real one, cut to its first report."""
    (block,) = blocks("json")
    shown: dict[str, Any] = json.loads(block)
    assert shown["data"].keys() == found["data"].keys()
    (report,) = shown["data"]["reports"]
    assert _without_times(report) == _without_times(found["data"]["reports"][0])
    assert _without_times(shown | {"data": None}) == _without_times(found | {"data": None})


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: None if key.endswith("_at") or key == "call_id" else _without_times(v) for key, v in value.items()}
    return value
