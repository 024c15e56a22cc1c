"""EDGAR's wire format: where things are, how to ask politely, and what its errors look like.

Sources: https://www.sec.gov/os/accessing-edgar-data and recorded answers. The traps: S3 answers 403 ``AccessDenied``
for a file that does not exist; the rate limit is a 403 or 429 page that says "Request Rate Threshold Exceeded" or
"Undeclared Automated Tool", and the block lasts ten minutes; an outage is an HTML page.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import Field

from scheduler_service.calls import Limits, Request, Resource
from scheduler_service.clients.base import check_status, retry_after, shown
from scheduler_service.clock import DAY, MINUTE, SECOND
from scheduler_service.errors import NotFound, PermanentClientError, RateLimited
from scheduler_service.models import Reason
from scheduler_service.settings.providers import ProviderOptions
from scheduler_service.settings.units import Size

if TYPE_CHECKING:
    from scheduler_service.calls import Response
    from scheduler_service.clock import Clock, Micros

BLOCK_SECONDS = 600.0
_ASKED_TOO_OFTEN = "too many requests; EDGAR wants ten minutes of quiet, whatever else it says"
_BLOCKED = "EDGAR blocks this address for now; see providers.edgar.user_agent"
MAX_AGE_TICKERS = DAY
MAX_AGE_SUBMISSIONS = 4 * MINUTE
"""Less than the five minutes of an eager schedule: each of its slots asks."""
MAX_AGE_COMPANY_FACTS = DAY
MAX_AGE_OLDER_FILINGS = 30 * DAY
MAX_AGE_FILING = 90 * DAY
MOST_OF_A_PAGE = 1_000_000

_RATE_LIMIT_PHRASES = (b"Threshold", b"Undeclared")
_MISSING_CODES = (b"<Code>AccessDenied</Code>", b"<Code>NoSuchKey</Code>")
_SUBMISSIONS = "edgar:submissions:"
_FILINGS = "edgar:filing:"
_LISTS_DOCUMENTS = b"Document Format Files"


class EdgarClient:
    """Resources of data.sec.gov and www.sec.gov. A CIK is a number, or its ten digits with leading zeros."""

    provider = "edgar"

    class Options(ProviderOptions):
        """The SEC wants a ``user_agent`` with a name and an e-mail address, and at most ten requests a second."""

        base_url: str = "https://data.sec.gov"
        www_base_url: str = "https://www.sec.gov"
        """Where its table of tickers and its filings are."""
        user_agent: str | None = None
        """Who asks: a name and an e-mail address. Needed for everything but the sandbox."""
        requests_per_second: float | None = Field(default=5.0, gt=0, le=10)
        max_body: Size = Field(default=12_000_000, gt=0)

    def __init__(self, options: Options, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._data = options.base_url.rstrip("/")
        self._www = options.www_base_url.rstrip("/")

    def tickers(self) -> Resource:
        """The table of all tickers, their CIKs and company names."""
        return self._resource("tickers", "edgar:tickers", f"{self._www}/files/company_tickers.json", MAX_AGE_TICKERS)

    def submissions(self, cik: int | str) -> Resource:
        """A company's master data and its newest thousand filings."""
        number = _padded(cik)
        url = f"{self._data}/submissions/CIK{number}.json"
        return self._resource("submissions", f"{_SUBMISSIONS}{number}", url, MAX_AGE_SUBMISSIONS)

    def older_filings(self, page: str, revision: str | None) -> Resource:
        """One of the pages that hold a company's older filings; ``revision`` changes when filings move there."""
        url = f"{self._data}/submissions/{quote(page)}"
        return self._resource("submissions", f"edgar:older:{page}", url, MAX_AGE_OLDER_FILINGS, revision)

    def company_facts(self, cik: int | str, revision: str | None) -> Resource:
        """Every figure a company filed in XBRL; ``revision`` is the newest filing that may have changed them."""
        number = _padded(cik)
        url = f"{self._data}/api/xbrl/companyfacts/CIK{number}.json"
        key = f"edgar:companyfacts:{number}"
        return self._resource("companyfacts", key, url, MAX_AGE_COMPANY_FACTS, revision)

    def filing_index(self, cik: int | str, accession: str) -> Resource:
        """The page that lists a filing's documents. What was filed does not change, so it is kept as it is."""
        url = self.filing_url(cik, accession)
        resource = self._resource("filing", f"{_FILINGS}{accession}", url, MAX_AGE_FILING, accession)
        return replace(resource, limits=replace(resource.limits, max_bytes=MOST_OF_A_PAGE))

    def filing_url(self, cik: int | str, accession: str, document: str = "") -> str:
        """Where people read a filing: its document, or the list of its documents."""
        folder = f"{self._www}/Archives/edgar/data/{int(cik)}/{accession.replace('-', '')}"
        return f"{folder}/{quote(document) if document else f'{accession}-index.htm'}"

    def check(self, resource: Resource, response: Response) -> None:
        missing = Reason.UNKNOWN_SYMBOL if resource.key.startswith(_SUBMISSIONS) else Reason.NO_DATA
        now, where, status = self._clock.now(), shown(response.url), response.status
        is_index = resource.key.startswith(_FILINGS) and _LISTS_DOCUMENTS in response.body
        if _says_too_many(response) and not (is_index and status == 200):
            wait = max(BLOCK_SECONDS, retry_after(response.headers, now) or 0.0)
            message = f"{where} answered {status}: {_ASKED_TOO_OFTEN if status == 429 else _BLOCKED}"
            raise RateLimited(message, Reason.RATE_LIMITED, status=status, retry_after=wait)
        if status in (403, 404) and any(code in response.body for code in _MISSING_CODES):
            raise NotFound(f"{where} does not exist at EDGAR", missing, status=status)
        check_status(response, now, missing=missing)
        if resource.key.startswith(_FILINGS) and not is_index:
            raise PermanentClientError(f"{where} does not list a filing's documents", Reason.UNREADABLE, status=status)
        if _is_markup(response) and not is_index:
            raise PermanentClientError(f"{where} is a page instead of JSON", Reason.UNREADABLE, status=status)

    def _resource(self, endpoint: str, key: str, url: str, max_age: Micros, revision: str | None = None) -> Resource:
        headers = [("Accept-Encoding", "gzip, deflate")]
        if self._options.user_agent:
            headers.append(("User-Agent", self._options.user_agent))
        limits = Limits(max_bytes=self._options.max_body, timeout=self._options.timeout / SECOND)
        request = Request(url, headers=tuple(headers))
        return Resource(self.provider, key, request, max_age, revision, limits, endpoint=endpoint)


def _padded(cik: int | str) -> str:
    return f"{int(cik):010d}"


def _says_too_many(response: Response) -> bool:
    if response.status == 429:
        return True
    may_say_so = response.status == 403 or _is_markup(response)
    return may_say_so and any(phrase in response.body for phrase in _RATE_LIMIT_PHRASES)


def _is_markup(response: Response) -> bool:
    """HTML or XML, by what it says it is or by what it is: all but the page of a filing is JSON."""
    return response.content_type.endswith(("html", "xml")) or response.body.lstrip()[:1] == b"<"
