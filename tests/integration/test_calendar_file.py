from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from scheduler_service import calendar_file
from scheduler_service.calendar_file import (
    Kept,
    compute_calendars,
    merged,
    path_of,
    read_calendars,
    run_market_sessions,
    stale,
    warnings_of,
)
from scheduler_service.calendar_format import calendar_text
from scheduler_service.clock import DAY, from_iso
from scheduler_service.errors import CalendarsNotComputed
from tests.market_support import MADE_AT, new_york

NOW = MADE_AT + DAY
needs_library = pytest.mark.skipif(
    find_spec("exchange_calendars") is None, reason="exchange_calendars is not installed"
)


def answering(text: bytes) -> calendar_file.Compute:
    async def compute(arguments: Sequence[str]) -> bytes:
        return text

    return compute


def failing(why: str) -> calendar_file.Compute:
    async def compute(arguments: Sequence[str]) -> bytes:
        raise CalendarsNotComputed(why)

    return compute


def printed(**others: object) -> bytes:
    return json.dumps({"XNYS": json.loads(calendar_text(replace(new_york(), made_at=None)))} | others).encode()


async def test_what_was_computed_is_kept_and_read_again(tmp_path: Path) -> None:
    fresh = await compute_calendars(tmp_path / "calendars", ["XNYS"], NOW, compute=answering(printed()))
    assert fresh.problems == {}
    assert fresh.calendars == {"XNYS": replace(new_york(), made_at=NOW)}
    kept = await read_calendars(tmp_path / "calendars", ["XNYS", "XLON"])
    assert kept == fresh
    assert stale(kept, ["XNYS", "XLON"], NOW) == ["XLON"]
    assert kept.calendar("XLON").last_day is None


async def test_dates_around_now_are_asked_for(tmp_path: Path) -> None:
    asked: list[str] = []

    async def compute(arguments: Sequence[str]) -> bytes:
        asked.extend(arguments)
        return printed()

    await compute_calendars(tmp_path, ["XNYS"], from_iso("2026-11-23T12:00:00Z"), compute=compute)
    assert asked == ["XNYS", "--from", "2025-10-19", "--to", "2029-01-31"]


async def test_one_exchange_that_fails_costs_the_others_nothing(tmp_path: Path) -> None:
    answer = printed(XLON={"error": "NotImplementedError: not today"}, XTKS={"format": 1}, XPAR=5)
    names = ["XLON", "XNYS", "XPAR", "XSWX", "XTKS"]
    fresh = await compute_calendars(tmp_path, names, NOW, compute=answering(answer))
    assert set(fresh.calendars) == {"XNYS"}
    assert "NotImplementedError: not today" in fresh.problems["XLON"]
    assert "lacks" in fresh.problems["XTKS"]
    assert set(fresh.problems) == {"XLON", "XPAR", "XSWX", "XTKS"}
    assert [path.name for path in tmp_path.iterdir()] == ["XNYS.json"]


@pytest.mark.parametrize("text", [b"", b"not JSON", b"[]", b"5", b"[" * 5000, printed()[:9000], b"\xff"])
async def test_what_cannot_be_read_is_a_problem_and_what_was_known_stays(tmp_path: Path, text: bytes) -> None:
    before = await compute_calendars(tmp_path, ["XNYS"], NOW, compute=answering(printed()))
    fresh = await compute_calendars(tmp_path, ["XNYS"], NOW + DAY, compute=answering(text))
    assert fresh.calendars == {}
    assert "was not computed" in fresh.problems["XNYS"]
    after = merged(before, fresh)
    assert after.calendars == before.calendars
    assert after.problems == fresh.problems
    assert (await read_calendars(tmp_path, ["XNYS"])).calendars == before.calendars


async def test_a_calendar_of_another_exchange_is_not_taken_for_it(tmp_path: Path) -> None:
    wrong = json.dumps({"XLON": json.loads(printed())["XNYS"]}).encode()
    fresh = await compute_calendars(tmp_path, ["XLON"], NOW, compute=answering(wrong))
    assert "the calendar of XNYS, not of XLON" in fresh.problems["XLON"]
    path_of(tmp_path, "XLON").write_bytes(calendar_text(new_york()))
    assert "the calendar of XNYS" in (await read_calendars(tmp_path, ["XLON"])).problems["XLON"]


async def test_a_damaged_file_is_a_problem_and_as_good_as_none(tmp_path: Path) -> None:
    path_of(tmp_path, "XNYS").write_bytes(calendar_text(new_york())[:4000])
    path_of(tmp_path, "24/7").mkdir()
    kept = await read_calendars(tmp_path, ["XNYS", "24/7"])
    assert kept.calendars == {}
    assert set(kept.problems) == {"XNYS", "24/7"}
    assert "will be computed anew" in kept.problems["XNYS"]
    assert stale(kept, ["XNYS"], NOW) == ["XNYS"]


async def test_a_calendar_that_cannot_be_written_still_holds(tmp_path: Path) -> None:
    path_of(tmp_path, "XNYS").mkdir()
    fresh = await compute_calendars(tmp_path, ["XNYS"], NOW, compute=answering(printed()))
    assert fresh.calendars["XNYS"].last_day == new_york().last_day
    assert "could not be written" in fresh.problems["XNYS"]


def test_a_missing_calendar_and_one_that_ends_soon_are_warned_of() -> None:
    kept = Kept({"XNYS": new_york()}, {"XLON": "its calendar was not computed: no"})
    (missing,) = warnings_of(kept, ["XNYS", "XLON"], NOW)
    assert missing.startswith("XLON: its holidays and half days are not known (its calendar was not computed: no)")
    assert "08:00-16:30 Europe/London" in missing
    (ending,) = warnings_of(kept, ["XNYS"], from_iso("2027-12-01T21:00:00Z"))
    assert "ends on 2027-12-31, in 30 days" in ending
    (ended,) = warnings_of(kept, ["XNYS"], from_iso("2028-01-05T21:00:00Z"))
    assert "are not known" in ended


@needs_library
@pytest.mark.timeout(120)
async def test_the_real_process_computes_and_the_service_never_loads_pandas(tmp_path: Path) -> None:
    kept = await compute_calendars(tmp_path, ["24/7", "XNYS", "XTKS"], from_iso("2026-11-23T12:00:00Z"))
    assert kept.problems == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["24-7.json", "XNYS.json", "XTKS.json"]
    session = kept.calendars["XNYS"].session_at(from_iso("2026-11-27T17:59:59Z"))
    assert session is not None
    assert session.early
    assert kept.calendars["XNYS"].session_at(session.close) is None
    assert stale(kept, kept.calendars, from_iso("2026-11-23T12:00:00Z")) == []
    assert "pandas" not in sys.modules


async def test_a_process_that_takes_too_long_is_ended() -> None:
    with pytest.raises(CalendarsNotComputed, match=r"ended after 0\.01 s"):
        await run_market_sessions(["XNYS", "--from", "2026-01-01", "--to", "2026-12-31"], deadline=0.01)


async def test_a_process_that_is_cancelled_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def watched(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watched)
    computing = asyncio.create_task(run_market_sessions(["XNYS", "--from", "2026-01-01", "--to", "2026-12-31"]))
    while not started:
        await asyncio.sleep(0)
    computing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await computing
    assert started[0].returncode is not None


async def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(CalendarsNotComputed, match=r"write the exchanges, --from and --to|not installed"):
        await run_market_sessions(["XNYS"])


async def test_no_secret_is_handed_to_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERPLEXITY_API_KEY", "not-for-others")
    script = tmp_path / "market_sessions.py"
    script.write_text("import json, os; print(json.dumps(dict(os.environ)))", encoding="utf-8")
    monkeypatch.setattr(calendar_file, "_SCRIPT", script)
    environment = json.loads(await run_market_sessions([]))
    assert "not-for-others" not in environment.values()
    assert environment["PATH"] == os.environ["PATH"]


async def test_where_the_process_cannot_be_started_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    fresh = await compute_calendars(tmp_path, ["XNYS"], NOW)
    assert "did not start" in fresh.problems["XNYS"]


async def test_a_failing_process_leaves_every_exchange_with_a_problem(tmp_path: Path) -> None:
    fresh = await compute_calendars(tmp_path, ["XLON", "XNYS"], NOW, compute=failing("no memory"))
    assert fresh == Kept({}, dict.fromkeys(["XLON", "XNYS"], "its calendar was not computed: no memory"))
