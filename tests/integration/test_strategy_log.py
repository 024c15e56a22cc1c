"""What was noticed, on disk: each line whole, each entry once, in the file of its month."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_service.clock import DAY, from_iso
from scheduler_service.models import Notice
from scheduler_service.stores.notice_store import NoticeRow
from scheduler_service.stores.strategy_log_store import StrategyLog, read_entries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = from_iso("2026-11-23T14:30:00Z")


def row(number: int, at: int = NOW) -> NoticeRow:
    facts = {"price": "1.20", "provenance": {"source": "edgar"}}
    return NoticeRow(number, Notice(f"key-{number}", "a.b", "Ümläut\nand a line", facts, "AAPL"), at)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[StrategyLog]:
    with ThreadPoolExecutor(1) as pool:
        yield StrategyLog(tmp_path / "log", pool)


def keys(path: Path) -> list[str]:
    return [json.loads(line)["key"] for line in path.read_bytes().splitlines()]


async def test_an_entry_is_a_line_with_its_facts(log: StrategyLog, tmp_path: Path) -> None:
    await log.append([row(1)])
    path = tmp_path / "log" / "2026-11.jsonl"
    [line] = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "key": "key-1",
        "at": "2026-11-23T14:30:00Z",
        "event": "a.b",
        "level": "INFO",
        "symbol": "AAPL",
        "message": "Ümläut\nand a line",
        "facts": {"price": "1.20", "provenance": {"source": "edgar"}},
    }
    assert path.stat().st_mode & 0o777 == 0o600
    [entry] = await read_entries(tmp_path / "log", NOW)
    assert entry.as_json() == json.loads(line)


async def test_months_have_files_of_their_own_and_are_read_in_order(log: StrategyLog, tmp_path: Path) -> None:
    await log.append([row(1), row(2, NOW + 8 * DAY), row(3, NOW + 40 * DAY)])
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == [
        "2026-11.jsonl",
        "2026-12.jsonl",
        "2027-01.jsonl",
    ]
    assert [entry.key for entry in await read_entries(tmp_path / "log", NOW + DAY)] == ["key-2", "key-3"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_wherever_an_append_is_cut_off_the_next_makes_it_whole_and_doubles_nothing(
    log: StrategyLog, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "log" / "2026-11.jsonl"
    path.unlink(missing_ok=True)
    await log.append([row(1)])
    acknowledged = path.stat().st_size
    await log.append([row(2), row(3)])
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(acknowledged, len(whole)))])
    await log.append([row(2), row(3), row(4)])
    assert keys(path) == ["key-1", "key-2", "key-3", "key-4"]


async def test_a_long_batch_that_was_cut_off_before_it_was_acknowledged_is_not_doubled(
    log: StrategyLog, tmp_path: Path
) -> None:
    """However many bytes it has."""
    long = [NoticeRow(n, Notice(f"long-{n}", "a.b", "m" * 100_000, {}, "AAPL"), NOW) for n in range(25)]
    await log.append(long)
    await log.append([*long, row(1)])
    assert keys(tmp_path / "log" / "2026-11.jsonl") == [*(f"long-{n}" for n in range(25)), "key-1"]


async def test_lines_that_somebody_broke_are_passed_over(log: StrategyLog, tmp_path: Path) -> None:
    await log.append([row(1)])
    path = tmp_path / "log" / "2026-11.jsonl"
    path.write_bytes(b"not json\n[1]\n{}\n" + path.read_bytes())
    await log.append([row(2)])
    assert [entry.key for entry in await read_entries(tmp_path / "log", 0)] == ["key-1", "key-2"]


async def test_a_link_in_the_place_of_the_log_is_not_followed(log: StrategyLog, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "victim").write_text("mine\n")
    (tmp_path / "log" / "2026-11.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        await log.append([row(1)])
    assert (tmp_path / "victim").read_text() == "mine\n"
