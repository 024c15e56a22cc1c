"""From a symbol to its company's figures, through a recorded ``ask``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from scheduler_service.calls import Answer, Resource
from scheduler_service.clients.edgar_client import EdgarClient
from scheduler_service.clock import HOUR, SystemClock
from scheduler_service.errors import CircuitOpen, InLine, NotFound, ParseError, TransientClientError
from scheduler_service.models import Kind, Outcome, Reason, RunOrigin, Symbol, Task, TaskState
from scheduler_service.parsers.earnings import CONCEPTS, EarningsData
from scheduler_service.parsers.fundamental_analysis import FundamentalsData
from scheduler_service.processors.base import Processor, SourcePolicy, discover
from scheduler_service.processors.company import read_company, read_name
from scheduler_service.processors.earnings_processor import EarningsProcessor
from scheduler_service.processors.fundamental_analyzer import FundamentalAnalyzer

T = TypeVar("T")
REPORT = "0000000042-26-000001"
SYMBOL = Symbol("SMLL")


class RecordedAsk:
    """Answers by the kind of resource, and remembers what was asked."""

    def __init__(
        self, cik: int = 42, facts_cik: int = 42, filings: tuple[str, ...] = (REPORT,), figure: str = REPORT
    ) -> None:
        flow = {
            "start": "2025-01-01",
            "end": "2025-12-31",
            "val": 100,
            "accn": figure,
            "form": "10-K",
            "filed": "2026-02-01",
        }
        tags = {"Revenues": {"units": {"USD": [flow]}}, "NetIncomeLoss": {"units": {"USD": [flow | {"val": 20}]}}}
        recent = {
            "accessionNumber": filings,
            "form": ["10-K"] * len(filings),
            "filingDate": ["2026-02-01"] * len(filings),
            "primaryDocument": ["annual.htm"] * len(filings),
        }
        self.asked: list[Resource] = []
        self.bodies: dict[str, Any] = {
            "tickers": {"0": {"cik_str": 42, "ticker": "SMLL"}},
            "submissions": {"cik": f"{cik:010d}", "name": "Small", "filings": {"recent": recent}},
            "companyfacts": {"cik": facts_cik, "entityName": "Small", "facts": {"us-gaap": tags}},
        }

    async def __call__(self, resource: Resource, parse: Callable[[bytes], T]) -> Answer[T]:
        self.asked.append(resource)
        said = self.bodies[resource.key.split(":")[1]]
        if isinstance(said, Exception):
            raise said
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        return Answer(parse(body), f"call-{len(self.asked)}", resource.request.url, 0, sandbox=False, asked=True)


def client() -> EdgarClient:
    return EdgarClient(EdgarClient.Options(), SystemClock())


async def test_it_goes_from_tickers_to_submissions_to_companyfacts() -> None:
    ask = RecordedAsk()
    company = await read_company(ask, client(), SYMBOL, CONCEPTS)
    assert [resource.key for resource in ask.asked] == [
        "edgar:tickers",
        "edgar:submissions:0000000042",
        "edgar:companyfacts:0000000042",
    ]
    assert ask.asked[-1].revision == REPORT
    assert (company.facts.cik, company.submissions.name) == (42, "Small")
    assert company.origin(REPORT).url == "https://www.sec.gov/Archives/edgar/data/42/000000004226000001/annual.htm"
    assert company.origin(None).url == "https://data.sec.gov/api/xbrl/companyfacts/CIK0000000042.json"
    assert company.origin(REPORT).call_id == "call-3"


async def test_it_asks_again_soon_for_companyfacts_that_lack_the_newest_report() -> None:
    ask = RecordedAsk(filings=("0000000042-26-000002", REPORT))
    await read_company(ask, client(), SYMBOL, CONCEPTS)
    assert [(resource.revision, resource.max_age) for resource in ask.asked[3:]] == [(None, HOUR)]
    assert ask.asked[2].key == ask.asked[3].key


async def test_it_asks_companyfacts_by_age_alone_for_a_company_without_reports() -> None:
    ask = RecordedAsk(filings=())
    await read_company(ask, client(), SYMBOL, CONCEPTS)
    assert [resource.revision for resource in ask.asked] == [None, None, None]


async def test_it_says_what_to_do_about_an_unknown_symbol() -> None:
    ask = RecordedAsk()
    with pytest.raises(NotFound, match=r"NOSUCH.*spelling.*alias") as caught:
        await read_company(ask, client(), Symbol("NOSUCH"), CONCEPTS)
    assert caught.value.reason is Reason.UNKNOWN_SYMBOL
    assert len(ask.asked) == 1


async def test_it_looks_a_symbol_up_under_its_alias() -> None:
    company = await read_company(RecordedAsk(), client(), Symbol("SMALL.L", aliases={"edgar": "smll"}), CONCEPTS)
    assert company.facts.cik == 42


@pytest.mark.parametrize("ask", [RecordedAsk(cik=43), RecordedAsk(facts_cik=43)], ids=["submissions", "companyfacts"])
async def test_it_refuses_the_answer_of_another_company(ask: RecordedAsk) -> None:
    with pytest.raises(ParseError, match=r"asked for CIK 42.*43") as caught:
        await read_company(ask, client(), SYMBOL, CONCEPTS)
    assert caught.value.reason is Reason.WRONG_COMPANY


async def test_it_reads_the_pages_of_older_filings_that_announcements_may_be_on() -> None:
    ask = RecordedAsk()
    pages = [(1, "2025-12-31"), (2, "2024-01-01"), (3, "2010-01-01")]
    files = [
        {"name": f"CIK0000000042-submissions-00{n}.json", "filingTo": until, "filingCount": 2000} for n, until in pages
    ]
    ask.bodies["submissions"]["filings"]["files"] = files
    older = {"form": ["8-K"], "filingDate": ["2025-11-01"], "items": ["2.02"]}
    ask.bodies["older"] = older | {"accessionNumber": ["0000000042-25-000001"]}
    outcome = await process(EarningsProcessor, ask)
    asked = [(resource.key, resource.revision) for resource in ask.asked[3:]]
    assert asked == [
        ("edgar:older:CIK0000000042-submissions-001.json", "2025-12-31 2000"),
        ("edgar:older:CIK0000000042-submissions-002.json", "2024-01-01 2000"),
    ]
    data = EarningsData.model_validate_json(outcome.contribution or b"")
    assert [release.date.isoformat() for release in data.releases] == ["2025-11-01"]
    (release,) = data.releases
    assert release.exhibits_url == (
        "https://www.sec.gov/Archives/edgar/data/42/000000004225000001/0000000042-25-000001-index.htm"
    )


async def test_it_names_a_company_by_the_table_of_tickers_alone() -> None:
    ask = RecordedAsk()
    ask.bodies["tickers"] = {"0": {"cik_str": 42, "ticker": "SMLL", "title": "SMALL CO /DE/"}}
    assert await read_name(ask, client(), SYMBOL) == "SMALL CO"
    assert await read_name(ask, client(), Symbol("NOSUCH")) is None
    assert {resource.key for resource in ask.asked} == {"edgar:tickers"}
    ask.bodies["tickers"] = TransientClientError("down", Reason.PROVIDER_DOWN)
    assert await read_name(ask, client(), SYMBOL) is None


ANNOUNCED = "0000000042-26-000009"
EXHIBITS = """<table summary="Document Format Files"><tr><th>Document</th><th>Type</th></tr>
<tr><td><a href="/Archives/edgar/data/42/000000004226000009/ex991.htm">x</a></td><td>EX-99.1</td></tr></table>"""


def announced(filing_index: object) -> RecordedAsk:
    ask = RecordedAsk(filings=(ANNOUNCED, REPORT))
    recent = ask.bodies["submissions"]["filings"]["recent"]
    recent |= {"form": ["8-K", "10-K"], "items": ["2.02,9.01", ""], "reportDate": ["2026-01-30", "2025-12-31"]}
    recent |= {"filingDate": ["2026-01-30", "2026-02-01"], "primaryDocument": ["release.htm", "annual.htm"]}
    ask.bodies["filing"] = filing_index
    return ask


async def test_it_links_the_exhibits_of_the_newest_results() -> None:
    ask = announced(EXHIBITS.encode())
    outcome = await process(EarningsProcessor, ask)
    (release,) = EarningsData.model_validate_json(outcome.contribution or b"").releases
    folder = "https://www.sec.gov/Archives/edgar/data/42/000000004226000009"
    assert [exhibit.model_dump() for exhibit in release.exhibits or ()] == [
        {"type": "EX-99.1", "name": "ex991.htm", "url": f"{folder}/ex991.htm"}
    ]
    index = ask.asked[-1]
    assert index.request.url == release.exhibits_url == f"{folder}/{ANNOUNCED}-index.htm"
    assert (index.key, index.revision) == (f"edgar:filing:{ANNOUNCED}", ANNOUNCED)


@pytest.mark.parametrize(
    "answer",
    [
        NotFound("not there", Reason.NO_DATA),
        TransientClientError("down", Reason.PROVIDER_DOWN),
        CircuitOpen("shut", Reason.PROVIDER_DOWN, 0, circuit="filings", at_the_latest=1),
        b"<html>another page</html>",
    ],
)
async def test_exhibits_that_cannot_be_had_cost_no_figure(answer: object) -> None:
    outcome = await process(EarningsProcessor, announced(answer))
    data = EarningsData.model_validate_json(outcome.contribution or b"")
    assert [release.exhibits for release in data.releases] == [None]
    assert data.reports


async def test_exhibits_wait_for_their_turn() -> None:
    with pytest.raises(InLine):
        await process(EarningsProcessor, announced(InLine("later", Reason.RATE_LIMITED, 0)))


async def test_exhibits_once_read_stay_known() -> None:
    processor = discover()["earnings"]({"edgar": client()}, [SourcePolicy("edgar", HOUR)])
    known, lost = [
        EarningsData.model_validate_json((await process(EarningsProcessor, announced(said))).contribution or b"")
        for said in (EXHIBITS.encode(), NotFound("not there", Reason.NO_DATA))
    ]
    assert processor.accumulate(known, lost, 0) == known
    assert processor.accumulate(lost, known, 0) == known
    assert processor.accumulate(None, lost, 0) == lost


@pytest.mark.parametrize("processor", [EarningsProcessor, FundamentalAnalyzer])
async def test_it_makes_a_contribution_of_filed_figures(processor: type[Processor[Any]]) -> None:
    outcome = await process(processor, RecordedAsk())
    assert (outcome.state, outcome.kind) == (TaskState.COMPLETED, Kind.FILING)
    data = processor.record.model_validate_json(outcome.contribution or b"")
    if isinstance(data, EarningsData):
        (report,) = data.reports
        assert report.revenue == 100
        assert report.accession == REPORT
    if isinstance(data, FundamentalsData):
        assert float(data.metrics["net_margin"].value or 0) == 0.2


@pytest.mark.parametrize("processor", [EarningsProcessor, FundamentalAnalyzer])
async def test_it_fails_the_task_when_the_company_reports_no_figures(processor: type[Processor[Any]]) -> None:
    ask = RecordedAsk()
    ask.bodies["companyfacts"]["facts"] = {"dei": {}}
    outcome = await process(processor, ask)
    assert (outcome.state, outcome.reason, outcome.contribution) == (TaskState.FAILED, Reason.NO_DATA, None)


def test_it_is_found_by_discovery() -> None:
    found = discover()
    assert (found["earnings"], found["fundamentals"]) == (EarningsProcessor, FundamentalAnalyzer)
    sources = [source for name in ("earnings", "fundamentals") for source in found[name].sources]
    assert [source.slow for source in sources if source.name == "edgar"] == [False, True]


async def process(processor: type[Processor[Any]], ask: RecordedAsk) -> Outcome:
    made = processor({"edgar": client()}, [SourcePolicy("edgar", HOUR)])
    task = Task(1, 1, None, RunOrigin.MANUAL, processor.domain, "SMLL", "edgar", due_at=0, attempt=1)
    return await made.process(task, {}, SYMBOL, ask, now=0)
