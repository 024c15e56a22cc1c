"""Every bundled figure of a real company is one that it reported: compared with the recordings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.sandbox.bundle import bundled

if TYPE_CHECKING:
    from scheduler_service.sandbox.company import Company

EDGAR = (Path(__file__).resolve().parents[2] / "../shared/fixtures/edgar").resolve()
REAL = [company for company in bundled() if company.profile.cik < 9_990_000_000]

pytestmark = pytest.mark.skipif(not EDGAR.is_dir(), reason="the recordings are not beside this checkout")
each_real_company = pytest.mark.parametrize("company", REAL, ids=lambda company: company.profile.symbol)


def recorded(kind: str, company: Company) -> Any:
    file = EDGAR / kind / f"CIK{company.profile.cik:010d}.json.gz"
    return json.loads(gzip.decompress(file.read_bytes())) if file.exists() else None


@each_real_company
def test_every_figure_was_reported_in_that_filing(company: Company) -> None:
    facts = recorded("companyfacts", company)
    assert (facts["cik"], facts["entityName"]) == (company.profile.cik, company.profile.name)
    reported = {
        (
            tag,
            unit,
            row.get("start"),
            row["end"],
            row["val"],
            row["accn"],
            row["form"],
            row["filed"],
            row["fy"],
            row["fp"],
        )
        for tag, series in facts["facts"]["us-gaap"].items()
        for unit, rows in series["units"].items()
        for row in rows
    }
    filings = {filing.accession: filing for filing in company.filings}
    assert len(company.facts) > 600
    for fact in company.facts:
        filing = filings[fact.accession]
        about = (filing.form, filing.filed, filing.fy, filing.fp)
        assert (fact.tag, fact.unit, fact.start, fact.end, fact.value, fact.accession, *about) in reported


@each_real_company
def test_every_filing_was_filed_so(company: Company) -> None:
    submissions = recorded("submissions", company)
    recent = submissions["filings"]["recent"] if submissions else {"accessionNumber": []}
    columns = ("form", "filingDate", "reportDate", "acceptanceDateTime", "items", "primaryDocument")
    known = {accession: tuple(recent[c][n] for c in columns) for n, accession in enumerate(recent["accessionNumber"])}
    reporting = {fact.accession for fact in company.facts}
    for filing in company.filings:
        if filing.accession in known:
            said = (filing.form, filing.filed, filing.report_date, filing.accepted, filing.items, filing.document)
            assert said == known[filing.accession]
        else:
            assert filing.accession in reporting, "known from its figures alone"
            assert (filing.accepted, filing.items, filing.document) == (None, "", "")
