"""Pointed at recordings of EDGAR, the program writes the figures that were filed, each with where it was filed."""

from __future__ import annotations

import re
import signal
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.acceptance.commands import document, documents, running, said, until
from tests.acceptance.fixture_upstream import RECORDINGS, fixture_upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.acceptance.fixture_upstream import FixtureUpstream

TRUTH = RECORDINGS.parent / "reference/ground-truth.md"
SYMBOLS = ("AAPL", "NVDA")
DOMAINS = ("earnings", "fundamentals", "news")
USER_AGENT = "Acceptance Test acceptance@example.com"
COLUMNS = {
    "revenue USD": "revenue",
    "net income USD": "net_income",
    "diluted EPS USD/share": "eps_diluted",
    "gross profit USD": "gross_profit",
    "total debt USD": "total_debt",
    "equity USD": "equity",
}

pytestmark = [
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings of EDGAR are not beside this checkout"),
    pytest.mark.timeout(180),
]


class Filed(NamedTuple):
    """One line of the table of filed figures. ``value`` None: not filed; ``accessions``: of those who carry it."""

    kind: str
    end: str
    column: str
    value: Decimal | None
    accessions: tuple[str, ...]


@pytest.fixture
async def upstream() -> AsyncIterator[FixtureUpstream]:
    async with fixture_upstream() as upstream:
        yield upstream


@pytest.fixture
def config(tmp_path: Path, upstream: FixtureUpstream) -> Path:
    path = tmp_path / "filed.yaml"
    path.write_text(
        f"""\
service: {{name: filed, data_dir: data}}
http: {{port: 0}}
retention: {{news: {{age: 36500d}}}}
watchlist: [AAPL, NVDA]
providers:
  edgar: {{base_url: {upstream.base}, www_base_url: {upstream.base}, user_agent: {USER_AGENT}, requests_per_second: 10}}
  feeds: {{urls: ["{upstream.base}/feeds/{{symbol}}"]}}
domains:
  news: {{sources: [feeds, edgar_filings]}}
  earnings: {{sources: [edgar]}}
  fundamentals: {{sources: [edgar]}}
schedules:
  - {{id: news, domain: news, trigger: {{every: 30m}}}}
  - {{id: earnings, domain: earnings, trigger: {{cron: "0 7 * * mon-fri"}}}}
  - {{id: fundamentals, domain: fundamentals, trigger: {{cron: "0 18 * * mon-fri"}}}}
""",
        encoding="utf-8",
    )
    return path


async def test_fetched_documents_hold_what_was_filed(tmp_path: Path, config: Path, upstream: FixtureUpstream) -> None:
    for domain in DOMAINS:
        fetched = await said(tmp_path, "-c", str(config), "fetch", domain, *SYMBOLS)
        assert fetched.code == 0, fetched
    _check_documents(tmp_path / "data", upstream)
    _check_requests(upstream)
    before = len(upstream.asked)
    again = await said(tmp_path, "-c", str(config), "fetch", "earnings", *SYMBOLS)
    assert again.code == 0
    assert len(upstream.asked) == before, "asked again although it was fresh"


async def test_the_service_writes_what_was_filed(tmp_path: Path, config: Path, upstream: FixtureUpstream) -> None:
    wanted = {(domain, symbol) for domain in DOMAINS for symbol in SYMBOLS}
    async with running(tmp_path, "-c", str(config)) as service:
        await service.until_it_says("ready after")
        for domain in DOMAINS:
            await service.until_it_says(f"initial {domain}: done")
        await until(lambda: documents(tmp_path / "data").keys() == wanted, "all documents")
        service.send(signal.SIGTERM)
        assert await service.ended() == 0
    _check_documents(tmp_path / "data", upstream)
    _check_requests(upstream)


async def test_a_symbol_that_edgar_does_not_list_fails_in_words(tmp_path: Path, config: Path) -> None:
    fetched = await said(tmp_path, "-c", str(config), "fetch", "earnings", "NOSUCH", "AAPL")
    assert fetched.code == 1
    assert "NOSUCH" in fetched.out + fetched.err
    assert documents(tmp_path / "data").keys() == {("earnings", "AAPL")}


@pytest.mark.parametrize(("symbol", "figures"), [("AAPL", 36), ("NVDA", 36)])
def test_the_table_of_filed_figures_is_read(symbol: str, figures: int) -> None:
    assert len(filed(symbol)) >= figures


def filed(symbol: str) -> list[Filed]:
    """The table of a company."""
    section = re.search(rf"^## {symbol} .*?(?=^## |\Z)", TRUTH.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert section
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section[0].splitlines() if "ending" in line]
    return [
        Filed(
            "year" if period.startswith("FY") else "quarter",
            period.rpartition(" ")[2],
            COLUMNS[metric],
            Decimal(value.replace(",", "")) if value[-1].isdigit() else None,
            tuple(re.findall(r"\d{10}-\d\d-\d{6}", accessions)),
        )
        for period, _, metric, value, accessions, _ in rows
        if metric in COLUMNS
    ]


def _check_documents(data_dir: Path, upstream: FixtureUpstream) -> None:
    for symbol in SYMBOLS:
        truth = filed(symbol)
        _check_earnings(_data(data_dir, "earnings", symbol), truth)
        _check_fundamentals(_data(data_dir, "fundamentals", symbol), truth)
        _check_news(symbol, _data(data_dir, "news", symbol), upstream)


def _data(data_dir: Path, domain: str, symbol: str) -> Any:
    found = document(data_dir, domain, symbol)
    assert (found["domain"], found["symbol"], found["sandbox"]) == (domain, symbol, False)
    assert all(source["status"] == "ok" for source in found["sources"].values())
    return found["data"]


def _check_earnings(data: Any, truth: list[Filed]) -> None:
    reports = {(report["kind"], report["period_end"]): report for report in data["reports"]}
    for figure in truth:
        report = reports[figure.kind, figure.end]
        value = report[figure.column]
        assert (None if value is None else Decimal(str(value))) == figure.value, figure
        assert {report["accession"], *report["other_accessions"]}.issuperset(figure.accessions), figure
        assert report["provenance"]["kind"] == "filing"
        assert report["provenance"]["accession"] == report["accession"]


def _check_fundamentals(data: Any, truth: list[Filed]) -> None:
    """The twelve months are the four newest quarters of the table."""
    ends = sorted({figure.end for figure in truth if figure.kind == "quarter"})[-4:]
    of = {(figure.column, figure.end): figure.value or 0 for figure in truth if figure.kind == "quarter"}
    revenue, net_income, gross = (
        sum(of[column, end] for end in ends) for column in ("revenue", "net_income", "gross_profit")
    )
    debt, equity = of["total_debt", ends[-1]], of["equity", ends[-1]]
    expected = {
        "revenue_ttm": revenue,
        "net_income_ttm": net_income,
        "gross_margin": gross / revenue,
        "net_margin": net_income / revenue,
        "total_debt": debt,
        "equity": equity,
        "debt_to_equity": debt / equity,
    }
    newest = {a for figure in truth if figure.end == ends[-1] for a in figure.accessions}
    for name, value in expected.items():
        metric = data["metrics"][name]
        assert metric["value"] == pytest.approx(float(value), rel=1e-9 if value > 10 else 1e-5), name
        assert (metric["check"], metric["provenance"]["kind"]) == ("filing", "filing")
        assert metric["provenance"]["accession"] in newest, name


def _check_news(symbol: str, data: Any, upstream: FixtureUpstream) -> None:
    by_kind = {item["provenance"]["kind"] for item in data["items"]}
    # the feed recorded under the other symbol speaks of other things, and EDGAR says what the company is called
    assert by_kind == ({"filing", "feed"} if symbol == "AAPL" else {"filing"})
    for item in data["items"]:
        assert item["title"]
        assert item["url"].startswith((upstream.base, "https://"))
        assert bool(item["provenance"]["accession"]) == (item["provenance"]["kind"] == "filing")


def _check_requests(upstream: FixtureUpstream) -> None:
    """Nothing twice: what one domain has asked for serves the others."""
    for path in {asked.path for asked in upstream.asked}:
        assert upstream.count(path) == 1, path
    assert upstream.count("/companyfacts/") == len(SYMBOLS)
    assert {asked.user_agent for asked in upstream.asked if "/feeds/" not in asked.path} == {USER_AGENT}
