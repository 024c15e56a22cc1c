"""Backups as a person makes and uses them: beside the running service, without it, and back again."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.commands import documents, free_port, running, said

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

QUICK = {
    "SCHEDULER_PROVIDERS__FEEDS__REQUESTS_PER_MINUTE": "6000",
    "SCHEDULER_PROVIDERS__EDGAR__REQUESTS_PER_SECOND": "10",
    "SCHEDULER_PROVIDERS__SANDBOX__LATENCY": "1ms",
    "SCHEDULER_WATCHLIST": '["AAPL", "NVDA"]',
    "SCHEDULER_SCHEDULES": '[{"id": "daily", "domain": "earnings", "trigger": {"every": "1d"}}]',
    "SCHEDULER_BACKUP__TRIGGER": '{"cron": "0 2 * * *"}',
}


async def told(folder: Path, settings: Mapping[str, str], *arguments: str, code: int = 0) -> Any:
    ended = await said(folder, *arguments, "--json", settings=settings)
    assert ended.code == code, ended
    return json.loads(ended.out) if ended.out else ended.err


def calls(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "data/ledger.sqlite")) as ledger:
        [(count,)] = ledger.execute("SELECT count(*) FROM call").fetchall()
    return int(count)


async def test_what_was_backed_up_comes_back_and_is_not_asked_again(tmp_path: Path) -> None:
    settings = QUICK | {"SCHEDULER_HTTP__PORT": str(free_port())}
    nothing = await said(tmp_path, "backup", settings=settings)
    assert nothing.code == 1
    assert "there is no ledger at" in nothing.err
    assert not (tmp_path / "data").exists()
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("initial earnings: done")
        made = await told(tmp_path, settings, "backup")
        await service.until_it_says("backup made and read back: ")
        status = await told(tmp_path, settings, "status")
        assert (status["backup"]["path"], status["backup"]["bytes"]) == (made["path"], made["bytes"])
        assert status["backup"]["next_at"] is not None
        good = await told(tmp_path, settings, "backup", "--verify", made["path"])
        assert (good["good"], good["mode"], good["members"]) == (True, "sandbox", made["members"])
        assert "is in use by another instance" in await told(tmp_path, settings, "restore", made["path"], code=4)
        planned = await told(tmp_path, settings, "restore", made["path"], "--dry-run")
        assert (planned["restored"], planned["in_use"]) == (False, True)
        assert planned["old"].startswith(str(tmp_path / "data.before-restore-"))
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
    asked, published = calls(tmp_path), documents(tmp_path / "data")
    assert published
    stopped = await told(tmp_path, settings, "backup", "--directory", str(tmp_path))
    (tmp_path / "data/ledger.sqlite").write_bytes(b"gone")
    for path in (tmp_path / "data/documents").glob("*/*"):
        path.unlink()
    restored = await told(tmp_path, settings, "restore", stopped["path"])
    assert restored["restored"] is True
    assert restored["carried_over"] is False
    assert documents(tmp_path / "data") == published
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says(" ready after ")
        again = await told(tmp_path, settings, "fetch", "earnings", "AAPL", "NVDA")
        assert again["failed"] == 0
        assert "initial earnings" not in service.log
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
    assert calls(tmp_path) == asked
    assert documents(tmp_path / "data").keys() == published.keys()


async def test_a_backup_that_cannot_be_made_or_used_is_told_in_a_sentence(tmp_path: Path) -> None:
    settings = QUICK | {"SCHEDULER_HTTP__PORT": str(free_port())}
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("initial earnings: done")
        failed = await said(tmp_path, "backup", "--directory", "absent/there", settings=settings)
        assert failed.code == 1
        assert f"no backup was made: {tmp_path}/absent/there: No such file or directory" in service.log
        assert "absent/there: No such file or directory" in failed.err
        assert "Traceback" not in failed.err + service.log
        assert (await said(tmp_path, "status", settings=settings)).code == 0  # a person's other directory
        (tmp_path / "data/backups").write_text("in the way")
        assert (await said(tmp_path, "backup", settings=settings)).code == 1
        degraded = await told(tmp_path, settings, "status", code=1)
        assert any("no backup was made" in problem for problem in degraded["problems"])
        (tmp_path / "data/backups").unlink()
        assert (await said(tmp_path, "backup", settings=settings)).code == 0
        assert (await said(tmp_path, "status", settings=settings)).code == 0
    (tmp_path / "strange").write_bytes(b"PK" * 500)
    strange = await said(tmp_path, "restore", "strange", settings=settings)
    assert strange.code == 1
    assert "strange is not a good backup: it is no backup of this program, or was cut off" in strange.err
    both = await said(tmp_path, "backup", "--verify", "strange", "--directory", ".", settings=settings)
    assert both.code == 2
