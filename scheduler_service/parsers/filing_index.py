"""EDGAR's page of a filing's documents, ``{accession}-index.htm``: which exhibits there are, and of which type.

A table whose ``summary`` is "Document Format Files", with a row per document and the columns Seq, Description, Document
(a link, for some through a viewer: ``/ix?doc=/Archives/...``), Type (``8-K``, ``EX-99.1``, ``GRAPHIC``) and Size. The
folder's ``index.json`` has no types: what it calls so is the name of an icon.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason

MOST_DOCUMENTS = 200
_TABLE = re.compile(r"summary\s*=\s*[\"']?document format files", re.IGNORECASE)
_TABLE_ENDS = re.compile(r"</table", re.IGNORECASE)
_ROW = re.compile(r"<tr\b", re.IGNORECASE)
_CELL = re.compile(r"<t[dh]\b", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>?")
_LINK = re.compile(r"<a\b[^<>]*\bhref\s*=\s*[\"']?([^\"'<>\s]+)", re.IGNORECASE)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,120}\.[A-Za-z0-9]{2,5}")
_EXHIBIT = re.compile(r"EX-[0-9]{1,3}(?:\.[0-9A-Z]{1,8})*")
_DATA = re.compile(r"EX-10[0-9](?:\..*)?")
"""XBRL's files and the like, for machines; contracts are EX-10.1 and on."""
_FOLDER = re.compile(r"/Archives/edgar/data/[0-9]{1,10}/([0-9]{18})/([^/]+)")
_VIEWER = re.compile(r"/ix(?:viewer)?[^=]{0,20}\?doc=")


@dataclass(frozen=True, slots=True)
class Document:
    """A file of a filing; ``type`` is what the filer says it is (``EX-99.1``)."""

    name: str
    type: str


def parse_filing_index(body: bytes, *, accession: str) -> tuple[Document, ...]:
    """The exhibits of that filing, in its order. ``ParseError(UNREADABLE)`` where there is no such table.

    A link that leads anywhere but into the filing's own folder is no document of it.
    """
    page = body.decode("utf-8", "replace")
    start = _TABLE.search(page)
    rows = _rows(page[start.end() :]) if start else []
    titles = [_words(cell).casefold() for cell in rows[0]] if rows else []
    if not {"document", "type"} <= set(titles):
        raise ParseError("the page of the filing has no table of its documents", Reason.UNREADABLE)
    found: dict[str, Document] = {}
    for row in rows[1:]:
        if len(row) != len(titles):
            continue
        name, kind = _name(row[titles.index("document")], accession), _words(row[titles.index("type")]).upper()
        if name is not None and _EXHIBIT.fullmatch(kind) and not _DATA.fullmatch(kind):
            found.setdefault(name, Document(name, kind))
    return tuple(found.values())


def _rows(text: str) -> list[list[str]]:
    table = _TABLE_ENDS.split(text, maxsplit=1)[0]
    return [_CELL.split(row)[1:] for row in _ROW.split(table, maxsplit=MOST_DOCUMENTS)[1:]]


def _words(cell: str) -> str:
    """What stands in a cell, of which ``cell`` is the rest of its tag and all up to the next."""
    text = _TAG.sub(" ", cell.partition(">")[2])
    return " ".join(html.unescape(text).split())


def _name(cell: str, accession: str) -> str | None:
    if (found := _LINK.search(cell)) is None:
        return None
    link = _VIEWER.sub("", html.unescape(found[1]), count=1)
    if (folder := _FOLDER.fullmatch(link)) is not None:
        link = folder[2] if folder[1] == accession.replace("-", "") else ""
    return link if _FILE_NAME.fullmatch(link) else None
