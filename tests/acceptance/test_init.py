"""From ``init`` to live data, as a user types it: what is refused, what works without a key, what a key must not do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.commands import free_port, said

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECRET = "pplx-SEKRIT7f3ab1c90d"
CONFIG = ("-c", "live/scheduler.yaml")
INIT = ("init", "live", "--user-agent", "Jane Doe jane.doe@example.com", "--symbols", "AAPL")

pytestmark = pytest.mark.timeout(120)


def nobody_answers() -> dict[str, str]:
    """All providers at an address of this machine where nothing listens: live, and yet nothing leaves."""
    address = f"http://127.0.0.1:{free_port()}"
    return {
        "SCHEDULER_PROVIDERS__EDGAR__BASE_URL": address,
        "SCHEDULER_PROVIDERS__EDGAR__WWW_BASE_URL": address,
        "SCHEDULER_PROVIDERS__PERPLEXITY__BASE_URL": address,
    }


async def answer(folder: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit code, and everything that was said."""
    told = await said(folder, *arguments, settings=settings or {})
    return told.code, told.out + told.err


async def test_a_new_configuration_is_refused_until_someone_says_who_asks(tmp_path: Path) -> None:
    assert (await answer(tmp_path, "init", "live"))[0] == 0
    for command in ("check", "run"):
        code, text = await answer(tmp_path, *CONFIG, command)
        assert code == 2
        assert 'write under providers.edgar: user_agent: "Your Name your.name@example.com"' in text
    assert not (tmp_path / "live" / "data").exists()


async def test_sandbox_and_live_data_never_share_a_directory(tmp_path: Path) -> None:
    assert (await answer(tmp_path, *INIT))[0] == 0
    sandbox = {"SCHEDULER_SERVICE__DATA_DIR": "live/data"}
    assert (await answer(tmp_path, "fetch", "earnings", "AAPL", settings=sandbox))[0] == 0
    for command, expected in (("check", 2), ("run", 1)):
        code, text = await answer(tmp_path, *CONFIG, command, settings=nobody_answers())
        assert code == expected
        assert "holds sandbox data" in text

    live = {**nobody_answers(), "SCHEDULER_SERVICE__DATA_DIR": "other"}
    await answer(tmp_path, *CONFIG, "fetch", "earnings", "AAPL", settings=live)
    for command, expected in (("check", 2), ("run", 1)):
        code, text = await answer(tmp_path, command, settings={"SCHEDULER_SERVICE__DATA_DIR": "other"})
        assert code == expected
        assert "holds live data" in text


async def test_a_key_shows_in_what_is_asked_and_nowhere_in_what_is_written(tmp_path: Path) -> None:
    assert (await answer(tmp_path, *INIT))[0] == 0
    without = json.loads((await said(tmp_path, *CONFIG, "check", "--json")).out)
    assert list(without["off"]) == ["perplexity"]
    assert [one["provider"] for one in without["estimate"]] == ["edgar", "feeds"]

    settings = {**nobody_answers(), "PERPLEXITY_API_KEY": SECRET, "SCHEDULER_LOGGING__LEVEL": "DEBUG"}
    told = [await answer(tmp_path, *CONFIG, "check", settings=settings)]
    told.append(await answer(tmp_path, *CONFIG, "fetch", "fundamentals", "AAPL", settings=settings))
    told.append(await answer(tmp_path, *CONFIG, "history", "--json", settings=settings))
    broken = {**settings, "PERPLEXITY_API_KEY": f'"{SECRET}"'}
    told.append(await answer(tmp_path, *CONFIG, "check", settings=broken))
    assert [code for code, _ in told] == [0, 1, 0, 2]
    assert "127.0.0.1" in told[0][1]
    assert SECRET not in "".join(text for _, text in told)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "ledger.sqlite" for path in written)
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []
