"""Operating the running service by its commands: schedules run now, tasks tried again or given up, old things gone."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.commands import free_port, running, said, until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)

CONFIGURATION: dict[str, Any] = {
    "providers": {"sandbox": {"enabled": True, "latency": "1ms"}, "edgar": {"requests_per_second": 10}},
    "watchlist": ["AAPL", "NVDA"],
    "domains": {"earnings": {"sources": [{"use": "edgar", "fresh_for": "20h"}]}},
    "schedules": [{"id": "morning", "domain": "earnings", "trigger": {"cron": "0 7 * * *"}}],
}


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "scheduler.yaml").write_text(json.dumps(CONFIGURATION))
    return {"SCHEDULER_HTTP__PORT": str(free_port())}


async def asked(folder: Path, settings: Mapping[str, str], *arguments: str, code: int = 0) -> Any:
    told = await said(folder, *arguments, "--json", settings=settings)
    assert told.code == code, told
    return json.loads(told.out)


async def test_the_running_service_is_operated_by_its_commands(tmp_path: Path, settings: dict[str, str]) -> None:
    never = await said(tmp_path, "freshness", settings=settings)
    assert (never.code, never.out) == (1, "")
    assert "ledger" in never.err
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("initial earnings: done")
        fresh = await asked(tmp_path, settings, "freshness")
        assert [(one["symbol"], one["state"]) for one in fresh] == [("AAPL", "fresh"), ("NVDA", "fresh")]
        assert await asked(tmp_path, settings, "freshness", "--breach") == []

        again = await asked(tmp_path, settings, "run-now", "morning")
        assert [(one["symbol"], one["reason"]) for one in again["tasks"]] == [("AAPL", "fresh"), ("NVDA", "fresh")]
        forced = await asked(tmp_path, settings, "run-now", "morning", "NVDA", "--force")
        assert [(one["symbol"], one["state"]) for one in forced["tasks"]] == [("NVDA", "completed")]
        for arguments, why in (
            (("run-now", "mornng"), "mornng: no such schedule is in force; did you mean morning?"),
            (("retry", str(forced["tasks"][0]["task_id"])), "it was completed"),
            (("cancel", "999"), "task 999: there is no such task"),
        ):
            refused = await said(tmp_path, *arguments, settings=settings)
            assert (refused.code, why in refused.err) == (2, True), refused

        skipped = again["tasks"][0]["task_id"]
        retried = await asked(tmp_path, settings, "retry", str(skipped))
        assert [(one["symbol"], one["state"]) for one in retried["tasks"]] == [("AAPL", "completed")]
        tasks = (await asked(tmp_path, settings, "history"))["tasks"]
        (mine,) = [one for one in tasks if one["origin"] == "retry"]
        assert mine["task_id"] == retried["tasks"][0]["task_id"]
        ended = await asked(tmp_path, settings, "cancel", str(skipped), code=1)
        assert ended == {"message": ended["message"], "cancelled": False}
        assert "had ended: skipped (fresh)" in ended["message"]

        assert (await asked(tmp_path, settings, "prune"))["message"] == "nothing"
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
    assert (await said(tmp_path, "run-now", "morning", settings=settings)).code == 3
    old = settings | {"SCHEDULER_RETENTION": '{"history": "1ms", "raw": "1ms"}'}
    foretold = await asked(tmp_path, old, "prune", "--dry-run")
    done = await asked(tmp_path, old, "prune")
    assert foretold["tasks"] == done["tasks"] == 6
    assert {**foretold, "dry_run": False} == done
    assert (await asked(tmp_path, settings, "history"))["tasks"] == []
    assert (await asked(tmp_path, settings, "show", "AAPL", "earnings"))["data"]["reports"]


async def test_a_task_that_waits_for_its_provider_is_given_up(tmp_path: Path, settings: dict[str, str]) -> None:
    settings["SCHEDULER_PROVIDERS__EDGAR__REQUESTS_PER_MINUTE"] = "1"
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("waits")
        rows = (await asked(tmp_path, settings, "history"))["tasks"]
        held = next(one["task_id"] for one in rows if one["state"] == "queued")
        gone = await asked(tmp_path, settings, "cancel", str(held))
        assert gone["cancelled"] is True
        await until(lambda: "was cancelled by a person" in service.log, "the word of it")
        after = {one["task_id"]: one for one in (await asked(tmp_path, settings, "history"))["tasks"]}
        assert (after[held]["state"], after[held]["reason"]) == ("skipped", "cancelled")
