"""The two doors over real sockets, in front of a facade that says what it is told to."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from click.testing import CliRunner

from scheduler_service.cli.commands import cli
from scheduler_service.errors import ConfigurationError, NotRunning, Problem, SchedulerServiceError, StoreError
from scheduler_service.models import Reason, TaskState
from scheduler_service.web import server as server_module
from scheduler_service.web.client import ControlClient
from scheduler_service.web.control_socket import short_path
from scheduler_service.web.server import WebServer
from scheduler_service.web.views import (
    BackupReport,
    BackupRequest,
    CancelReport,
    CancelRequest,
    DomainFreshness,
    FetchRequest,
    NextSlot,
    PauseReport,
    PauseRequest,
    PauseView,
    ProviderState,
    PruneReport,
    Readiness,
    ReleaseReport,
    ReleaseRequest,
    ReloadReport,
    ResumeRequest,
    RetryRequest,
    RunNowRequest,
    Status,
    Step,
    TaskReport,
    TryReport,
    TryRequest,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

READY = Readiness(ready=True, state="ready", steps=(Step(name="ledger", state="done"),))
STARTING = Readiness(
    ready=False,
    state="starting",
    steps=(Step(name="ledger", state="done"), Step(name="workers", state="pending")),
    problem="waiting for: workers",
)
WANTED = FetchRequest(domain="news", symbols=("AAPL",))


def report(task_id: int, state: TaskState = TaskState.COMPLETED, message: str | None = None) -> TaskReport:
    return TaskReport(task_id=task_id, domain="news", symbol="AAPL", source="feeds", state=state, of=2, message=message)


class FakeFacade:
    """``fails`` is raised where it is reached: before the first report, or after ``reports``."""

    def __init__(self) -> None:
        self.ready = READY
        self.reports: list[TaskReport] = []
        self.fails: Exception | None = None
        self.holds = False
        self.problems: tuple[str, ...] = ()
        self.asked: list[FetchRequest] = []
        self.closed = asyncio.Event()
        self.reports_of_reloads: list[ReloadReport] = []
        self.pauses: dict[str | None, PauseView] = {}

    @property
    def operations(self) -> FakeFacade:
        return self

    def readiness(self) -> Readiness:
        return self.ready

    async def status(self) -> Status:
        if self.fails:
            raise self.fails
        return Status(
            name="stocks",
            version="1",
            pid=7,
            started_at="2026-11-23T14:00:00Z",
            now="2026-11-23T16:30:00Z",
            data_dir="/data",
            sandbox=True,
            readiness=self.ready,
            freshness=(DomainFreshness(domain="news", watched=4, fresh=1, stale=1, never=2, failing=1),),
            running=1,
            queued=2,
            next=(
                NextSlot(
                    schedule_id="news",
                    domain="news",
                    due_at="2026-11-23T17:00:00Z",
                    local="2026-11-23T12:00:00-05:00",
                    in_words="every hour",
                ),
            ),
            providers=(
                ProviderState(
                    provider="edgar",
                    sandbox=True,
                    calls_today=1234,
                    calls_limit=5000,
                    usd_today=0.5,
                    closed_until="2026-11-23T16:40:00Z",
                    reason=Reason.RATE_LIMITED,
                ),
            ),
            pauses=tuple(self.pauses.values()),
            problems=self.problems,
        )

    async def pause(self, request: PauseRequest) -> PauseReport:
        if self.fails:
            raise self.fails
        until = None if request.for_ms is None else f"in {request.for_ms} ms"
        view = PauseView(schedule_id=request.schedule_id, since="now", until=until, reason=request.reason)
        self.pauses[request.schedule_id] = view
        return PauseReport(message="it is paused", pauses=tuple(self.pauses.values()))

    async def resume(self, request: ResumeRequest) -> PauseReport:
        if self.fails:
            raise self.fails
        del self.pauses[request.schedule_id]
        return PauseReport(message="it goes on", pauses=tuple(self.pauses.values()))

    async def release(self, request: ReleaseRequest) -> ReleaseReport:
        if self.fails:
            raise self.fails
        return ReleaseReport(message=f"{request.symbol} is let go", released=())

    async def try_provider(self, request: TryRequest) -> TryReport:
        if self.fails:
            raise self.fails
        return TryReport(message=f"{request.provider} is tried", tried=(request.provider,))

    async def reload(self) -> ReloadReport:
        if self.fails:
            raise self.fails
        return self.reports_of_reloads[0]

    def last_reload(self) -> ReloadReport | None:
        """The next one, every time it is asked for."""
        if len(self.reports_of_reloads) > 1:
            self.reports_of_reloads.pop(0)
        return self.reports_of_reloads[0] if self.reports_of_reloads else None

    async def fetch(self, request: FetchRequest) -> AsyncGenerator[TaskReport, None]:
        self.asked.append(request)
        try:
            for one in self.reports:
                yield one
            if self.holds:
                await asyncio.Event().wait()
            if self.fails:
                raise self.fails
        finally:
            self.closed.set()

    def run_now(self, request: RunNowRequest) -> AsyncGenerator[TaskReport, None]:
        return self.fetch(FetchRequest(domain=request.schedule_id, symbols=request.symbols, force=request.force))

    def retry(self, request: RetryRequest) -> AsyncGenerator[TaskReport, None]:
        return self.fetch(FetchRequest(domain=f"task {request.task_id}", symbols=(), wait_ms=request.wait_ms))

    async def cancel(self, request: CancelRequest) -> CancelReport:
        if self.fails:
            raise self.fails
        return CancelReport(message=f"task {request.task_id} is cancelled", cancelled=request.task_id == 1)

    async def prune(self) -> PruneReport:
        if self.fails:
            raise self.fails
        return PruneReport(message="3 tasks", tasks=3)

    async def backup(self, request: BackupRequest) -> AsyncGenerator[BackupReport, None]:
        if self.fails:
            raise self.fails
        yield BackupReport(phase="done", done=1, total=1, path=f"{request.directory}/b.tar.zst")


@pytest.fixture
def facade() -> FakeFacade:
    return FakeFacade()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Far longer than a socket's address may be."""
    folder = tmp_path.joinpath(*["a-folder-with-a-rather-long-name"] * 6)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
async def server(facade: FakeFacade, data_dir: Path) -> AsyncIterator[WebServer]:
    server = WebServer(facade, host="127.0.0.1", port=0, socket_path=data_dir / "control.sock")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def client(data_dir: Path) -> ControlClient:
    return ControlClient(data_dir)


async def get(server: WebServer, path: str, **headers: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server.port}{path}"
        async with session.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}) as said:
            return said.status, json.loads(await said.read())


async def all_of(client: ControlClient, request: FetchRequest = WANTED) -> list[TaskReport]:
    return [one async for one in client.fetch(request)]


async def test_it_is_alive_before_it_is_ready(server: WebServer, facade: FakeFacade) -> None:
    facade.ready = STARTING
    assert await get(server, "/healthz") == (200, {"status": "alive"})
    status, said = await get(server, "/readyz")
    assert (status, said["problem"]) == (503, "waiting for: workers")
    facade.ready = READY
    assert (await get(server, "/readyz"))[0] == 200


async def test_a_reload_is_answered_at_once_and_what_became_of_it_later(
    server: WebServer, facade: FakeFacade, client: ControlClient
) -> None:
    with pytest.raises(SchedulerServiceError, match="was not read anew so far"):
        await client.last_reload()
    restarting = ReloadReport(number=1, outcome="restarting", message="it restarts")
    rejected = ReloadReport(number=1, outcome="rejected", message="not used", problems=("c.yaml:1:1 http: wrong",))
    facade.reports_of_reloads = [restarting, rejected]
    assert await client.reload() == restarting
    assert await client.last_reload() == rejected
    facade.ready = STARTING
    with pytest.raises(SchedulerServiceError, match="the service is not ready"):
        await client.reload()


async def test_a_pause_and_its_end_go_through_the_socket(
    server: WebServer, facade: FakeFacade, client: ControlClient
) -> None:
    paused = await client.pause(PauseRequest(schedule_id="news", for_ms=60_000, reason="the office moves"))
    view = PauseView(schedule_id="news", since="now", until="in 60000 ms", reason="the office moves")
    assert paused == PauseReport(message="it is paused", pauses=(view,))
    assert (await client.status()).pauses == (view,)
    assert (await client.resume(ResumeRequest(schedule_id="news"))).pauses == ()
    facade.fails = ConfigurationError([Problem("", "nws", "there is no such schedule", "did you mean news?")])
    for refused in (client.pause(PauseRequest(schedule_id="nws")), client.resume(ResumeRequest(schedule_id="nws"))):
        with pytest.raises(ConfigurationError, match="nws: there is no such schedule; did you mean news"):
            await refused
    facade.ready = STARTING
    with pytest.raises(SchedulerServiceError, match="the service is not ready"):
        await client.pause(PauseRequest())


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"for_ms": 0}', b'{"for_ms": 99999999999999999999}', b'{"reason": "%s"}' % (b"x" * 201)]
)
async def test_a_pause_that_makes_no_sense_is_refused(server: WebServer, data_dir: Path, body: bytes) -> None:
    with short_path(data_dir / "control.sock") as address:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=address)) as session,
            session.post("http://localhost/control/pause", data=body) as said,
        ):
            assert said.status == 400
            assert "this is not a pause request: see " in (await said.json())["error"]


@pytest.mark.parametrize("host", ["localhost", "localhost:99", "127.0.0.1", "[::1]:8321", "LOCALHOST"])
async def test_it_answers_to_the_names_of_this_machine(server: WebServer, host: str) -> None:
    assert (await get(server, "/healthz", Host=host))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.example", "[", ""])
async def test_it_turns_away_a_name_that_was_pointed_at_it(server: WebServer, host: str) -> None:
    for path in ("/healthz", "/readyz", "/nothing"):
        assert (await get(server, path, Host=host))[0] == 403


async def test_control_is_not_to_be_had_over_tcp(server: WebServer, facade: FakeFacade) -> None:
    assert (await get(server, "/control/status"))[0] == 404
    async with aiohttp.ClientSession() as session:
        async with session.post(f"http://127.0.0.1:{server.port}/control/fetch", data=b"{}") as said:
            assert said.status == 404
        async with session.post(f"http://127.0.0.1:{server.port}/healthz") as said:
            assert said.status == 405
            assert await said.json() == {"error": "Method Not Allowed"}
            assert "aiohttp" not in said.headers["Server"]
    assert facade.asked == []


async def test_with_a_token_only_healthz_is_open(facade: FakeFacade, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123\n")
    server = WebServer(facade, host="127.0.0.1", port=0, socket_path=tmp_path / "s", token_file=token)
    await server.start()
    try:
        assert (await get(server, "/healthz"))[0] == 200
        assert (await get(server, "/readyz"))[0] == 401
        assert (await get(server, "/readyz", Authorization="Bearer 0123456789abcdef012"))[0] == 401
        assert (await get(server, "/readyz", Authorization="Bearer 0123456789abcdef0123"))[0] == 200
    finally:
        await server.stop()


async def test_a_short_token_is_refused_in_words(facade: FakeFacade, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    server = WebServer(facade, host="127.0.0.1", port=0, socket_path=tmp_path / "s", token_file=tmp_path / "token")
    with pytest.raises(SchedulerServiceError, match=r"holds 6 characters; a token needs 16") as caught:
        await server.start()
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "s").exists()


async def test_a_taken_port_is_one_sentence_and_leaves_nothing_behind(
    facade: FakeFacade, server: WebServer, tmp_path: Path
) -> None:
    second = WebServer(facade, host="127.0.0.1", port=server.port, socket_path=tmp_path / "s")
    with pytest.raises(SchedulerServiceError, match=rf"port {server.port}: .*in use.*http\.port") as caught:
        await second.start()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s").exists()


async def test_a_connection_that_never_asks_is_closed(
    facade: FakeFacade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "SECONDS_IDLE", 0.05)
    server = WebServer(facade, host="127.0.0.1", port=0, socket_path=tmp_path / "s")
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localh")
        assert await reader.read() == b""
        writer.close()
    finally:
        await server.stop()


async def test_a_request_too_large_is_refused_without_a_word_in_the_log(
    server: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5_000 + b"\r\n\r\n")
    assert b" 400 " in (await reader.read()).splitlines()[0]
    writer.close()
    assert caplog.records == []


async def test_the_socket_is_its_owners_alone_whatever_the_umask(facade: FakeFacade, data_dir: Path) -> None:
    path = data_dir / "control.sock"
    old = os.umask(0)
    try:
        server = WebServer(facade, host="127.0.0.1", port=0, socket_path=path)
        await server.start()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await server.stop()
    assert not path.exists()


async def test_a_socket_that_a_crash_left_is_replaced(facade: FakeFacade, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(NotRunning):
        await ControlClient(tmp_path).status()
    server = WebServer(facade, host="127.0.0.1", port=0, socket_path=path)
    await server.start()
    assert (await ControlClient(tmp_path).status()).pid == 7
    await server.stop()


async def test_the_client_reads_the_status_over_a_very_long_path(
    server: WebServer, client: ControlClient, facade: FakeFacade
) -> None:
    assert await client.status() == await facade.status()


async def test_nobody_there_is_said_in_words(client: ControlClient, data_dir: Path, tmp_path: Path) -> None:
    for nowhere in (client, ControlClient(tmp_path / "none"), ControlClient(data_dir / "none")):
        with pytest.raises(NotRunning, match=r"no service runs on .*; start one: scheduler-service run"):
            await nowhere.status()
        with pytest.raises(NotRunning):
            await all_of(nowhere)


async def test_a_fetch_is_reported_as_it_goes(server: WebServer, client: ControlClient, facade: FakeFacade) -> None:
    facade.reports = [report(1, TaskState.QUEUED), report(2, TaskState.QUEUED), report(1), report(2)]
    assert await all_of(client) == facade.reports
    assert facade.asked == [WANTED]


async def test_reports_arrive_before_the_fetch_has_ended(
    server: WebServer, client: ControlClient, facade: FakeFacade
) -> None:
    facade.reports, facade.holds = [report(1, TaskState.QUEUED, "held \x1b[31m\n")], True
    reports = client.fetch(WANTED)
    assert await anext(reports) == facade.reports[0]
    await reports.aclose()
    async with asyncio.timeout(5):
        await facade.closed.wait()


async def test_a_request_the_service_does_not_know_is_refused_in_its_words(
    server: WebServer, client: ControlClient, facade: FakeFacade
) -> None:
    facade.fails = ConfigurationError([Problem("", "newz", "no such domain", "did you mean news?")])
    with pytest.raises(ConfigurationError, match="newz: no such domain; did you mean news"):
        await all_of(client)


async def test_a_fetch_that_breaks_off_says_why(server: WebServer, client: ControlClient, facade: FakeFacade) -> None:
    facade.reports, facade.fails = [report(1, TaskState.QUEUED)], StoreError("the disk is full")
    with pytest.raises(SchedulerServiceError, match="the disk is full"):
        await all_of(client)


async def test_a_service_that_stops_in_the_middle_is_told_from_an_end(
    facade: FakeFacade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "SECONDS_TO_STOP", 0.01)
    server = WebServer(facade, host="127.0.0.1", port=0, socket_path=tmp_path / "control.sock")
    await server.start()
    facade.reports, facade.holds = [report(1, TaskState.QUEUED)], True
    reports = ControlClient(tmp_path).fetch(WANTED)
    await anext(reports)
    await server.stop()
    with pytest.raises(SchedulerServiceError, match="the service went away"):
        await anext(reports)


async def test_a_service_that_is_not_ready_takes_no_fetch(
    server: WebServer, client: ControlClient, facade: FakeFacade
) -> None:
    facade.ready = STARTING
    with pytest.raises(SchedulerServiceError, match=r"the service is not ready \(waiting for: workers\)"):
        await all_of(client)
    assert facade.asked == []


async def test_an_error_nobody_foresaw_shows_no_more_than_that(
    server: WebServer, client: ControlClient, facade: FakeFacade
) -> None:
    facade.fails = RuntimeError("the password is hunter2")
    with pytest.raises(SchedulerServiceError, match=r"^the service could not answer; its log says why$"):
        await client.status()


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"[]", 400), (b'{"domain": 1, "symbols": []}', 400), (b"{" * 1_100_000, 413)],
)
async def test_a_body_that_is_no_request_is_refused(
    server: WebServer, facade: FakeFacade, tmp_path: Path, data_dir: Path, body: bytes, status: int
) -> None:
    link = tmp_path / "s"
    link.symlink_to(data_dir / "control.sock")
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(link))) as session,
        session.post("http://localhost/control/fetch", data=io.BytesIO(body)) as said,
    ):
        assert said.status == status
        assert list(await said.json()) == ["error"]
    assert facade.asked == []


@pytest.fixture
def config(tmp_path: Path, data_dir: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(
        f"service: {{data_dir: {data_dir}}}\nproviders: {{sandbox: {{enabled: true}}}}\n"
        "watchlist: [AAPL]\ndomains: {news: {sources: [feeds]}}\n"
    )
    return path


async def run(config: Path, *arguments: str) -> tuple[int, str, str]:
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["-c", str(config), *arguments])
    return result.exit_code, result.stdout, result.stderr


async def test_the_status_command_is_0_when_all_is_well_and_1_when_degraded(
    server: WebServer, facade: FakeFacade, config: Path
) -> None:
    code, out, _ = await run(config, "status")
    assert code == 0
    assert "stocks is ready: version 1, pid 7, up 2 h" in out
    assert "closed until 2026-11-23T16:40:00Z (rate_limited)" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    facade.problems = ("edgar is \x1b[31mshut",)
    code, out, _ = await run(config, "status")
    assert code == 1
    assert "Problem: edgar is \\x1b[31mshut" in out
    code, out, _ = await run(config, "status", "--json")
    assert code == 1
    assert Status.model_validate_json(out) == await facade.status()


async def test_the_fetch_command_goes_through_the_running_service(
    server: WebServer, facade: FakeFacade, config: Path, data_dir: Path
) -> None:
    facade.reports = [report(1, TaskState.QUEUED), report(2, TaskState.FAILED, "no \x1b]8;;x\x07 luck"), report(1)]
    code, out, err = await run(config, "fetch", "news", "aapl", "AAPL", "--force")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "[1/2] AAPL news from feeds: failed, no \\x1b]8;;x\\x07 luck",
        "[2/2] AAPL news from feeds: updated",
        "2 tasks: 1 updated, 1 failed.",
        f"  {data_dir}/documents/news/AAPL.json",
    ]
    assert facade.asked == [FetchRequest(domain="news", symbols=("AAPL",), force=True)]
    code, out, err = await run(config, "fetch", "news", "AAPL", "--json")
    assert json.loads(out)["failed"] == 1
    assert "updated" in err


async def test_a_person_may_have_a_provider_tried(server: WebServer, client: ControlClient) -> None:
    said = await client.try_provider(TryRequest(provider="feeds"))
    assert (said.message, said.tried) == ("feeds is tried", ("feeds",))
