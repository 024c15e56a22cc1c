"""The exhibits of announcements: read once, then known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.parsers.earnings import EarningsData, Exhibit, Release

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler_service.parsers.filing_index import Document


def newest_results(data: EarningsData) -> Release | None:
    """The announcement whose exhibits are worth a call."""
    return next((release for release in data.releases if release.about == "results" and release.url), None)


def with_exhibits(data: EarningsData, of: Release, documents: Iterable[Document]) -> EarningsData:
    folder = (of.url or "").rpartition("/")[0]
    exhibits = tuple(Exhibit(type=d.type, name=d.name, url=f"{folder}/{d.name}") for d in documents)
    told = of.model_copy(update={"exhibits": exhibits})
    return data.model_copy(update={"releases": tuple(told if r is of else r for r in data.releases)})


def with_known_exhibits(before: EarningsData, now: EarningsData) -> EarningsData:
    """What was read of an announcement once stays known."""
    known = {release.accession: release.exhibits for release in before.releases}
    releases = (r if r.exhibits else r.model_copy(update={"exhibits": known.get(r.accession)}) for r in now.releases)
    return now.model_copy(update={"releases": tuple(releases)})
