"""Fault 30: an answer that reads well and is wrong. The document stays, a person is told once, and decides."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.cli.show import show
from scheduler_service.cli.why import why
from scheduler_service.clock import DAY, HOUR, SECOND, utc_day
from scheduler_service.fetching import make_run
from scheduler_service.models import Notice
from scheduler_service.overview import overview
from scheduler_service.processors.earnings_processor import EarningsProcessor
from scheduler_service.releasing import release
from scheduler_service.sandbox.bundle import bundled
from scheduler_service.sandbox.edgar import companyfacts
from scheduler_service.sandbox.faults import Fault, FaultKind, WrongData
from scheduler_service.web.views import FetchRequest, Readiness, ReleaseReport, ReleaseRequest, Status
from tests.integration.lives import Machine

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.engine import Engine

FACTS = "/api/xbrl/companyfacts/"
DOMAINS = ("earnings", "fundamentals")
of_edgar = pytest.mark.parametrize("domain", DOMAINS)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.watch("AAPL")
    return machine


def let_go(machine: Machine, domain: str | None = "earnings", *, reject: bool = False) -> ReleaseReport:
    async def then(engine: Engine) -> ReleaseReport:
        said = await release(engine, ReleaseRequest(symbol="AAPL", domain=domain, reject=reject))
        await engine.publisher.publish_due(ahead=HOUR)
        return said

    said: ReleaseReport = machine.live(then)
    return said


def look(machine: Machine) -> Status:
    async def then(engine: Engine) -> Status:
        return await overview(engine, Readiness(ready=True, state="ready", steps=()), engine.clock.now(), [])

    status: Status = machine.live(then)
    said = tuple(warning for warning in status.warnings if "holidays and half days" not in warning)
    return status.model_copy(update={"warnings": said})


def companyfacts_of_apple(machine: Machine) -> Any:
    apple = next(company for company in bundled() if company.profile.symbol == "AAPL")
    today = utc_day(machine.clock.now()).isoformat()
    return json.loads(companyfacts(apple, sum(filing.filed <= today for filing in apple.filings)))


def struck(machine: Machine, domain: str, source: str, fault: Fault) -> None:
    """Two good fetches, and one two days later under this fault: what it says is set aside."""
    for _ in range(2):
        assert machine.fetch(domain, "AAPL", source=source, force=True)["AAPL", source].state == "completed"
        machine.clock.pass_by(2 * DAY)
    good = machine.document(domain, "AAPL")
    machine.upstream.faults.add(fault)
    ended = machine.fetch(domain, "AAPL", source=source, force=True)["AAPL", source]
    assert (ended.state, ended.reason) == ("failed", "doubtful"), ended
    then = machine.document(domain, "AAPL")
    assert then["data"] == good["data"]
    assert then["sources"][source]["checked_at"] == good["sources"][source]["checked_at"]
    assert (then["sources"][source]["status"], then["sources"][source]["reason"]) == ("failed", "doubtful")
    assert len(machine.said("document.quarantined")) == 1


@pytest.mark.parametrize(
    ("kind", "domain", "source"),
    [
        *((kind, domain, "edgar") for kind in (WrongData.ZEROS, WrongData.HALF) for domain in DOMAINS),
        *((WrongData.ZEROS, domain, "perplexity") for domain in DOMAINS),
        (WrongData.HALF, "earnings", "perplexity"),
    ],
)
def test_nothing_where_there_was_something_and_half_of_it_replace_no_document(
    machine: Machine, kind: WrongData, domain: str, source: str
) -> None:
    struck(machine, domain, source, Fault(kind=kind, path=FACTS if source == "edgar" else "/"))


@of_edgar
def test_figures_as_they_were_a_year_ago_replace_no_document(machine: Machine, domain: str) -> None:
    struck(machine, domain, "edgar", Fault(kind=WrongData.OLDER, days=365, provider="edgar"))
    (told,) = machine.said("document.quarantined")
    assert "its newest" in told


def halved(said: Any) -> str:
    for tag in said["facts"]["us-gaap"].values():
        for rows in tag["units"].values():
            for row in rows:
                row["val"] = row["val"] / 2
    return json.dumps(said)


@of_edgar
def test_halved_figures_of_the_same_filings_are_asked_for_again_and_the_good_ones_come_back(
    machine: Machine, domain: str
) -> None:
    struck(
        machine, domain, "edgar", Fault(kind=FaultKind.BODY, path=FACTS, body=halved(companyfacts_of_apple(machine)))
    )
    machine.upstream.faults.clear()
    assert machine.fetch(domain, "AAPL", source="edgar")["AAPL", "edgar"].reason == "backing_off"
    asked = len(machine.asked)
    machine.clock.pass_by(8 * HOUR)
    ended = machine.fetch(domain, "AAPL", source="edgar")["AAPL", "edgar"]
    assert ended.state == "completed"
    assert any(path.startswith(FACTS) for path in machine.asked[asked:]), "the doubtful answer is kept for no revision"
    assert look(machine).warnings == ()
    assert machine.state("AAPL", domain, "edgar").status == "ok"


def test_the_good_answer_again_ends_the_doubt_in_the_same_life_too(machine: Machine) -> None:
    """What is known to add nothing is not judged again: that must not leave the doubt standing."""
    request = FetchRequest(domain="earnings", symbols=("AAPL",), source="edgar", force=True)

    async def fetches(engine: Engine) -> list[str]:
        async def fetch() -> str:
            await engine.clock.sleep(8 * HOUR / SECOND)
            made = await make_run(engine, request)
            (row,) = await machine.work(engine, made.id)
            return f"{row.state} {row.reason}"

        good = [await fetch(), await fetch(), await fetch()]
        wrong = Fault(kind=FaultKind.BODY, path=FACTS, body=halved(companyfacts_of_apple(machine)))
        machine.upstream.faults.add(wrong)
        doubtful = await fetch()
        machine.upstream.faults.clear()
        return [*good, doubtful, await fetch()]

    assert machine.live(fetches) == [*["completed None"] * 3, "failed doubtful", "completed None"]
    assert look(machine).warnings == ()


def doubt(machine: Machine) -> None:
    struck(
        machine,
        "earnings",
        "edgar",
        Fault(kind=FaultKind.BODY, path=FACTS, body=halved(companyfacts_of_apple(machine))),
    )


def test_the_same_doubtful_answer_is_named_once_and_never_believed_by_itself(machine: Machine) -> None:
    doubt(machine)
    good = machine.document("earnings", "AAPL")["data"]
    for _ in range(4):
        machine.clock.pass_by(DAY)
        ended = machine.fetch("earnings", "AAPL", source="edgar", force=True)["AAPL", "edgar"]
        assert ended.reason == "doubtful"
        assert machine.document("earnings", "AAPL")["data"] == good
    assert len(machine.said("document.quarantined")) == 1
    (warning,) = look(machine).warnings
    assert warning.startswith("earnings of AAPL from edgar is doubtful, set aside since 2026-")
    assert warning.endswith("drop it: scheduler-service release AAPL earnings --reject")
    assert ", was " in warning


def wrong_at_first(machine: Machine, times: int = 1) -> list[str | None]:
    """How the fetches of five days end after a first answer, or more, that was wrong."""
    machine.upstream.faults.add(Fault(kind=FaultKind.BODY, path=FACTS, body=halved(companyfacts_of_apple(machine))))
    for _ in range(times):
        assert machine.fetch("earnings", "AAPL", source="edgar", force=True)["AAPL", "edgar"].state == "completed"
        machine.clock.pass_by(DAY)
    machine.upstream.faults.clear()
    ends = []
    for _ in range(5):
        ends.append(machine.fetch("earnings", "AAPL", source="edgar", force=True)["AAPL", "edgar"])
        machine.clock.pass_by(DAY)
    assert "earnings from edgar" not in " ".join(look(machine).warnings) or ends[-1].reason == "doubtful"
    return [ended.reason for ended in ends]


def revenue_of(machine: Machine) -> Any:
    return machine.document("earnings", "AAPL")["data"]["reports"][0]["revenue"]


def test_a_first_answer_that_was_wrong_gives_way_to_one_that_is_said_again_and_again(machine: Machine) -> None:
    assert wrong_at_first(machine) == ["doubtful", "doubtful", None, None, None]
    (told,) = [said for said in machine.said("task.completed") if "doubtful" in said]
    assert "it was doubtful, and is believed" in told
    assert ", was " in told
    wrong = machine.query("select count(*) from doubtful")
    assert wrong == [(0,)]


def test_one_that_was_said_twice_does_not(machine: Machine) -> None:
    assert wrong_at_first(machine, times=2) == ["doubtful"] * 5


def test_nor_does_any_to_what_a_person_rejected(machine: Machine) -> None:
    machine.upstream.faults.add(Fault(kind=FaultKind.BODY, path=FACTS, body=halved(companyfacts_of_apple(machine))))
    machine.fetch("earnings", "AAPL", source="edgar", force=True)
    machine.upstream.faults.clear()
    for _ in range(5):
        machine.clock.pass_by(DAY)
        assert machine.fetch("earnings", "AAPL", source="edgar", force=True)["AAPL", "edgar"].reason == "doubtful"
        let_go(machine, reject=True)


def test_the_same_answer_read_again_and_again_is_said_once(machine: Machine) -> None:
    machine.upstream.faults.add(Fault(kind=FaultKind.BODY, path=FACTS, body=halved(companyfacts_of_apple(machine))))
    machine.fetch("earnings", "AAPL", source="edgar", force=True)
    machine.upstream.faults.clear()
    machine.clock.pass_by(DAY)
    machine.fetch("earnings", "AAPL", source="edgar", force=True)
    for _ in range(4):
        machine.clock.pass_by(DAY)
        ended = machine.fetch("earnings", "AAPL", source="edgar", reparse=True)["AAPL", "edgar"]
        assert ended.reason == "doubtful"


def test_what_only_an_older_program_read_gives_way_too(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler_service.engine.__version__", "0.0.9")
    for _ in range(3):
        machine.fetch("earnings", "AAPL", source="edgar", force=True)
        machine.clock.pass_by(DAY)
    monkeypatch.undo()
    good = revenue_of(machine)
    machine.upstream.faults.add(Fault(kind=FaultKind.BODY, path=FACTS, body=halved(companyfacts_of_apple(machine))))
    ends = []
    for _ in range(3):
        ends.append(machine.fetch("earnings", "AAPL", source="edgar", force=True)["AAPL", "edgar"].reason)
        machine.clock.pass_by(DAY)
    assert ends == ["doubtful", "doubtful", None]
    assert revenue_of(machine) == good / 2


def test_a_person_s_release_believes_it(machine: Machine) -> None:
    doubt(machine)
    good = machine.document("earnings", "AAPL")["data"]["reports"][0]["revenue"]
    told = let_go(machine, None)
    assert told.doubtful == ("earnings from edgar",)
    assert machine.document("earnings", "AAPL")["data"]["reports"][0]["revenue"] == good, "the domain must be named"
    assert let_go(machine).accepted == ("earnings from edgar",)
    then = machine.document("earnings", "AAPL")
    assert then["data"]["reports"][0]["revenue"] == good / 2
    assert then["sources"]["edgar"]["status"] == "ok"
    assert look(machine).warnings == ()
    assert machine.fetch("earnings", "AAPL", source="edgar", force=True)["AAPL", "edgar"].state == "completed"


def test_what_a_person_accepts_is_noticed_like_what_was_believed_at_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def notices(_self: object, symbol: str, before: Any, after: Any, now: int, since: int) -> list[Notice]:
        del now, since
        was, is_ = (None if said is None else said.reports[0].revenue for said in (before, after))
        return [] if was in (None, is_) else [Notice(f"moved:{symbol}", "earnings.moved", f"{was} to {is_}")]

    doubt(machine)
    monkeypatch.setattr(EarningsProcessor, "notices", notices)
    assert machine.query("SELECT key FROM outbox WHERE event = 'earnings.moved'") == []
    let_go(machine)
    assert machine.query("SELECT key FROM outbox WHERE event = 'earnings.moved'") == [("moved:AAPL",)]


def test_what_a_person_rejects_is_dropped_and_the_same_again_is_no_news(machine: Machine) -> None:
    doubt(machine)
    assert let_go(machine, reject=True).rejected == ("earnings from edgar",)
    assert look(machine).warnings == ()
    machine.clock.pass_by(DAY)
    assert machine.fetch("earnings", "AAPL", source="edgar", force=True)["AAPL", "edgar"].reason == "doubtful"
    assert look(machine).warnings == ()
    assert len(machine.said("document.quarantined")) == 1
    assert let_go(machine, reject=True).message == "nothing of earnings of AAPL is doubtful"


def test_parsed_anew_it_is_as_doubtful_as_before(machine: Machine) -> None:
    doubt(machine)
    ended = machine.fetch("earnings", "AAPL", source="edgar", reparse=True)["AAPL", "edgar"]
    assert ended.reason == "doubtful"


def test_show_and_why_tell_what_is_doubtful_and_what_to_do(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    doubt(machine)
    paths = [machine.folder / "every-source.yaml"]
    assert show(paths, "AAPL", "earnings", as_json=False, clock=machine.clock) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "set aside as doubtful: revenue of FY2026 Q" in shown
    assert "accept it: scheduler-service release AAPL earnings; drop it: the same with --reject" in shown
    why(paths, "earnings", "AAPL", at=None, as_json=True, clock=machine.clock)
    told = capsys.readouterr().out
    assert "set aside since 2026-11-2" in told
    assert "and no new filing says so" in told
