"""A stock that a source does not know is left alone, named once, and let go by time or by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler_service.clock import DAY, MINUTE
from scheduler_service.errors import ConfigurationError
from scheduler_service.models import StockState
from scheduler_service.overview import overview
from scheduler_service.releasing import release
from scheduler_service.sandbox.faults import Fault, FaultKind
from scheduler_service.web.views import Readiness, ReleaseReport, ReleaseRequest
from tests.integration.lives import Machine

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.engine import Engine
    from scheduler_service.web.views import Status

UNKNOWN = "NOSUCH"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def look(machine: Machine) -> Status:
    async def then(engine: Engine) -> Status:
        ready = Readiness(ready=True, state="ready", steps=())
        return await overview(engine, ready, engine.clock.now(), [])

    status: Status = machine.live(then)
    return status


def let_go(machine: Machine, symbol: str, domain: str | None = None) -> ReleaseReport:
    async def then(engine: Engine) -> ReleaseReport:
        return await release(engine, ReleaseRequest(symbol=symbol, domain=domain))

    said: ReleaseReport = machine.live(then)
    return said


def daily(machine: Machine, days: int) -> dict[int, str]:
    """The days on which a fetch of earnings was not skipped, or skipped for a new reason."""
    changes: dict[int, str] = {}
    last = None
    for day in range(days):
        ended = machine.fetch("earnings", UNKNOWN, "AAPL", source="edgar")
        assert ended["AAPL", "edgar"].state == "completed", "one unknown stock holds up no other"
        said = ended[UNKNOWN, "edgar"].reason or ""
        if said != last or said != "quarantined":
            changes[day] = said
        last = said
        machine.clock.pass_by(DAY)
    return changes


def test_an_unknown_stock_is_tried_seldom_and_named_once_for_each_try(machine: Machine) -> None:
    unknown, quarantined = "unknown_symbol", "quarantined"
    days = {0: unknown, 1: unknown, 2: "backing_off", 3: unknown, 4: quarantined, 10: unknown, 11: quarantined}
    assert daily(machine, 28) == days | {24: unknown, 25: quarantined}
    named = machine.said("symbol.quarantined")
    assert len(named) == 3
    assert named[0].startswith("NOSUCH is unknown to the source edgar of earnings and is left alone until 2026-12-03T")
    assert named[0].endswith("or: scheduler-service release NOSUCH earnings")


def quarantine(machine: Machine) -> None:
    for _ in range(3):
        machine.fetch("earnings", UNKNOWN, source="edgar")
        machine.clock.pass_by(2 * DAY)
    assert machine.fetch("earnings", UNKNOWN, source="edgar")[UNKNOWN, "edgar"].reason == "quarantined"


def test_a_release_has_the_next_slot_ask(machine: Machine) -> None:
    quarantine(machine)
    said = let_go(machine, UNKNOWN)
    assert said.released == ("earnings from edgar (quarantined, unknown_symbol)",)
    assert said.message.endswith("at once: scheduler-service fetch DOMAIN NOSUCH")
    assert machine.said("symbol.released") == [
        "NOSUCH is asked for again at its next slots: earnings from edgar (quarantined, unknown_symbol)"
    ]
    assert machine.fetch("earnings", UNKNOWN, source="edgar")[UNKNOWN, "edgar"].reason == "unknown_symbol"
    assert let_go(machine, UNKNOWN, "news").released == (), "of another domain"
    assert let_go(machine, UNKNOWN, "earnings").released == ("earnings from edgar (backing_off, unknown_symbol)",)
    assert let_go(machine, UNKNOWN).message == "nothing of NOSUCH was held back by failures"


@pytest.mark.parametrize(
    ("symbol", "domain", "said"),
    [
        ("NOSUHC", None, "NOSUHC: it is not watched, and nothing is known of it; did you mean NOSUCH?"),
        ("NOSUCH", "earning", "earning: no such domain is configured; did you mean earnings?"),
    ],
)
def test_a_release_of_what_is_not_known_says_what_was_probably_meant(
    machine: Machine, symbol: str, domain: str | None, said: str
) -> None:
    machine.fetch("earnings", UNKNOWN, source="edgar")
    with pytest.raises(ConfigurationError) as caught:
        let_go(machine, symbol, domain)
    assert str(caught.value) == said


def test_force_asks_all_the_same(machine: Machine) -> None:
    quarantine(machine)
    forced = machine.fetch("earnings", UNKNOWN, source="edgar", force=True)
    assert forced[UNKNOWN, "edgar"].reason == "unknown_symbol"


def test_a_stock_that_is_listed_again_is_free_with_its_first_answer(machine: Machine) -> None:
    others = '{"0": {"cik_str": 1045810, "ticker": "NVDA", "title": "NVIDIA"}}'
    machine.upstream.faults.add(Fault(kind=FaultKind.BODY, path="/files/company_tickers.json", body=others))
    for _ in range(3):
        assert machine.fetch("earnings", "AAPL", source="edgar")["AAPL", "edgar"].reason == "unknown_symbol"
        machine.clock.pass_by(2 * DAY)
    machine.upstream.faults.clear()
    assert machine.fetch("earnings", "AAPL", source="edgar")["AAPL", "edgar"].reason == "quarantined"
    asked = len(machine.asked)
    assert machine.fetch("earnings", "AAPL", source="edgar", force=True)["AAPL", "edgar"].state == "completed"
    assert len(machine.asked) > asked
    state = machine.state("AAPL", "earnings", "edgar")
    assert (state.status, state.failures) == ("ok", 0)


def test_timeouts_before_do_not_count_towards_a_quarantine(machine: Machine) -> None:
    machine.upstream.faults.add(Fault(kind=FaultKind.RESET, provider="edgar"))
    for _ in range(4):
        assert machine.fetch("earnings", UNKNOWN, source="edgar")[UNKNOWN, "edgar"].state != "completed"
        machine.clock.pass_by(DAY)
    machine.upstream.faults.clear()
    assert machine.fetch("earnings", UNKNOWN, source="edgar", force=True)[UNKNOWN, "edgar"].reason == "unknown_symbol"
    state = machine.state(UNKNOWN, "earnings", "edgar")
    assert (state.failures, machine.said("symbol.quarantined")) == (1, [])


def test_a_person_need_not_wait_for_what_is_soon_over_and_a_slot_does(machine: Machine) -> None:
    machine.upstream.faults.add(Fault(kind=FaultKind.RESET, path="/feeds"))
    assert machine.fetch("news", "AAPL", source="feeds")["AAPL", "feeds"].state == "failed"
    machine.upstream.faults.clear()
    machine.clock.pass_by(MINUTE)
    assert machine.fetch("news", "AAPL", source="feeds")["AAPL", "feeds"].state == "completed"


def test_status_names_a_quarantined_stock_and_is_not_degraded_by_it(machine: Machine) -> None:
    machine.watch(UNKNOWN, "AAPL")
    quarantine(machine)
    status = look(machine)
    (warning,) = [said for said in status.warnings if UNKNOWN in said]
    assert warning.startswith("NOSUCH is unknown (earnings from edgar) and left alone until 2026-12-04T")
    assert warning.endswith("take it off the watchlist, give it an alias, or: scheduler-service release NOSUCH")
    (earnings,) = [counts for counts in status.freshness if counts.domain == "earnings"]
    assert (earnings.failing, earnings.quarantined) == (0, 1)
    assert status.problems == ()
    let_go(machine, UNKNOWN)
    released = look(machine)
    assert [said for said in released.warnings if UNKNOWN in said] == []
    assert machine.state(UNKNOWN, "earnings", "edgar") != StockState(), "what is known of it stays"
