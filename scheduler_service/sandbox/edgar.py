"""EDGAR's wire formats, as www.sec.gov and data.sec.gov send them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from scheduler_service.sandbox.reply import Reply, html_reply, json_reply, page_reply, xml_reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.sandbox.company import Company, Fact, Filing

_TICKERS = "/files/company_tickers.json"
_SUBMISSIONS = re.compile(r"/submissions/CIK(\d{10})\.json")
_OLDER = re.compile(r"/submissions/CIK(\d{10})-submissions-\d{3}\.json")
_COMPANYFACTS = re.compile(r"/api/xbrl/companyfacts/CIK(\d{10})\.json")
_INDEX = re.compile(r"/Archives/edgar/data/(\d{1,10})/\d{18}/(\d{10}-\d{2}-\d{6})-index\.htm")
_DATA_HOST = ("/submissions/", "/api/")
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def answer(path: str, headers: Mapping[str, str], companies: Mapping[int, Company], now: str) -> Reply:
    """EDGAR's answer at the ISO time ``now``; ``companies`` by CIK."""
    agent = headers.get("user-agent", "").strip().lower()
    if not agent or agent.startswith("python"):
        return undeclared()
    if path == _TICKERS:
        return json_reply(tickers(tuple(companies.values())))
    for pattern, body in ((_SUBMISSIONS, submissions), (_OLDER, older), (_COMPANYFACTS, companyfacts)):
        match = pattern.fullmatch(path)
        company = companies.get(int(match[1])) if match else None
        if company:
            return json_reply(body(company, sum(_is_in(filing, now) for filing in company.filings)))
    if (match := _INDEX.fullmatch(path)) and (company := companies.get(int(match[1]))):
        for filing in company.filings:
            if filing.accession == match[2] and _is_in(filing, now):
                return page_reply(filing_index(company, filing))
    return no_such_key(path) if path.startswith(_DATA_HOST) else access_denied()


def _is_in(filing: Filing, now: str) -> bool:
    """Where it is not known when a filing was accepted, its day has to do."""
    return (filing.accepted or filing.filed) <= now


@lru_cache
def tickers(companies: tuple[Company, ...]) -> bytes:
    """``company_tickers.json``: an object of numbered rows; here the CIK is a number."""
    return orjson.dumps(
        {
            str(n): {"cik_str": company.profile.cik, "ticker": company.profile.symbol, "title": company.profile.name}
            for n, company in enumerate(companies)
        }
    )


@lru_cache
def submissions(company: Company, filed: int) -> bytes:
    """``submissions/CIK##########.json`` once the first ``filed`` filings are in: here the CIK is a padded text."""
    who = company.profile
    return orjson.dumps(
        {
            "cik": f"{who.cik:010d}",
            "entityType": "operating",
            "sic": who.sic,
            "sicDescription": who.industry,
            "ownerOrg": None,
            "name": who.name,
            "tickers": [who.symbol],
            "exchanges": [who.exchange],
            "lei": None,
            "category": "Large accelerated filer",
            "fiscalYearEnd": who.fiscal_year_end,
            "formerNames": [],
            "filings": {"recent": _columns(company.filings[:filed][::-1]), "files": []},
        }
    )


def older(company: Company, filed: int) -> bytes:
    """A page of older filings: nobody here has filed a thousand, so it is an empty one."""
    del company, filed
    return orjson.dumps(_columns(()))


def _columns(filings: Sequence[Filing]) -> dict[str, list[Any]]:
    """Newest first, one array per column."""
    structured = [int(filing.form != "8-K") for filing in filings]
    return {
        "accessionNumber": [filing.accession for filing in filings],
        "filingDate": [filing.filed for filing in filings],
        "reportDate": [filing.report_date for filing in filings],
        "acceptanceDateTime": [filing.accepted or f"{filing.filed}T00:00:00.000Z" for filing in filings],
        "act": ["34" for _ in filings],
        "form": [filing.form for filing in filings],
        "fileNumber": ["" for _ in filings],
        "filmNumber": ["" for _ in filings],
        "items": [filing.items for filing in filings],
        "core_type": [filing.form for filing in filings],
        "size": [0 for _ in filings],
        "isXBRL": structured,
        "isInlineXBRL": structured,
        "primaryDocument": [filing.document for filing in filings],
        "primaryDocDescription": [filing.form for filing in filings],
    }


@lru_cache
def companyfacts(company: Company, filed: int) -> bytes:
    """``companyfacts/CIK##########.json`` once the first ``filed`` filings are in: here the CIK is a number."""
    filings = {filing.accession: filing for filing in company.filings[:filed]}
    tags: dict[str, Any] = {}
    for fact in sorted(company.facts, key=lambda f: f.end):
        filing = filings.get(fact.accession)
        if filing:
            tag = tags.setdefault(fact.tag, {"label": _WORDS.sub(" ", fact.tag), "description": None, "units": {}})
            tag["units"].setdefault(fact.unit, []).append(_row(fact, filing))
    facts = {"us-gaap": dict(sorted(tags.items()))} if tags else {}
    return orjson.dumps({"cik": company.profile.cik, "entityName": company.profile.name, "facts": facts})


def filing_index(company: Company, filing: Filing) -> bytes:
    """``{accession}-index.htm``: the documents of a filing; an announcement of results has one exhibit, its text."""
    folder = f"/Archives/edgar/data/{company.profile.cik}/{filing.accession.replace('-', '')}"
    documents = [(filing.form, filing.document)]
    if filing.items.startswith("2.02"):
        documents.append(("EX-99.1", f"{filing.document.partition('.')[0]}_ex991.htm"))
    rows = "".join(
        f'<tr><td scope="row">{n}</td><td scope="row">{kind}</td>'
        f'<td scope="row"><a href="{folder}/{name}">{name}</a></td><td scope="row">{kind}</td><td>0</td></tr>\n'
        for n, (kind, name) in enumerate(documents, 1)
    )
    titles = "".join(f'<th scope="col">{title}</th>' for title in ("Seq", "Description", "Document", "Type", "Size"))
    table = f'<table class="tableFile" summary="Document Format Files">\n<tr>{titles}</tr>\n{rows}</table>'
    return (
        f"<!DOCTYPE html>\n<html><head><title>EDGAR Filing Documents</title></head><body>{table}</body></html>".encode()
    )


def _row(fact: Fact, filing: Filing) -> dict[str, Any]:
    start = {} if fact.start is None else {"start": fact.start}
    return start | {
        "end": fact.end,
        "val": fact.value,
        "accn": fact.accession,
        "fy": filing.fy,
        "fp": filing.fp,
        "form": filing.form,
        "filed": filing.filed,
    }


def no_such_key(path: str) -> Reply:
    """data.sec.gov's answer for a CIK it does not know."""
    key = path.lstrip("/").replace("&", "&amp;").replace("<", "&lt;")
    return xml_reply(404, _s3_error("NoSuchKey", "The specified key does not exist.", f"<Key>{key}</Key>"))


def access_denied() -> Reply:
    """www.sec.gov's answer for a file that does not exist."""
    return xml_reply(403, _s3_error("AccessDenied", "Access Denied"))


def _s3_error(code: str, message: str, more: str = "") -> bytes:
    told = f"<Error><Code>{code}</Code><Message>{message}</Message>{more}<RequestId>SANDBOX</RequestId></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{told}'.encode()


def undeclared() -> Reply:
    """The 403 for a requester that does not say who it is."""
    return html_reply(
        403,
        "SEC.gov | Your Request Originates from an Undeclared Automated Tool",
        "Sandbox: declare your traffic by a User-Agent header with a name and a contact.",
    )


def threshold() -> Reply:
    """The 403 for a requester that asks too fast."""
    return html_reply(
        403,
        "SEC.gov | Request Rate Threshold Exceeded",
        "Sandbox: reduce the rate of your requests, then wait ten minutes.",
    )


def unavailable() -> Reply:
    """The 503 page."""
    return html_reply(503, "SEC.gov | File Unavailable", "Sandbox: this page is temporarily unavailable.")
