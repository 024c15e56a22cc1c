"""What a person does about failures: has a stock asked for again, or its kept answers parsed anew."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.commands import free_port, running, said

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

QUICK = {
    "SCHEDULER_PROVIDERS__FEEDS__REQUESTS_PER_MINUTE": "6000",
    "SCHEDULER_PROVIDERS__EDGAR__REQUESTS_PER_SECOND": "10",
    "SCHEDULER_PROVIDERS__SANDBOX__LATENCY": "1ms",
    "SCHEDULER_WATCHLIST": '["AAPL", "NOSUCH"]',
    "SCHEDULER_SCHEDULES": '[{"id": "daily", "domain": "earnings", "trigger": {"every": "1d"}}]',
}


async def asked(folder: Path, settings: Mapping[str, str], *arguments: str) -> tuple[int, Any]:
    told = await said(folder, *arguments, "--json", settings=settings)
    assert told.code in (0, 1), told
    return told.code, json.loads(told.out)


async def test_a_stock_is_let_go_and_kept_answers_are_parsed_anew(tmp_path: Path) -> None:
    settings = QUICK | {"SCHEDULER_HTTP__PORT": str(free_port())}
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("initial earnings: done")
        code, skipped = await asked(tmp_path, settings, "fetch", "earnings", "NOSUCH", "--source", "edgar")
        assert (code, skipped["tasks"][0]["reason"]) == (1, "backing_off")
        _, why = await asked(tmp_path, settings, "why", "daily", "NOSUCH")
        assert "it failed (unknown_symbol)" in json.dumps(why)
        _, released = await asked(tmp_path, settings, "release", "nosuch", "earnings")
        assert "earnings from edgar (backing_off, unknown_symbol)" in released["released"]
        assert "NOSUCH is asked for again at its next slots" in service.log
        _, again = await asked(tmp_path, settings, "fetch", "earnings", "NOSUCH", "--source", "edgar")
        assert again["tasks"][0]["reason"] == "unknown_symbol"
        mistaken = await said(tmp_path, "release", "NOSUHC", settings=settings)
        assert mistaken.code == 2
        assert "NOSUHC: it is not watched, and nothing is known of it; did you mean NOSUCH?" in mistaken.err
        code, reparsed = await asked(tmp_path, settings, "fetch", "earnings", "AAPL", "--source", "edgar", "--reparse")
        assert (code, reparsed["unchanged"]) == (0, 1)
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
    code, reparsed = await asked(tmp_path, settings, "fetch", "earnings", "AAPL", "--source", "edgar", "--reparse")
    assert (code, reparsed["unchanged"]) == (0, 1)
    _, told = await asked(tmp_path, settings, "history", "--symbol", "AAPL")
    kept = next(task for task in told["tasks"] if task["origin"] == "reparse")
    assert {call["how"] for call in kept["calls"]} == {"kept"}
    stopped = await said(tmp_path, "release", "NOSUCH", settings=settings)
    assert stopped.code == 3
    both = await said(tmp_path, "fetch", "earnings", "AAPL", "--force", "--reparse", settings=settings)
    assert both.code == 2
    assert "--reparse asks nobody, --force asks again: give one of them" in both.err
