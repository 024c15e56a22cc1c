"""A pause as a user makes it: through the running service, beyond its death, and ended again."""

from __future__ import annotations

import json
import re
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
    "SCHEDULER_WATCHLIST": '["AAPL"]',
    "SCHEDULER_SCHEDULES": '[{"id": "often", "domain": "news", "trigger": {"every": "1s"}, "overlap": "skip"}]',
}


async def asked(folder: Path, settings: Mapping[str, str], *arguments: str) -> Any:
    told = await said(folder, *arguments, "--json", settings=settings)
    assert told.code in (0, 1), told
    return json.loads(told.out)


async def test_a_pause_outlives_a_crash_is_told_everywhere_and_ends_when_someone_says_so(tmp_path: Path) -> None:
    settings = QUICK | {"SCHEDULER_HTTP__PORT": str(free_port())}
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("ready after")
        unknown = await said(tmp_path, "pause", "oftn", settings=settings)
        assert unknown.code == 2
        assert "oftn: there is no such schedule; did you mean often?" in unknown.err
        paused = await asked(tmp_path, settings, "pause", "often", "--reason", "moving")
        assert paused["message"].startswith("often is paused until someone resumes it")
        assert "often is paused until someone resumes it: moving" in service.log
        (pause,) = (await asked(tmp_path, settings, "status"))["pauses"]
        assert (pause["schedule_id"], pause["until"], pause["reason"]) == ("often", None, "moving")
        service.send(signal.SIGKILL)
        await service.ended()
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("ready after")
        assert (await asked(tmp_path, settings, "status"))["pauses"] == [pause]
        text = (await said(tmp_path, "status", settings=settings)).out
        assert f"Paused: often since {pause['since']}, until someone resumes: moving" in text
        why = await asked(tmp_path, settings, "why", "often", "AAPL")
        assert why["running"] is True
        assert why["answer"].startswith("often: it is paused since ")
        assert why["answer"].endswith("until someone resumes it: moving")
        resumed = await asked(tmp_path, settings, "resume", "often")
        assert (resumed["message"], resumed["pauses"]) == ("often is no longer paused", [])
        slots = (await asked(tmp_path, settings, "history", "--status", "skipped"))["slots"]
        assert slots
        assert {slot["reason"] for slot in slots} == {"paused"}
        then = await asked(tmp_path, settings, "why", "often", "--at", slots[0]["due_at"])
        assert "it was skipped (paused): it was paused" in then["answer"]
        again = await asked(tmp_path, settings, "resume", "often")
        assert again["message"] == "often was not paused by itself"
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
    stopped = await said(tmp_path, "resume", "--all", settings=settings)
    assert stopped.code == 3
    last = await asked(tmp_path, settings, "why", "often", "--at", slots[0]["due_at"])
    assert last["answer"] == then["answer"], "with or without a service"


async def test_everything_can_be_paused_for_a_while(tmp_path: Path) -> None:
    settings = QUICK | {"SCHEDULER_HTTP__PORT": str(free_port())}
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("ready after")
        paused = await asked(tmp_path, settings, "pause", "--all", "--for", "2h")
        assert re.search(r" until \S+Z \(\w{3} \d\d:\d\d E[SD]T\); ", paused["message"])
        assert [p["schedule_id"] for p in paused["pauses"]] == [None]
        assert paused["pauses"][0]["until"] is not None
        await asked(tmp_path, settings, "pause", "often")
        one = await asked(tmp_path, settings, "resume", "often")
        assert one["message"].endswith("everything is paused still: scheduler-service resume --all")
        await asked(tmp_path, settings, "pause", "often")
        every = await asked(tmp_path, settings, "resume", "--all")
        assert (every["message"], every["pauses"]) == ("everything is no longer paused", [])
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
