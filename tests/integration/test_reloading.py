"""Reloads, watchdog and stops of the whole service, in virtual time."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from scheduler_service import reloading
from scheduler_service.background_scheduler import BackgroundScheduler, Owner
from scheduler_service.clients.base import discover as discover_clients
from scheduler_service.cost_change import Daily, from_text
from scheduler_service.errors import DataDirectoryError, SchedulerServiceError, StoreError
from scheduler_service.models import Event
from scheduler_service.processors.base import discover as discover_processors
from scheduler_service.reloading import Configured, ReloadingService, differences, with_token
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.settings.load import load
from scheduler_service.stores.spending import noted_estimate
from scheduler_service.supervisor import Supervisor
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from scheduler_service.web.views import ReloadReport

CONFIG = """
service: {data_dir: data, drain_timeout: 20s}
watchlist: [AAPL, ACMEX]
providers: {sandbox: {enabled: true}}
domains: {news: {sources: [{use: feeds, fresh_for: 20m}]}}
schedules: [{id: news, domain: news, symbols: all, trigger: {every: 30m}}]
"""
WATCHDOG = 90


class House:
    """A folder with a configuration, a service manager's ear, and the service in between."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.yaml"
        self.file.write_text(CONFIG)
        self.events: list[Event] = []
        self.built: list[BackgroundScheduler] = []
        self.latency = 0.02
        self.cannot_start: SchedulerServiceError | None = None
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind(str(folder / "notify"))
        self._ear.setblocking(False)

    def close(self) -> None:
        self._ear.close()

    def service(self, clock: VirtualClock) -> ReloadingService:
        environ = {"NOTIFY_SOCKET": str(self.folder / "notify"), "WATCHDOG_USEC": str(WATCHDOG * 1_000_000)}

        def build(configured: Configured, owner: Owner) -> BackgroundScheduler:
            transport = MemoryTransport(SandboxUpstream(clock, latency=self.latency), clock)
            scheduler = BackgroundScheduler(
                configured.settings, clock=clock, transport=transport, web=False, owner=owner
            )
            scheduler._bus.subscribe("*", self.events.append)
            if self.cannot_start and self.built:
                self._spoil(scheduler, self.cannot_start)
                self.cannot_start = None
            self.built.append(scheduler)
            return scheduler

        return ReloadingService(self.read(), self.read, Supervisor(environ, clock), clock, build)

    def read(self) -> Configured:
        providers = {name: client.Options for name, client in discover_clients().items()}
        found = discover_processors()
        sources = {domain: {s.name: s.provider for s in processor.sources} for domain, processor in found.items()}
        return with_token(load([self.file], {}, providers=providers, sources=sources), "")

    def write(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def heard(self) -> list[str]:
        """The words of the service since the last time, without how it is."""
        lines: list[str] = []
        while True:
            try:
                lines += self._ear.recv(65_536).decode().split("\n")
            except BlockingIOError:
                return [line for line in lines if not line.startswith(("STATUS=", "MONOTONIC_", "EXTEND_"))]

    def said(self, name: str) -> list[str]:
        return [event.message for event in self.events if event.name == name]

    def _spoil(self, scheduler: BackgroundScheduler, error: SchedulerServiceError) -> None:
        async def recover() -> None:
            raise error

        scheduler.engine.recover = recover  # type: ignore[method-assign]  # a start that fails in the middle


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        house = House(tmp_path)
        stack.callback(house.close)
        yield house


Story = "Callable[[ReloadingService, VirtualClock], Awaitable[None]]"


def live(house: House, story: Callable[[ReloadingService, VirtualClock], Awaitable[None]]) -> int:
    """The service from its start to its end, while the story goes on beside it; its exit code."""

    async def both(clock: VirtualClock) -> int:
        service = house.service(clock)
        running = asyncio.create_task(service.run())
        await clock.sleep(5)
        await story(service, clock)
        service.request_stop()
        return await running

    return run(both)


def test_an_unchanged_configuration_changes_nothing_but_refused_keys(house: House) -> None:
    reports: list[ReloadReport] = []
    forgotten: list[int] = []

    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        async def forget() -> None:
            forgotten.append(1)

        house.built[0].forget_refusals = forget  # type: ignore[method-assign]  # counts
        house.file.write_text("# a comment moves every line\n" + house.file.read_text())
        reports.append(await service.reload())

    assert live(house, story) == 0
    assert [(r.outcome, r.number) for r in reports] == [("unchanged", 1)]
    assert (len(house.built), forgotten) == (1, [1])
    assert house.said("config.reloaded") == ["the configuration was read anew, and nothing in it has changed"]


def test_a_changed_one_takes_the_place_of_the_old_in_the_same_process(house: House) -> None:
    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        house.heard()
        house.write("[AAPL, ACMEX]", "[AAPL, ACMEX, NVDA]")
        said = await service.reload()
        assert (said.outcome, said.message) == (
            "restarting",
            "the configuration has changed (watchlist); the service restarts",
        )
        await clock.sleep(5)
        assert [word for word in house.heard() if word != "WATCHDOG=1"] == ["RELOADING=1", "READY=1"]
        last = service.last_reload()
        assert last is not None
        assert (last.outcome, last.number) == ("restarted", 1)
        assert [s.symbol for s in house.built[-1].settings.watchlist] == ["AAPL", "ACMEX", "NVDA"]
        assert (await house.built[-1].status()).problems == ()

    assert live(house, story) == 0
    assert len(house.built) == 2
    assert (house.folder / "data/documents/news/NVDA.json").exists()
    assert house.heard()[-1:] == ["STOPPING=1"]


def test_a_restart_forgets_refused_keys_and_tells_of_itself_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    forgetting: list[BackgroundScheduler] = []

    async def forget(scheduler: BackgroundScheduler) -> None:
        assert scheduler.readiness().ready
        forgetting.append(scheduler)

    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        monkeypatch.setattr(BackgroundScheduler, "forget_refusals", forget)
        house.write("[AAPL, ACMEX]", "[AAPL]")
        await service.reload()
        assert not house.said("config.reloaded")
        await clock.sleep(5)

    assert live(house, story) == 0
    assert forgetting == house.built[1:]
    (told,) = house.said("config.reloaded")
    assert told.startswith("the service has restarted with the changed configuration, in ")
    assert "restarting with the changed configuration (watchlist)" in house.said("service.stopping")[0]


def test_a_restart_says_what_the_changed_configuration_asks_more_and_notes_it_for_the_next(house: House) -> None:
    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        house.write("[AAPL, ACMEX]", "[AAPL, ACMEX, NVDA]")
        await service.reload()
        await clock.sleep(5)
        noted = from_text(await house.built[-1].engine.ledger.read(noted_estimate))
        assert noted is not None
        assert noted.by_provider == {"feeds": Daily(3 * 48, 0.0)}

    assert live(house, story) == 0
    (told,) = house.said("config.reloaded")
    assert told.endswith("; feeds: before 96 calls a day, now 144 (+48)")


def test_who_asks_during_a_reading_hears_of_the_next_one(house: House) -> None:
    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        late = ask_during_the_first_reading(house, service, lambda: house.write("[AAPL, ACMEX]", "[AAPL]"))
        early = await service.reload()
        assert (early.number, early.outcome) == (1, "unchanged")
        said = await late[0]
        assert (said.number, said.outcome) == (2, "restarting")
        await clock.sleep(5)
        last = service.last_reload()
        assert last is not None
        assert (last.number, last.outcome) == (2, "restarted")

    assert live(house, story) == 0
    assert len(house.built) == 2


def test_who_asks_too_late_before_a_restart_does_not_wait_through_its_drain(house: House) -> None:
    house.latency = 10.0

    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        late = ask_during_the_first_reading(house, service, lambda: None)
        house.write("[AAPL, ACMEX]", "[AAPL]")
        early = await service.reload()
        said = await late[0]
        assert len(house.built) == 1
        assert (early.number, early.outcome) == (1, "restarting")
        assert (said.number, said.outcome) == (2, "restarting")
        await clock.sleep(60)
        last = service.last_reload()
        assert last is not None
        assert (last.number, last.outcome) == (2, "unchanged")

    assert live(house, story) == 0
    assert len(house.built) == 2


def ask_during_the_first_reading(
    house: House, service: ReloadingService, then: Callable[[], None]
) -> list[asyncio.Task[ReloadReport]]:
    """Has somebody ask for a reload when the first reading is nearly done; the answer is in the list by then."""
    late: list[asyncio.Task[ReloadReport]] = []

    def read() -> Configured:
        configured = house.read()
        if not late:
            late.append(asyncio.create_task(service.reload()))
            then()
        return configured

    service._read = read
    return late


def test_another_data_directory_is_rejected_and_the_service_stays_where_it_is(house: House) -> None:
    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        house.write("data_dir: data", "data_dir: elsewhere")
        house.write("[AAPL, ACMEX]", "[AAPL]")
        said = await service.reload()
        assert said.outcome == "rejected"
        assert said.problems == (
            f"{house.file}:2:21 service.data_dir: it is read at the start only; restart the service to change it "
            f"from {house.folder}/data to {house.folder}/elsewhere",
        )
        assert (await service.reload()).problems == said.problems
        assert house.built[0].readiness().ready
        house.file.write_text(CONFIG.replace("data_dir: data", "data_dir: ./elsewhere/../data"))
        assert (await service.reload()).outcome == "unchanged"

    assert live(house, story) == 0
    assert len(house.built) == 1
    assert not (house.folder / "elsewhere").exists()


def test_an_invalid_one_is_told_problem_by_problem_and_changes_nothing(house: House) -> None:
    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        house.write("every: 30m", "every: often")
        house.write("service:", "http: {port: eighty}\nservice:")
        said = await service.reload()
        assert said.outcome == "rejected"
        assert [problem.split(" ")[0].rsplit("/")[-1] for problem in said.problems] == [
            "scheduler.yaml:2:14",
            "scheduler.yaml:7:69",
        ]
        assert "RELOADING=1" not in house.heard()
        (problem,) = (await house.built[0].status()).problems
        assert "is not used, the one before stays" in problem
        await clock.sleep(60)
        assert house.built[0].summary.startswith("degraded: the configuration that was read last is not used")
        house.file.write_text(CONFIG)
        assert (await service.reload()).outcome == "unchanged"
        assert (await house.built[0].status()).problems == ()

    assert live(house, story) == 0
    assert len(house.built) == 1
    assert len(house.said("config.rejected")) == 2


def test_one_that_cannot_start_gives_way_to_the_old_one(house: House) -> None:
    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        house.write("[AAPL, ACMEX]", "[AAPL]")
        house.cannot_start = DataDirectoryError("it is of the other mode")
        house.heard()
        assert (await service.reload()).outcome == "restarting"
        await clock.sleep(5)
        last = service.last_reload()
        assert last is not None
        assert (last.outcome, last.problems) == ("rejected", ("it is of the other mode",))
        assert [word for word in house.heard() if word != "WATCHDOG=1"] == ["RELOADING=1", "READY=1"]
        assert len(house.built[-1].settings.watchlist) == 2
        assert house.built[-1].readiness().ready
        assert (await service.reload()).outcome == "restarting"  # it still differs, and may start now
        await clock.sleep(5)

    assert live(house, story) == 0
    assert len(house.built) == 4
    assert house.said("config.rejected") == ["the changed configuration is not used: it is of the other mode"]


def test_a_mistake_of_the_programs_own_is_no_end_of_the_service_either(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Configured:
        raise ZeroDivisionError("nobody thought of this")

    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        monkeypatch.setattr(service, "_read", fail)
        said = await service.reload()
        assert (said.outcome, said.problems) == ("rejected", ("nobody thought of this",))

    assert live(house, story) == 0


def test_when_the_old_one_cannot_start_again_either_the_process_ends(house: House) -> None:
    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        house.write("[AAPL, ACMEX]", "[AAPL]")
        spoil, error = house._spoil, DataDirectoryError("the disk has gone")

        def spoiled(configured: Configured, owner: Owner) -> BackgroundScheduler:
            scheduler = build(configured, owner)
            spoil(scheduler, error)
            return scheduler

        build, service._build = service._build, spoiled
        service.request_reload()
        await clock.sleep(5)

    with pytest.raises(DataDirectoryError, match="the disk has gone"):
        live(house, story)
    assert not (house.folder / "data/lock").read_bytes()
    assert house.heard()[-1] == "STOPPING=1"


def test_signals_during_a_reload_are_obeyed_after_it_or_end_it(house: House) -> None:
    house.latency = 10.0

    async def again(service: ReloadingService, clock: VirtualClock) -> None:
        house.write("[AAPL, ACMEX]", "[AAPL]")
        service.request_reload()
        await clock.sleep(0.1)
        house.write("[AAPL]", "[NVDA]")
        service.request_reload()  # while the first one drains
        await clock.sleep(60)
        assert [s.symbol for s in house.built[-1].settings.watchlist] == ["NVDA"]

    assert live(house, again) == 0
    assert len(house.built) == 3


@pytest.mark.parametrize(("signals", "most"), [(1, 20.0), (2, 1.0)])
def test_a_stop_during_the_drain_of_a_reload_stops(
    house: House, signals: int, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.latency = 30.0
    took: list[float] = []
    closed: list[int] = []

    async def story(clock: VirtualClock) -> int:
        service = house.service(clock)
        running = asyncio.create_task(service.run())
        await clock.sleep(1)
        house.write("[AAPL, ACMEX]", "[AAPL]")
        service.request_reload()
        await clock.sleep(0.5)
        assert house.said("service.stopping")
        close = house.built[0].engine.close

        async def counted() -> None:
            closed.append(1)
            await close()

        monkeypatch.setattr(house.built[0].engine, "close", counted)
        for _ in range(signals):
            service.request_stop()
        before = clock.monotonic()
        code = await running
        took.append(clock.monotonic() - before)
        return code

    assert run(story) == 0
    assert len(house.built) == 1
    assert closed == [1]
    assert took[0] < most
    assert (took[0] > 1) is (signals == 1)


def test_a_reload_that_is_asked_for_while_it_starts_waits(house: House) -> None:
    async def story(clock: VirtualClock) -> int:
        service = house.service(clock)
        running = asyncio.create_task(service.run())
        service.request_reload()
        await clock.sleep(5)
        assert house.said("config.reloaded")
        service.request_stop()
        return await running

    assert run(story) == 0


def test_the_watchdog_is_fed_and_status_told_as_long_as_schedules_are_looked_at(house: House) -> None:
    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        for _ in range(20):
            house.heard()
            await clock.sleep(WATCHDOG / 2)
            assert "WATCHDOG=1" in house.heard()
        assert house.built[0].summary == "2 symbols; 0 running, 0 waiting; next news 10:00"

    assert live(house, story) == 0


@pytest.mark.parametrize("stuck", ["sweep", "reconciler"])
def test_a_stuck_sweep_or_reconciler_leaves_the_watchdog_hungry(
    house: House, stuck: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: str) -> None:
        task = asyncio.current_task()
        if task is not None and task.get_name() == stuck:
            await asyncio.Event().wait()

    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        monkeypatch.setattr(house.built[0].dispatcher, "reconcile", hang)
        house.built[0].rounds._ring("news")
        await clock.sleep(200)
        house.heard()
        await clock.sleep(WATCHDOG + 10)
        assert "WATCHDOG=1" not in house.heard()
        assert house.said("service.degraded") == ["the schedules are not looked at any more: something is stuck"]
        for task in asyncio.all_tasks():
            if task.get_name() == stuck:
                task.cancel()  # no watchdog is here to end the process

    live(house, story)


def test_a_ledger_that_cannot_be_written_is_no_reason_to_be_killed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise StoreError("the disk is full")

    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        monkeypatch.setattr(house.built[0].dispatcher, "reconcile_all", fail)
        await clock.sleep(600)
        house.heard()
        await clock.sleep(WATCHDOG / 2)
        assert "WATCHDOG=1" in house.heard()

    assert live(house, story) == 0


def test_a_long_drain_is_fed_and_an_endless_one_is_not(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.write("drain_timeout: 20s", "drain_timeout: 5m")
    goes_on = asyncio.Event()

    async def drain(seconds: float) -> int:
        await goes_on.wait()
        return 0

    async def story(clock: VirtualClock) -> int:
        service = house.service(clock)
        running = asyncio.create_task(service.run())
        await clock.sleep(1)
        for executor in house.built[0].engine.executors:
            monkeypatch.setattr(executor, "drain", drain)
        service.request_stop()
        await clock.sleep(200)
        house.heard()
        await clock.sleep(100)
        assert "WATCHDOG=1" in house.heard()
        await clock.sleep(reloading.SECONDS_BEYOND_DRAIN + WATCHDOG / 2)
        house.heard()
        await clock.sleep(WATCHDOG)
        assert "WATCHDOG=1" not in house.heard()
        goes_on.set()
        return await running

    assert run(story) == 0


def test_the_end_of_a_part_ends_the_process_with_1(house: House) -> None:
    async def story(service: ReloadingService, clock: VirtualClock) -> None:
        house.built[0].died("the lane has died")
        await clock.sleep(30)
        assert house.heard()[-1] == "STOPPING=1"

    assert live(house, story) == 1


def test_what_differs_is_named_as_it_is_written(house: House) -> None:
    before = house.read()
    assert differences(before, house.read()) == []
    (house.folder / "token").write_text("0123456789abcdef0123")
    house.write("service:", "http: {token_file: token}\nservice:")
    with_a_token = house.read()
    assert differences(before, with_a_token) == ["http", "the token of the HTTP port"]
    (house.folder / "token").write_text("another9abcdef0123456")
    assert differences(with_a_token, house.read()) == ["the token of the HTTP port"]
    house.write("domains:", "retention: {news: {items: 5}}\ndomains:")
    house.write("enabled: true", "enabled: true, latency: 5ms")
    assert differences(with_a_token, house.read()) == ["retention", "providers", "the token of the HTTP port"]


def test_a_closed_terminal_stops_what_was_started_in_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [True, True, False]
    monkeypatch.setattr(os, "isatty", lambda _: answers.pop(0))

    async def story(clock: VirtualClock) -> int:
        service = house.service(clock)
        running = asyncio.create_task(service.run())
        await clock.sleep(5)
        service._hung_up()
        await clock.sleep(5)
        assert len(house.said("config.reloaded")) == 1
        service._hung_up()
        return await running

    assert run(story) == 0
