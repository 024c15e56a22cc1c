"""The exhibits of a filing, from EDGAR's page of its documents. The filing is invented."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.clients.edgar_client import EdgarClient
from scheduler_service.clock import SystemClock
from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.filing_index import Document, parse_filing_index
from scheduler_service.sandbox import edgar
from scheduler_service.sandbox.bundle import bundled

ACCESSION = "0000000042-26-000007"
FOLDER = "/Archives/edgar/data/42/000000004226000007"
TITLES = "<tr><th scope='col'>Seq</th><th>Description</th><th>Document</th><th>Type</th><th>Size</th></tr>"


def row(link: str, kind: str, text: str = "shown") -> str:
    return f'<tr class="evenRow"><td>2</td><td>X</td><td><a href="{link}">{text}</a></td><td>{kind}</td><td>9</td></tr>'


def page(*rows: str, titles: str = TITLES) -> bytes:
    links = '<table summary="Links"><tr><td><a href="/evil.htm">x</a></td></tr></table>'
    table = f'<table class="tableFile" summary="Document Format Files">{titles}{"".join(rows)}</table>'
    data = f'<table summary="Data Files">{TITLES}{row(f"{FOLDER}/small.xsd", "EX-101.SCH")}</table>'
    return f"<!DOCTYPE html><html><body>{links}{table}{data}</body></html>".encode()


def exhibits(*rows: str) -> list[tuple[str, str]]:
    return [(d.type, d.name) for d in parse_filing_index(page(*rows), accession=ACCESSION)]


def test_it_lists_the_exhibits_and_nothing_else() -> None:
    assert exhibits(
        row(f"/ix?doc={FOLDER}/small-8k.htm", "8-K"),
        row(f"{FOLDER}/small_ex991.htm", "EX-99.1"),
        row(f"{FOLDER}/slides.pdf", "EX-99.2"),
        row(f"{FOLDER}/contract.htm", "EX-10.1"),
        row(f"{FOLDER}/logo.jpg", "GRAPHIC"),
        row(f"{FOLDER}/cover.htm", "EX-104"),
        row(f"{FOLDER}/{ACCESSION}.txt", "&nbsp;"),
    ) == [("EX-99.1", "small_ex991.htm"), ("EX-99.2", "slides.pdf"), ("EX-10.1", "contract.htm")]


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("ex991.htm", "ex991.htm"),
        (f"/ix?doc={FOLDER}/ex991.htm", "ex991.htm"),
        (f"/ixviewer/doc/action?doc={FOLDER}/ex991.htm", "ex991.htm"),
        (f"{FOLDER}/../ex991.htm", None),
        ("../other.htm", None),
        ("https://example.com/ex991.htm", None),
        ("//example.com/ex991.htm", None),
        ("javascript:alert(1)", None),
        ("/Archives/edgar/data/42/000000004226000008/ex991.htm", None),
        (f"{FOLDER}/ex&#47;991.htm", None),
        ("", None),
    ],
)
def test_no_link_leads_out_of_the_filings_folder(link: str, name: str | None) -> None:
    assert exhibits(row(link, "EX-99.1")) == ([] if name is None else [("EX-99.1", name)])


@pytest.mark.parametrize("kind", ["", "&nbsp;", "99.1", "EX-", "EX-99.1 <b>or so</b>", "PRESS RELEASE", "EX-101.INS"])
def test_it_guesses_no_type(kind: str) -> None:
    assert exhibits(row("ex991.htm", kind)) == []


def test_it_finds_the_columns_by_their_titles_and_leaves_out_rows_that_do_not_fit() -> None:
    titles = "<tr><th>Type</th><th>Document</th></tr>"
    rows = ('<tr><td>ex-99.1<td><A HREF="a.htm">a</A>', "<tr><td>EX-99.2</td></tr>", "<tr></tr>")
    assert parse_filing_index(page(*rows, titles=titles), accession=ACCESSION) == (Document("a.htm", "EX-99.1"),)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>File Unavailable</html>", page(titles=""), page(titles="<tr><th>Seq</th></tr>"), b"\xff\xfe\x00"],
)
def test_a_page_without_that_table_is_refused(body: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        parse_filing_index(body, accession=ACCESSION)
    assert caught.value.reason is Reason.UNREADABLE


@given(st.binary() | st.text(alphabet="<>trdhaf =\"'/EX-99.1&#;\n", max_size=400).map(page))
def test_any_bytes_give_exhibits_or_a_reason(body: bytes) -> None:
    try:
        found = parse_filing_index(body, accession=ACCESSION)
    except ParseError:
        return
    assert all("/" not in document.name for document in found)


@pytest.mark.parametrize("unit", ["<", "<tr", "<td><a ", '<a href="', "<a href=", "&#x", "</", '<td "'])
def test_a_hostile_page_takes_no_time_to_speak_of(unit: str) -> None:
    assert exhibits(unit * (1_000_000 // len(unit))) == []


def test_the_embedded_edgar_lists_the_exhibits_of_its_announcements() -> None:
    companies = {company.profile.cik: company for company in bundled()}
    client = EdgarClient(EdgarClient.Options(), SystemClock())
    for company in companies.values():
        announced = [filing for filing in company.filings if filing.items.startswith("2.02")]
        for filing in announced[:1] + announced[-1:]:
            path = client.filing_url(company.profile.cik, filing.accession).removeprefix("https://www.sec.gov")
            reply = edgar.answer(path, {"user-agent": "Tests"}, companies, filing.accepted or filing.filed)
            (exhibit,) = parse_filing_index(reply.body, accession=filing.accession)
            assert exhibit.type == "EX-99.1"
            before = edgar.answer(path, {"user-agent": "Tests"}, companies, "2001-01-01")
            assert before.status == 403
