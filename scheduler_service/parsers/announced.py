"""Announcements of results as documents hold them, and those of companies abroad, which have no item to go by."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Literal

from scheduler_service.models import Record
from scheduler_service.parsers.releases import LONGEST_WAIT, Announcement
from scheduler_service.parsers.statements import INCOME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scheduler_service.parsers.filing_index import Document
    from scheduler_service.parsers.statements import Origin
    from scheduler_service.parsers.submissions import Submissions
    from scheduler_service.parsers.xbrl import CompanyFacts


class Exhibit(Record):
    """A document of a filing: of which ``type`` (``EX-99.1`` is the text of an announcement), and where it is."""

    type: str
    name: str
    url: str


class Release(Record):
    """An announcement: form 8-K under item 2.02, or a foreign company's 6-K that is certain to tell results. ``url``
    leads to it, ``exhibits_url`` to the list of its documents.

    ``about``: "results" of the period that ended on ``period_end``, an "amendment", something "other" (deliveries,
    monthly sales, preliminary figures), or "unknown". ``time``: before the market opened or after it closed.
    """

    date: dt.date
    form: str
    accession: str
    items: tuple[str, ...] = ()
    url: str | None = None
    exhibits_url: str | None = None
    exhibits: tuple[Exhibit, ...] | None = None
    """Null: not read. They are read once for each new announcement of results."""
    about: Literal["results", "amendment", "other", "unknown"] = "unknown"
    period_end: dt.date | None = None
    time: Literal["bmo", "amc", "unknown"] = "unknown"


def release_of(found: Announcement, origin: Origin) -> Release:
    filing, url = found.filing, origin(found.filing.accession).url
    return Release(
        date=filing.filed,
        form=filing.form,
        accession=filing.accession,
        items=filing.items,
        url=url,
        exhibits_url=None if url is None else f"{_folder(url)}/{filing.accession}-index.htm",
        about=found.about,
        period_end=found.period_end,
        time=found.time,
    )


def newest_results(releases: Iterable[Release]) -> Release | None:
    """The announcement whose exhibits are worth a call."""
    told = [release for release in releases if release.about == "results" and release.url]
    return max(told, key=lambda release: release.date, default=None)


def with_exhibits(release: Release, documents: Iterable[Document]) -> Release:
    folder = _folder(release.url or "")
    exhibits = tuple(Exhibit(type=d.type, name=d.name, url=f"{folder}/{d.name}") for d in documents)
    return release.model_copy(update={"exhibits": exhibits})


def results_with_figures(facts: CompanyFacts, submissions: Submissions) -> Iterator[Announcement]:
    """Of form 6-K, those that brought figures of a period: its results."""
    ends: dict[str, dt.date] = {}
    for fact in (fact for concept in INCOME for tag in facts[concept].tags for fact in tag.values() if fact.start):
        for filing in fact.filings:
            ends[filing.accession] = max(fact.end, ends.get(filing.accession, dt.date.min))
    for said in submissions.filings:
        end = ends.get(said.accession)
        if said.form == "6-K" and end is not None and end < said.filed <= end + LONGEST_WAIT:
            yield Announcement(said, "results", end)


def _folder(url: str) -> str:
    return url.rpartition("/")[0]
