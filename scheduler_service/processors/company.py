"""From a symbol to its company's figures at EDGAR: tickers, then submissions, then companyfacts. Knows no domain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from scheduler_service.clock import HOUR
from scheduler_service.errors import ClientError, Held, InLine, NotFound, ParseError
from scheduler_service.models import Kind, Reason
from scheduler_service.parsers.filing_index import parse_filing_index
from scheduler_service.parsers.submissions import (
    find_cik,
    find_name,
    parse_names,
    parse_older_filings,
    parse_submissions,
    parse_tickers,
)
from scheduler_service.parsers.xbrl import parse_company_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.calls import Answer, Ask
    from scheduler_service.clients.edgar_client import EdgarClient
    from scheduler_service.models import Provenance, Symbol
    from scheduler_service.parsers.filing_index import Document
    from scheduler_service.parsers.submissions import Submissions
    from scheduler_service.parsers.xbrl import CompanyFacts, Concept

PROVIDER = "edgar"
SUBMISSIONS = "submissions"
"""What every source here asks for first; nearly always that is all it takes."""
HISTORY = timedelta(days=3 * 366)
"""How far back announcements of results are of use: they tell when the next are due."""
MOST_PAGES = 4
LAG = HOUR
"""How soon companyfacts that lack the newest report are asked again."""


@dataclass(frozen=True, slots=True)
class Company:
    """What EDGAR says of a company, and how to point at it."""

    facts: CompanyFacts
    submissions: Submissions
    answer: Answer[_Read]
    client: EdgarClient

    def origin(self, accession: str | None) -> Provenance:
        """The provenance of a filing's figures, with the address of the filing; of the whole answer for None."""
        if accession is None:
            return self.answer.provenance(PROVIDER, Kind.FILING)
        url = self.client.filing_url(self.submissions.cik, accession, self.submissions.document(accession))
        return self.answer.provenance(PROVIDER, Kind.FILING, url=url, accession=accession)


@dataclass(frozen=True, slots=True)
class _Read:
    facts: CompanyFacts
    current: bool
    """The newest report is among the facts."""


async def read_company(ask: Ask, client: EdgarClient, symbol: Symbol, concepts: Sequence[Concept]) -> Company:
    """The company behind a symbol, with the figures of these concepts.

    Raises what ``read_submissions`` raises.
    """
    submissions = (await read_submissions(ask, client, symbol)).value
    cik, revision = submissions.cik, submissions.newest_report_accession
    parse = partial(_read_facts, cik=cik, concepts=concepts, revision=revision)
    answer = await ask(client.company_facts(cik, revision), parse)
    if not answer.value.current:
        # Companyfacts lag a filing by minutes or hours: an answer without it is good for a while, not for its revision.
        answer = await ask(replace(client.company_facts(cik, None), max_age=LAG), parse)
    return Company(answer.value.facts, submissions, answer, client)


async def read_submissions(ask: Ask, client: EdgarClient, symbol: Symbol) -> Answer[Submissions]:
    """The newest filings of the company behind a symbol.

    Raises what ``ask`` raises, ``NotFound(UNKNOWN_SYMBOL)``, and ``ParseError(WRONG_COMPANY)`` for another's answer.
    """
    name = symbol.at(PROVIDER)
    cik = find_cik((await ask(client.tickers(), parse_tickers)).value, name)
    if cik is None:
        raise NotFound(
            f"EDGAR lists no company under {name}; check the spelling, "
            f"or give {symbol.symbol} an alias in the watchlist: aliases: {{edgar: TICKER}}",
            Reason.UNKNOWN_SYMBOL,
        )
    return await ask(client.submissions(cik), partial(_read_submissions, cik=cik))


async def read_name(ask: Ask, client: EdgarClient, symbol: Symbol) -> str | None:
    """What a symbol's company is called at EDGAR; None where that is not known, or cannot be had now."""
    try:
        names = (await ask(client.tickers(), parse_names)).value
    except (ClientError, ParseError, Held):
        return None
    return find_name(names, symbol.at(PROVIDER))


async def with_older_filings(ask: Ask, client: EdgarClient, company: Company) -> Company:
    """With the filings of the last years, where the newest thousand do not go back so far: banks file that many in
    weeks.

    Raises what ``ask`` raises, except that a page that is not there is done without.
    """
    submissions = company.submissions
    if not submissions.filings:
        return company
    since = submissions.filings[0].filed - HISTORY
    for page in submissions.pages_back_to(since)[:MOST_PAGES]:
        resource = client.older_filings(page.name, f"{page.until} {page.filings}")
        try:
            submissions = submissions.with_older((await ask(resource, parse_older_filings)).value)
        except NotFound:
            continue
    return replace(company, submissions=submissions)


async def read_exhibits(ask: Ask, company: Company, accession: str) -> tuple[Document, ...] | None:
    """A filing's exhibits; None where they cannot be had now, for that is no reason to do without its figures.

    Raises ``InLine`` where its turn is later.
    """
    resource = company.client.filing_index(company.submissions.cik, accession)
    try:
        return (await ask(resource, partial(parse_filing_index, accession=accession))).value
    except InLine:
        raise
    except (ClientError, ParseError, Held):
        return None


def _read_submissions(body: bytes, *, cik: int) -> Submissions:
    submissions = parse_submissions(body)
    _check_company(asked=cik, answered=submissions.cik, name=submissions.name)
    return submissions


def _read_facts(body: bytes, *, cik: int, concepts: Sequence[Concept], revision: str | None) -> _Read:
    facts = parse_company_facts(body, concepts)
    _check_company(asked=cik, answered=facts.cik, name=facts.name)
    return _Read(facts, revision is None or revision.encode() in body)


def _check_company(*, asked: int, answered: int, name: str) -> None:
    if answered != asked:
        raise ParseError(f"asked for CIK {asked}, EDGAR answered with CIK {answered} ({name})", Reason.WRONG_COMPANY)
