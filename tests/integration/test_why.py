"""``why`` over ledgers that a dispatcher wrote: the past as recorded, now as it stands, the future as it will be."""

from __future__ import annotations

import asyncio
import json
import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, insert, update

from scheduler_service.cli.commands import cli
from scheduler_service.cli.configuration import read
from scheduler_service.cli.why import why
from scheduler_service.clock import HOUR, MINUTE, from_iso
from scheduler_service.engine import Engine
from scheduler_service.events.event_bus import EventBus
from scheduler_service.evidence import ServiceSeen
from scheduler_service.gates.gate import Gate
from scheduler_service.initialisation import OwnedTasks
from scheduler_service.models import Reason
from scheduler_service.settings.load import Found
from scheduler_service.stores import call_store, gate_store, stock_state_store, task_store
from scheduler_service.stores.call_store import CallState, NewCall
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.gate_store import GateRow
from scheduler_service.stores.mode import LIVE, claim_mode
from scheduler_service.stores.schema import pause, run, task
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from scheduler_service.stores.database import Connection

CONFIG = """\
service: {timezone: America/New_York, data_dir: data}
watchlist: [AAPL, NVDA, {symbol: SNOW, tags: [cloud]}]
providers:
  edgar: {user_agent: Jane Doe jane.doe@example.com, budget: {calls_per_day: 500}}
  feeds: {urls: ["https://a.example/{symbol}"]}
domains:
  news: {sources: [{use: feeds, fresh_for: 20m}, {use: edgar_filings, fresh_for: 20m, enabled: false}]}
  earnings: {sources: [{use: edgar, fresh_for: 20h}, {use: perplexity, fresh_for: 7d, when: missing}]}
schedules:
  - {id: hourly, domain: news, trigger: {every: 1h}, catch_up_window: 6h}
  - {id: cloudy, domain: news, trigger: {every: 6h}, symbols: {tags: [cloud]}, spread: 5m}
  - {id: morning, domain: earnings, trigger: {cron: "0 7 * * mon-fri"}, catch_up: none}
  - id: "off"
    domain: news
    trigger: {every: 1h}
    enabled: false
"""
START = from_iso("2026-11-23T14:30:00Z")


class House:
    """A configuration and what its service has done; each ``serve`` is the life of one process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = folder / "c.yaml"
        self.config.write_text(CONFIG)
        self.now = START
        self._capsys = capsys

    def serve(self, *then: Callable[[Engine], Awaitable[object]]) -> None:
        """Starts, accounts for what is due, does this, and ends."""

        async def life() -> None:
            engine = Engine(read(Found((self.config,), "")), FakeClock(self.now), EventBus().publish)
            owned = OwnedTasks(lambda problem: None)
            engine.directory.take()
            await engine.open_ledger()
            owned.start("ledger writer", engine.ledger.write_forever())
            await engine.ledger.run(partial(claim_mode, mode=LIVE, data_dir=""))
            try:
                await engine.dispatcher.sync()
                await engine.dispatcher.reconcile_all()
                for step in then:
                    await step(engine)
            finally:
                owned.stopping()
                engine.ledger.stop_writing()
                await owned.join("ledger writer")
                await engine.close()

        asyncio.run(life())

    def write(self, unit: Callable[[Connection], object]) -> None:
        self.serve(lambda engine: engine.ledger.run(unit))

    def ask(self, name: str, symbol: str | None = None, at: str | None = None) -> dict[str, Any]:
        assert why([self.config], name, symbol, at=at, as_json=True, clock=FakeClock(self.now)) == 0
        found: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return found

    def answer(self, name: str, symbol: str | None = None, at: str | None = None) -> tuple[str, str]:
        """The headline, and the setting that decided with its line."""
        said = self.ask(name, symbol, at)
        by = said["decided_by"]
        return said["answer"], "" if by is None else f"{by['path']} {by['line'].rsplit('/')[-1].rpartition(':')[0]}"


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    return House(tmp_path, capsys)


def finding(said: dict[str, Any], about: str) -> str:
    """What the first schedule says about something."""
    found = [f["answer"] for f in said["schedules"][0]["findings"] if f["about"] == about]
    assert found, said["schedules"][0]["findings"]
    return str(found[0])


# Before anything has run


def test_where_nothing_has_run_the_configuration_alone_answers(house: House) -> None:
    said, by = house.answer("hourly")
    assert said == "hourly: no service runs: nothing is fetched by schedule until it is started (scheduler-service run)"
    assert by == "service.data_dir c.yaml:1"
    assert house.answer("hourly", at="2026-11-23T13:00:00Z")[0] == (
        "hourly: nothing is recorded: no service has run with this schedule yet"
    )
    assert house.ask("hourly", at="2026-11-20T13:00:00Z")["schedules"][0]["next"] == "2026-11-23T15:00:00Z", "to come"
    assert house.answer("hourly", at="2026-11-23T15:00:00Z")[0] == (
        "hourly: a slot is due at 2026-11-23T15:00:00Z (Mon 10:00 EST), and news of its symbols will be fetched, "
        "if a service runs then"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hourli"], "there is no schedule or domain 'hourli'; did you mean hourly?"),
        (["newz"], "there is no schedule or domain 'newz'; did you mean news?"),
        (["news", "A B"], "a symbol has 1 to 64 visible characters"),
        (["news", "--at", "yesterday"], "--at 'yesterday' is not understood"),
        ([], "Missing argument 'JOB|DOMAIN'"),
    ],
)
def test_what_is_not_known_is_a_mistake_of_use(house: House, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, ["-c", str(house.config), "why", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


# What was


def test_a_slot_on_a_day_on_which_the_clocks_change_says_what_they_did(house: House) -> None:
    house.config.write_text(CONFIG.replace("0 7 * * mon-fri", "30 2 * * *"))
    for at in ("2027-03-14T07:00:00Z", "2027-03-14T02:30"):
        assert house.answer("morning", at=at)[0].endswith(
            "if a service runs then; clocks go forward: 02:30 does not exist, runs at 03:00"
        )


def test_a_slot_that_ran_is_told_with_its_run(house: House) -> None:
    house.serve()
    house.now += 30 * MINUTE
    house.serve()
    house.now += MINUTE
    said = house.ask("hourly", at="2026-11-23T15:00:00Z")
    assert said["answer"] == ("hourly: the slot 2026-11-23T15:00:00Z (Mon 10:00 EST): it ran, 0.0 s after it was due")
    assert said["decided_by"]["path"] == "schedules[hourly].trigger"
    assert re.search(r"c\.yaml:10:\d+$", said["decided_by"]["line"])
    assert said["schedules"][0]["slot"]["outcome"] == "ran"
    assert finding(said, "run") == "run 1, still open: 3 open"
    assert said["sources"] == [], "how they are now says nothing of then"


def test_a_stretch_of_missed_slots_is_told_by_the_policy_that_decided(house: House) -> None:
    house.serve()
    house.now += 20 * HOUR
    house.serve()
    said, by = house.answer("hourly", at="2026-11-23T20:00:00Z")
    assert "it was missed (too_old): it was found later than catch_up_window allows; one of 14 slots from" in said
    assert by == "schedules[hourly].catch_up_window c.yaml:10"
    said, by = house.answer("hourly", at="2026-11-24T06:00:00Z")
    assert said.endswith(
        "it was found late and coalesced: the slot 2026-11-24T10:00:00Z (Tue 05:00 EST) was run in its place; one of 5 "
        "slots from 2026-11-24T05:00:00Z (Tue 00:00 EST) to 2026-11-24T09:00:00Z (Tue 04:00 EST) that ended alike"
    )
    assert by == "schedules[hourly].catch_up c.yaml:10"
    said, by = house.answer("hourly", at="2026-11-24T10:00:00Z")
    assert said.endswith("it was caught up at 2026-11-24T10:30:00Z (Tue 05:30 EST), 30 min late")
    assert house.answer("hourly", at="2026-11-24T06:30:00Z")[0].startswith(
        "hourly: no slot at 2026-11-24T06:30:00Z (Tue 01:30 EST): the trigger says 'every hour'; the one before is "
        "2026-11-24T06:00:00Z"
    ), "also inside a stretch"
    house.now += 4 * HOUR
    house.serve()
    said, by = house.answer("morning", at="2026-11-24T12:00:00Z")
    assert "it was missed (catch_up_none): it was found late, and catch_up is none" in said
    assert by == "schedules[morning].catch_up c.yaml:12"


def test_an_instant_without_a_slot_is_told_with_those_around_it(house: House) -> None:
    house.serve()
    house.now += 3 * HOUR
    house.serve()
    said = house.ask("hourly", at="2026-11-23T16:20:00Z")
    assert said["answer"] == (
        "hourly: no slot at 2026-11-23T16:20:00Z (Mon 11:20 EST): the trigger says 'every hour'; the one before is "
        "2026-11-23T16:00:00Z (Mon 11:00 EST), the next 2026-11-23T17:00:00Z (Mon 12:00 EST)"
    )
    assert said["schedules"][0]["slot"] is None
    assert "coalesced" in finding(said, "slot before")


def test_before_its_beginning_a_schedule_has_no_slots(house: House) -> None:
    house.serve()
    said, _ = house.answer("hourly", at="2026-11-23T14:00:00Z")
    assert said == (
        "hourly: no slot is recorded at 2026-11-23T14:00:00Z (Mon 09:00 EST): in its present form it begins at "
        "2026-11-23T14:30:00Z (Mon 09:30 EST)"
    )


def test_a_slot_that_nobody_has_accounted_for_yet_waits_for_a_service(house: House) -> None:
    house.serve()
    house.now += 3 * HOUR
    said, by = house.answer("hourly", at="2026-11-23T16:00:00Z")
    assert said == (
        "hourly: this slot is not accounted for yet; its next start, for no service runs, decides on it "
        "(catch_up: latest, within 6h)"
    )
    assert by == "schedules[hourly].catch_up c.yaml:10"
    now = house.ask("hourly")
    assert finding(now, "due").startswith("3 slots since 2026-11-23T15:00:00Z (Mon 10:00 EST) are to be accounted for")


def test_a_paused_stretch_says_so(house: House) -> None:
    house.serve()
    house.write(lambda conn: conn.execute(insert(pause).values(scope="hourly", since=START, until=None, reason="move")))
    house.now += 3 * HOUR
    house.serve()
    said, _ = house.answer("hourly", at="2026-11-23T16:00:00Z")
    assert "it was skipped (paused): it was paused; one of 3 slots" in said


def test_a_slot_of_a_pause_that_ended_while_no_service_ran_is_told_by_that_pause(house: House) -> None:
    house.serve()
    row = {"scope": "hourly", "since": START, "until": START + HOUR, "reason": "move"}
    house.write(lambda conn: conn.execute(insert(pause).values(**row)))
    house.now += 3 * HOUR
    said, _ = house.answer("hourly", at="2026-11-23T15:00:00Z")
    assert "not accounted for yet" in said
    assert said.endswith("until 2026-11-23T15:30:00Z (Mon 10:30 EST): move)")
    assert "catch_up: latest" in house.answer("hourly", at="2026-11-23T17:00:00Z")[0]
    house.serve()
    assert "it was skipped (paused)" in house.answer("hourly", at="2026-11-23T15:00:00Z")[0]


def test_a_clock_from_before_this_program_is_the_answer(house: House) -> None:
    house.serve()
    house.now = from_iso("2020-01-01T00:00:00Z")
    assert house.answer("hourly")[0].startswith("hourly: the clock shows 2020-01-01T00:00:00Z (Tue 19:00 EST), before")


def test_a_stock_is_told_with_its_tasks_and_their_calls(house: House) -> None:
    house.serve()
    house.now += 30 * MINUTE

    async def fetched(engine: Engine) -> None:
        def unit(conn: Connection) -> None:
            (claimed, *_) = task_store.claim(conn, "feeds", house.now, 1)
            call_id = call_store.reserve(
                conn, NewCall("feeds:AAPL", "feeds", (claimed.id,), 0, "2026-11-23", None), house.now
            )
            call_store.settle(conn, call_id, CallState.FAILED, house.now, status=503, reason=Reason.PROVIDER_DOWN)
            conn.execute(
                update(task)
                .where(task.c.id == claimed.id)
                .values(state="failed", reason="provider_down", message="503", ended_at=house.now)
            )
            conn.execute(update(run).values(open_tasks=2, failed=1))

        await engine.ledger.run(unit)

    house.serve(fetched)
    said = house.ask("hourly", "AAPL", at="2026-11-23T15:00:00Z")
    assert said["answer"] == (
        "hourly: AAPL, slot 2026-11-23T15:00:00Z (Mon 10:00 EST): feeds: failed (provider_down: 503) at "
        "2026-11-23T15:00:00Z (Mon 10:00 EST)"
    )
    assert finding(said, "calls of feeds") == (
        "task 1: call 1 to feeds (asked), feeds:AAPL: failed (503, provider_down)"
    )
    (traced,) = said["schedules"][0]["tasks"]
    assert [(call["call_id"], call["status"]) for call in traced["calls"]] == [(1, 503)]
    assert "had no task of TSLA" in house.answer("hourly", "TSLA", at="2026-11-23T15:00:00Z")[0]


def test_a_schedule_that_was_taken_out_can_still_be_asked_about(house: House) -> None:
    house.serve()
    house.now += 40 * MINUTE
    house.serve()
    house.config.write_text(CONFIG.replace("id: hourly", "id: other"))
    house.now += MINUTE
    house.serve()
    house.now += HOUR
    assert "it was caught up at" in house.answer("hourly", at="2026-11-23T15:00:00Z")[0]
    assert house.answer("hourly")[0] == (
        "hourly: it is not in the configuration since 2026-11-23T15:11:00Z (Mon 10:11 EST)"
    )
    assert house.answer("hourly", at="2026-11-23T16:00:00Z")[0] == (
        "hourly: no slot: it is out of the configuration since 2026-11-23T15:11:00Z (Mon 10:11 EST)"
    )


# What is


def serving(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a service ran."""

    seen(monkeypatch, ServiceSeen("it runs: ready"))


def seen(monkeypatch: pytest.MonkeyPatch, service: ServiceSeen) -> None:
    async def asked(settings: object) -> ServiceSeen:
        del settings
        return service

    monkeypatch.setattr("scheduler_service.cli.why._service", asked)


def test_a_disabled_schedule_says_so_with_its_line(house: House) -> None:
    house.serve()
    assert house.answer("off") == (
        "off: it is switched off (enabled: false): it has no slots",
        "schedules[off].enabled c.yaml:16",
    )


def test_what_is_not_watched_or_not_chosen_is_told(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.serve()
    assert house.answer("hourly", "APPL") == ("hourly: APPL is not on the watchlist", "watchlist c.yaml:2")
    assert why([house.config], "hourly", "APPL", at=None, as_json=False, clock=FakeClock(START)) == 0
    assert "APPL is not on the watchlist; did you mean AAPL?" in capsys.readouterr().err
    said, by = house.answer("cloudy", "AAPL")
    assert said == "cloudy: AAPL is watched, but not among the symbols of cloudy"
    assert by == "schedules[cloudy].symbols c.yaml:11"


def test_of_a_domain_every_schedule_that_covers_the_stock_is_told(house: House) -> None:
    house.serve()
    assert [s["schedule_id"] for s in house.ask("news", "AAPL")["schedules"]] == ["hourly", "off"]
    said = house.ask("news", "SNOW")
    assert [s["schedule_id"] for s in said["schedules"]] == ["hourly", "cloudy", "off"], "the soonest first"
    assert [(s["source"], s["off"]) for s in said["sources"]] == [
        ("feeds", None),
        ("edgar_filings", "switched off (enabled: false)"),
    ]
    assert said["answer"].startswith("hourly: "), "not that one of them is switched off"


def test_of_a_domain_the_schedule_that_is_due_answers_else_the_soonest(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(monkeypatch)
    house.config.write_text(CONFIG.replace("trigger: {every: 6h}", "trigger: {cron: '20 12 * * *'}"))
    house.serve()
    house.now += MINUTE
    assert house.answer("news")[0].startswith("hourly: nothing is due now; the next slot is 2026-11-23T15:00:00Z")
    cloudy = "2026-11-23T17:20:00Z"
    assert house.answer("news", at=cloudy)[0].startswith(f"cloudy: a slot is due at {cloudy}")
    house.now = from_iso("2026-11-23T17:10:00Z")
    house.serve()
    house.write(lambda conn: conn.execute(update(task).values(state="completed", ended_at=house.now)))
    assert house.answer("news")[0].startswith(f"cloudy: nothing is due now; the next slot is {cloudy}")
    house.now = from_iso("2026-11-23T17:20:30Z")
    assert house.answer("news")[0].startswith("cloudy: 1 slot since")
    assert house.answer("news", at=cloudy)[0].startswith("cloudy: this slot is not accounted for yet")
    assert house.answer("news", at="2026-11-23T16:00:00Z")[0].startswith("hourly: the slot 2026-11-23T16:00:00Z")
    assert house.answer("news", at="2026-11-23T18:00:00Z")[0].startswith("hourly: a slot is due at 2026-11-23T18:00")


def test_what_keeps_the_service_from_its_work_is_the_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.serve()
    house.now += 2 * HOUR
    seen(monkeypatch, ServiceSeen("it runs: ready, degraded; the clock shows 1970", hinders=True))
    assert house.answer("hourly") == ("hourly: it runs: ready, degraded; the clock shows 1970", "")
    assert "will be fetched" in house.answer("hourly", at="2026-11-23T17:00:00Z")[0]


def test_a_service_that_holds_the_directory_and_does_not_answer_is_told_with_its_process(house: House) -> None:
    house.serve()
    holder = DataDirectory(house.config.parent / "data")
    holder.take()
    try:
        said = house.answer("hourly")[0]
    finally:
        holder.release()
    assert said.startswith(f"hourly: a service holds {holder.root} (pid {os.getpid()}) and does not answer: it is ")
    assert house.answer("hourly")[0].startswith("hourly: no service runs")


def test_a_task_of_another_schedule_is_told_as_that_ones(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    serving(monkeypatch)
    house.serve()
    house.now = from_iso("2026-11-23T17:00:00Z")
    house.serve()
    house.write(lambda conn: conn.execute(delete(task).where(task.c.schedule_id != "cloudy")))
    said, by = house.answer("hourly", "SNOW")
    assert re.fullmatch(r"hourly: SNOW: feeds: queued, to start from \S+ \(Mon .* EST\), for cloudy", said)
    assert by == "schedules[cloudy].spread c.yaml:11"
    assert ", for " not in house.answer("cloudy", "SNOW")[0]


def test_a_paused_schedule_says_since_when_until_when_and_why(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    serving(monkeypatch)
    house.serve()
    row = {"scope": "*", "since": START, "until": START + 2 * HOUR, "reason": "the office moves"}
    house.write(lambda conn: conn.execute(insert(pause).values(**row)))
    house.now += MINUTE
    assert house.answer("hourly") == (
        "hourly: everything is paused since 2026-11-23T14:30:00Z (Mon 09:30 EST), until 2026-11-23T16:30:00Z (Mon "
        "11:30 EST): the office moves",
        "",
    )
    assert "everything is paused" in house.answer("hourly", at="2026-11-23T16:00:00Z")[0]
    after = house.ask("hourly", at="2026-11-23T17:00:00Z")
    assert "will be fetched" in after["answer"]
    assert finding(after, "paused").startswith("no longer then: everything is paused since")


def test_a_task_under_way_says_what_it_waits_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    serving(monkeypatch)
    house.serve()
    house.now += 30 * MINUTE
    house.serve()
    assert house.answer("hourly")[0] == "hourly: tasks of it: 3 queued"

    def unit(conn: Connection) -> None:
        (claimed, *_) = task_store.claim(conn, "feeds", house.now, 1)
        task_store.hold(conn, claimed, Reason.RATE_LIMITED, house.now + 5 * MINUTE, house.now)

    house.write(unit)
    assert house.answer("hourly")[0] == "hourly: tasks of it: 1 held (rate_limited), 2 queued"
    assert house.answer("hourly", "AAPL") == (
        "hourly: AAPL: feeds: held (rate_limited) until 2026-11-23T15:05:00Z (Mon 10:05 EST)",
        "providers.feeds c.yaml:5",
    )


def test_a_failure_and_the_next_slot_are_told_together(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    serving(monkeypatch)
    house.serve()
    house.now += 30 * MINUTE
    house.serve()
    failed = {"state": "failed", "reason": "timeout", "message": "no answer", "ended_at": house.now}
    house.write(lambda conn: conn.execute(update(task).values(**failed)))
    assert house.answer("hourly", "NVDA")[0] == (
        "hourly: the last fetch of NVDA from feeds failed (timeout: no answer) at 2026-11-23T15:00:00Z (Mon 10:00 "
        "EST); the next slot is 2026-11-23T16:00:00Z (Mon 11:00 EST)"
    )


def test_between_its_slots_a_schedule_says_how_the_last_one_went_and_when_the_next_is(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(monkeypatch)
    house.serve()
    house.now += 30 * MINUTE
    house.serve()
    house.write(lambda conn: conn.execute(update(task).values(state="completed", ended_at=house.now)))
    house.now += MINUTE
    assert house.answer("hourly") == (
        "hourly: nothing is due now; the last slot, 2026-11-23T15:00:00Z (Mon 10:00 EST): ran; the next slot is "
        "2026-11-23T16:00:00Z (Mon 11:00 EST)",
        "schedules[hourly].trigger c.yaml:10",
    )


# What will be


def test_a_slot_that_will_find_its_source_fresh_says_until_when(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    serving(monkeypatch)
    house.serve()
    house.write(
        lambda conn: stock_state_store.checked(conn, "AAPL", "news", "feeds", due_at=START, changed=True, now=START)
    )
    house.config.write_text(CONFIG.replace("use: feeds, fresh_for: 20m", "use: feeds, fresh_for: 1h"))
    assert house.answer("hourly", "AAPL", at="2026-11-23T15:00:00Z") == (
        "hourly: its tasks will be skipped (fresh): feeds: fresh until 2026-11-23T15:24:00Z (Mon 10:24 EST)",
        "domains.news.sources[0].fresh_for c.yaml:7",
    )
    assert "AAPL will be fetched" in house.answer("hourly", "AAPL", at="2026-11-23T16:00:00Z")[0]
    assert "NVDA will be fetched" in house.answer("hourly", "NVDA", at="2026-11-23T15:00:00Z")[0]


def test_a_gate_that_is_shut_then_or_a_used_up_budget_is_told_with_its_setting(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(monkeypatch)
    house.serve()
    shut = GateRow(START + 2 * HOUR, START, Reason.RATE_LIMITED)
    gate = Gate("feeds", read(Found((house.config,), "")).providers["feeds"], FakeClock(START))
    (name,) = (door.closed_row for door in gate.doors.values())
    house.write(lambda conn: gate_store.put_gate(conn, "feeds", name, shut))
    said, by = house.answer("hourly", at="2026-11-23T15:00:00Z")
    assert said == "hourly: feeds at a.example is not asked until 2026-11-23T16:30:00Z (rate_limited)"
    assert by == "providers.feeds c.yaml:5"
    assert "will be fetched" in house.answer("hourly", at="2026-11-23T17:00:00Z")[0]
    house.config.write_text(CONFIG.replace("calls_per_day: 500", "calls_per_day: 0"))
    said, by = house.answer("morning", at="2026-11-24T12:00:00Z")
    assert said.startswith("morning: edgar: the budget's 0 calls of today are used; it starts anew at 2026-11-25")
    assert by == "providers.edgar.budget c.yaml:4"


def test_a_provider_without_a_key_is_off_in_its_own_words(house: House) -> None:
    house.serve()
    sources = {source["source"]: source for source in house.ask("morning", "AAPL")["sources"]}
    assert sources["edgar"]["off"] is None
    assert "no key" in sources["perplexity"]["off"]


def test_the_text_names_the_setting_and_does_not_say_more_than_json(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.serve()
    assert why([house.config], "off", "AAPL", at=None, as_json=False, clock=FakeClock(START)) == 0
    headline, by, *_ = capsys.readouterr().out.splitlines()
    assert headline == house.answer("off", "AAPL")[0]
    assert by == f"  decided by {house.config}:16:14 schedules[off].enabled"
