"""The service as it is started by a newcomer: ``run`` on the packaged sandbox, and the ways it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from scheduler_service.sandbox.bundle import bundled
from tests.acceptance.commands import documents, free_port, running, said, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.commands import Service

SYMBOLS = {company.profile.symbol for company in bundled()}
DOMAINS = {"news", "earnings", "fundamentals", "quotes"}
SOURCES = {
    ("news", "feeds"),
    ("news", "edgar_filings"),
    ("news", "perplexity"),
    ("earnings", "edgar"),
    ("fundamentals", "edgar"),
    ("fundamentals", "perplexity"),
    ("quotes", "finnhub"),
}
"""Those that are always asked."""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def settings() -> dict[str, str]:
    """The packaged sandbox on a free port, answering without the wait that a polite pace takes."""
    return {
        "SCHEDULER_HTTP__PORT": str(free_port()),
        "SCHEDULER_PROVIDERS__FEEDS__REQUESTS_PER_MINUTE": "6000",
        "SCHEDULER_PROVIDERS__EDGAR__REQUESTS_PER_SECOND": "10",
        "SCHEDULER_PROVIDERS__PERPLEXITY__REQUESTS_PER_MINUTE": "6000",
        "SCHEDULER_PROVIDERS__SANDBOX__LATENCY": "1ms",
    }


async def test_the_first_run_fetches_everything_and_the_second_nothing(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    data = tmp_path / "data"
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("ready after")
        assert await _ask(settings, "/healthz") == 200
        assert await _ask(settings, "/readyz") == 200
        for domain in DOMAINS:
            await service.until_it_says(f"initial {domain}: done")
        await until(lambda: len(documents(data)) == len(SYMBOLS) * len(DOMAINS), "all documents")
        _check_documents(documents(data))
        told = await _status(tmp_path, settings)
        assert told["readiness"]["ready"]
        assert told["sandbox"]
        assert (told["pid"], told["queued"], told["problems"]) == (service.process.pid, 0, [])
        assert sum(domain["fresh"] for domain in told["freshness"]) == len(SYMBOLS) * len(SOURCES)
        for said_to_newcomers in ("sandbox data", f"{data}/documents/", "scheduler-service show AAPL", "Ctrl-C"):
            assert said_to_newcomers in service.log
        assert "WARNING" not in service.log
        await _stop(service, signal.SIGTERM)
    written = {path: path.stat().st_mtime_ns for path in data.glob("documents/*/*.json")}

    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("ready after")
        assert "fetches are due at once" not in service.log
        again = await _status(tmp_path, settings)
        assert _calls(again) == _calls(told)
        assert again["queued"] == again["running"] == 0
        await _stop(service, signal.SIGINT)
    assert {path: path.stat().st_mtime_ns for path in data.glob("documents/*/*.json")} == written
    assert (await said(tmp_path, "status", settings=settings)).code == 3


@pytest.mark.parametrize("moment", [" starts. ", " ready after "])
async def test_a_signal_while_it_starts_ends_it_quietly(tmp_path: Path, settings: dict[str, str], moment: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        async with running(tmp_path, settings=settings) as service:
            await service.until_it_says(moment)
            service.send(number)
            assert await service.ended() == 0
            assert "CRITICAL" not in service.log
            assert "ERROR" not in service.log
            assert " stopped after " in service.log


async def test_a_second_instance_names_the_first_and_disturbs_nothing(tmp_path: Path, settings: dict[str, str]) -> None:
    """Fault 46."""
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("ready after")
        other = await said(tmp_path, "run", settings=settings | {"SCHEDULER_HTTP__PORT": str(free_port())})
        assert other.code == 4
        assert f"pid {service.process.pid}" in other.err
        assert await _ask(settings, "/readyz") == 200
        assert (await _status(tmp_path, settings))["pid"] == service.process.pid
        await _stop(service, signal.SIGTERM)


async def test_a_taken_port_ends_the_start_with_one_clear_line(tmp_path: Path, settings: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(settings["SCHEDULER_HTTP__PORT"]))):
        refused = await said(tmp_path, "run", settings=settings)
    assert refused.code == 1
    (line,) = refused.err.strip().splitlines()
    assert settings["SCHEDULER_HTTP__PORT"] in line
    assert "http.port" in line
    assert "Traceback" not in refused.out


async def test_an_unusable_data_directory_ends_the_start_with_one_clear_line(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    (tmp_path / "file").touch()
    settings["SCHEDULER_SERVICE__DATA_DIR"] = str(tmp_path / "file" / "data")
    refused = await said(tmp_path, "run", settings=settings)
    assert refused.code == 2
    (line,) = refused.err.strip().splitlines()
    assert f"{tmp_path}/file is no folder" in line
    assert "environment SCHEDULER_SERVICE__DATA_DIR service.data_dir" in line
    assert "Traceback" not in refused.out


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
async def test_a_data_directory_without_permission_ends_the_start(tmp_path: Path, settings: dict[str, str]) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    refused = await said(tmp_path, "run", settings=settings)
    assert refused.code == 1
    assert "Permission denied" in refused.err


async def test_a_stop_lets_running_tasks_finish_and_the_next_start_does_the_rest(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    settings["SCHEDULER_PROVIDERS__SANDBOX__LATENCY"] = "500ms"
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says(": updated")
        await _stop(service, signal.SIGTERM)
    assert "put back" not in service.log
    finished = service.log.count(": updated")
    assert 0 < finished < len(SYMBOLS) * len(SOURCES)
    await _does_the_rest(tmp_path, settings)


@pytest.mark.timeout(120)
async def test_a_second_signal_hastens(tmp_path: Path, settings: dict[str, str]) -> None:
    settings["SCHEDULER_PROVIDERS__SANDBOX__LATENCY"] = "1m"
    settings["SCHEDULER_SERVICE__DRAIN_TIMEOUT"] = "5m"  # longer than anybody here has patience
    async with running(tmp_path, settings=settings) as service:
        await service.until_it_says("ready after")
        service.send(signal.SIGTERM)
        await service.until_it_says("stopping")
        await _stop(service, signal.SIGTERM)
    assert ": updated" not in service.log
    await _does_the_rest(tmp_path, settings)


async def _does_the_rest(folder: Path, settings: dict[str, str]) -> None:
    """The next start carries out what the last one left."""
    async with running(folder, settings=settings | {"SCHEDULER_PROVIDERS__SANDBOX__LATENCY": "1ms"}) as service:
        for domain in DOMAINS:
            await service.until_it_says(f"initial {domain}: done")
        await _stop(service, signal.SIGTERM)
    _check_documents(documents(folder / "data"))


async def _stop(service: Service, number: signal.Signals) -> None:
    service.send(number)
    assert await service.ended() == 0, service.log
    assert "stopped after" in service.log
    assert "could not" not in service.log
    assert "Traceback" not in service.log


async def _ask(settings: dict[str, str], path: str) -> int:
    url = f"http://127.0.0.1:{settings['SCHEDULER_HTTP__PORT']}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status


async def _status(folder: Path, settings: dict[str, str]) -> Any:
    told = await said(folder, "status", "--json", settings=settings)
    assert told.code == 0, told
    return json.loads(told.out)


def _calls(status: Any) -> dict[str, int]:
    return {provider["provider"]: provider["calls_today"] for provider in status["providers"]}


def _check_documents(found: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert found.keys() == {(domain, symbol) for domain in DOMAINS for symbol in SYMBOLS}
    for (domain, symbol), document in found.items():
        assert (document["domain"], document["symbol"]) == (domain, symbol)
        assert document["sandbox"] is True
        assert all(source["status"] == "ok" for source in document["sources"].values())
