"""One story once: across feeds, wires, addresses and days, in whatever order it is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from scheduler_service.clock import DAY, HOUR, from_iso, to_iso_seconds
from scheduler_service.models import Kind
from scheduler_service.parsers.feed import fingerprint
from scheduler_service.parsers.news import NewsData
from scheduler_service.parsers.story_names import address_id, name_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import Contribution
    from scheduler_service.parsers.news import NewsItem

SHORTEST_TELLING_TITLE = 12
"""Fingerprints below this length name no story: "Market update" is many."""
SAME_STORY: Micros = 3 * DAY
"""Stories of one title closer than this are one, told again; further apart the title is a column's."""
SAME_PUBLISHER: Micros = 20 * HOUR
"""Of one publisher: a title that comes again the next day is a daily column's."""
UNDATED: Micros = 14 * DAY
"""A story without a date is the dated one of its title and publisher, where that is no older than this when fetched."""
MOST_NAMES = 20

_WIRE_MARK = re.compile(
    r"(?:(?:update|wrapup|corrected|refile|exclusive|breaking)(?: ?\d{1,2})? ?[-:] ?)+", re.IGNORECASE
)
_LAST_PART = re.compile(r"\s(?:[-–—|])\s([^|]{1,60})$")
_MIDNIGHT = "T00:00:00Z"
_WIRES = frozenset(
    ("reuters", "bloomberg", "cnbc", "apnews", "associatedpress", "afp", "dowjones", "marketwatch", "barrons")
)
"""Who is named behind titles by sites that print them, also where nothing else of theirs is known."""


def news_of(items: Iterable[NewsItem]) -> NewsData:
    """Items as a record, newest first, no story twice."""
    return NewsData(items=_once((0, item) for item in items))


def merge_news(
    contributions: Sequence[Contribution[NewsData]], *, age: Micros | None = None, most: int | None = None
) -> NewsData:
    """All sources' items, at most ``most``. What is older than ``age`` when the newest was fetched is left out: also of
    a source that has been silent since. Those without a date stand below the others: nobody knows how new they are.
    """
    ranks = {kind: rank for rank, kind in enumerate(Kind)}
    items = _once((ranks[said.kind], item) for said in contributions for item in said.data.items)
    latest = max((item.fetched_at for said in contributions for item in said.data.items), default="")
    kept = [item for item in items if not latest or _is_within(item, from_iso(latest), age)]
    return NewsData(items=tuple(sorted(kept[:most], key=lambda item: item.published_at is None)))


def accumulate_news(
    previous: NewsData | None, new: NewsData, now: Instant, *, age: Micros | None = None, most: int | None = None
) -> NewsData:
    """What a source said before and says now, without what is older than ``age``, at most ``most`` items.

    An item that has not changed stays as it was first fetched, so that saying the same again changes nothing. One
    that is listed without a date stays as long as that: let go, it would come back as new.
    """
    tellings = {_own(item): item for item in new.items}
    old = [_newer(item, tellings.get(_own(item))) for item in (previous.items if previous else ())]
    undated = {name for item in new.items if item.published_at is None for name in names_of(item)}
    known = {name for item in old for name in names_of(item)}
    stays: list[NewsItem] = []
    others: list[NewsItem] = []
    elders = frozenset(item.id for item in old)
    for item in _once(((0, item) for item in (*old, *new.items)), elders):
        names = names_of(item)
        if not known.isdisjoint(names) and not undated.isdisjoint(names):
            stays.append(item)
        elif _is_within(item, now, age):
            others.append(item)
    room = None if most is None else max(0, most - len(stays))
    return NewsData(items=tuple(sorted((*stays[:most], *others[:room]), key=_newest, reverse=True)))


def names_of(item: NewsItem) -> frozenset[str]:
    """What tells a story apart, in the form of ids: what it is called, and where it was found, by whomever; a filing's
    number alone does.
    """
    if item.provenance.accession:
        return frozenset({name_id(item.provenance.accession)})
    guid = () if item.guid is None else (name_id(item.guid),)
    return frozenset({item.id, address_id(item.url), *guid, *item.also})


def _once(ranked: Iterable[tuple[int, NewsItem]], elders: frozenset[str] = frozenset()) -> tuple[NewsItem, ...]:
    """One item for each story, newest first: that of the best rank, then of who knows its hour, then of who had it
    first. It keeps its id, one of ``elders`` or else what was fetched first, and what the others call it and say of its
    mood.
    """
    tellings = sorted(ranked, key=_best)
    while len(stories := _folded(tellings, elders)) < len(tellings):
        tellings = sorted(stories, key=_best)  # what became one may be one with others now
    return tuple(sorted((item for _, item in stories), key=_newest, reverse=True))


def _folded(ranked: Sequence[tuple[int, NewsItem]], elders: frozenset[str]) -> list[tuple[int, NewsItem]]:
    tellings = [item for _, item in ranked]
    groups = _Groups(len(tellings))
    places: dict[str, int] = {}
    for place, item in enumerate(tellings):
        for name in names_of(item):
            groups.join(place, places.setdefault(name, place))
    for same in _by_title(tellings):
        for place in same:
            groups.join(place, same[0])
    return [(ranked[group[0]][0], _one([tellings[place] for place in group], elders)) for group in groups]


class _Groups:
    """Places that belong together, by way of others too."""

    def __init__(self, count: int) -> None:
        self._leads = list(range(count))

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self._lead(one), self._lead(other)))
        self._leads[second] = first

    def _lead(self, place: int) -> int:
        while self._leads[place] != place:
            self._leads[place] = self._leads[self._leads[place]]
            place = self._leads[place]
        return place

    def __iter__(self) -> Iterator[list[int]]:
        members: dict[int, list[int]] = {}
        for place in range(len(self._leads)):
            members.setdefault(self._lead(place), []).append(place)
        return iter(members.values())


def _by_title(tellings: Sequence[NewsItem]) -> Iterator[list[int]]:
    """The places of those that tell one story by their titles, in the order of their times."""
    titled: dict[str, list[int]] = {}
    for place, item in enumerate(tellings):
        if title := _title(item):
            titled.setdefault(title, []).append(place)
    for places in titled.values():
        if len(places) > 1:
            yield from _told_together(sorted(places, key=lambda at: (_when(tellings[at]), at)), tellings)


def _told_together(places: Sequence[int], tellings: Sequence[NewsItem]) -> Iterator[list[int]]:
    """Of one title, in the order of their times: each belongs to the latest story that it can be."""
    stories: list[_Told] = []
    dated: dict[str, int] = {}
    for place in places:
        item, publisher = tellings[place], fingerprint(tellings[place].publisher)
        story = _story_of(item, publisher, stories)
        if story is None:
            stories.append(story := _Told(from_iso(_when(item))))
        story.add(place, item, publisher)
        if item.published_at is not None:
            dated[publisher] = place
        elif (first := dated.get(publisher)) is not None and story.began - from_iso(_when(tellings[first])) < UNDATED:
            story.repeats = first
    for story in stories:
        yield story.places if story.is_dated or story.repeats is None else [story.repeats, *story.places]


def _story_of(item: NewsItem, publisher: str, stories: Sequence[_Told]) -> _Told | None:
    when = from_iso(_when(item))
    for story in reversed(stories):
        if when - story.began >= SAME_STORY:
            break
        if story.can_be(item, publisher):
            return story
    return None


class _Told:
    """A story so far, of one title: which tellings are of it, and when each publisher told it."""

    def __init__(self, began: Instant) -> None:
        self.began = began
        self.places: list[int] = []
        self.is_dated = False
        self.repeats: int | None = None
        """A telling with a date, of a publisher that tells it once more without one."""
        self._times: dict[str, _Times] = {}

    def can_be(self, item: NewsItem, publisher: str) -> bool:
        times = self._times.get(publisher)
        return times is None or times.are_near(_when(item))

    def add(self, place: int, item: NewsItem, publisher: str) -> None:
        self.places.append(place)
        self.is_dated = self.is_dated or item.published_at is not None
        self._times.setdefault(publisher, _Times()).add(_when(item))


class _Times:
    """When one publisher told a story, in the order of time: all that is asked of them later."""

    def __init__(self) -> None:
        self._days: set[str] = set()
        self._days_without_hour: set[str] = set()
        self._first: Instant | None = None

    def add(self, when: str) -> None:
        self._days.add(when[:10])
        if when.endswith(_MIDNIGHT):
            self._days_without_hour.add(when[:10])
        elif self._first is None:
            self._first = from_iso(when)

    def are_near(self, when: str) -> bool:
        """All of them. The day of a story without an hour is all that is known of it."""
        day = {when[:10]}
        if when.endswith(_MIDNIGHT):
            return self._days <= day
        return self._days_without_hour <= day and (self._first is None or from_iso(when) - self._first < SAME_PUBLISHER)


def _one(tellings: Sequence[NewsItem], elders: frozenset[str]) -> NewsItem:
    """Best first."""
    best = tellings[0]
    if len(tellings) == 1:
        return best
    first = min(tellings, key=lambda item: (item.id not in elders, item.fetched_at, item.id))
    names = frozenset().union(*map(names_of, tellings))
    changed: dict[str, object] = {}
    if best.id != first.id:
        changed["id"] = first.id
    mine = {first.id, address_id(best.url), *([name_id(best.guid)] if best.guid else [])}
    also = () if best.provenance.accession else tuple(sorted(names - mine)[:MOST_NAMES])
    if also != best.also:
        changed["also"] = also
    if best.sentiment is None and (told := next((item for item in tellings if item.sentiment), None)) is not None:
        changed |= {"sentiment": told.sentiment, "sentiment_by": told.sentiment_by}
    return best.model_copy(update=changed) if changed else best


def _own(item: NewsItem) -> str:
    """Which telling it is."""
    return item.provenance.accession or item.guid or address_id(item.url)


def _newer(old: NewsItem, new: NewsItem | None) -> NewsItem:
    """A story keeps its id, its names and its date, also where its feed has changed its address."""
    if new is None:
        return old
    if new.published_at is None:
        new = new.model_copy(update={"published_at": old.published_at})
    kept = {"id": old.id, "also": tuple(sorted({*old.also, *names_of(old), *new.also} - {old.id})[:MOST_NAMES])}
    fetch = {"fetched_at": old.fetched_at, "provenance": old.provenance, "sentiment_by": old.sentiment_by}
    same = {"id": old.id, "also": old.also, **(fetch if new.sentiment == old.sentiment else {})}
    return old if new.model_copy(update=same) == old else new.model_copy(update=kept)


def _is_within(item: NewsItem, now: Instant, age: Micros | None) -> bool:
    return age is None or _when(item) >= to_iso_seconds(max(0, now - age))


def _title(item: NewsItem) -> str:
    """What is left of a title without what wires put before it and sites behind it, be that themselves or a wire; empty
    where it tells no story. A filing is known by its number alone.
    """
    if item.provenance.accession:
        return ""
    mark = _WIRE_MARK.match(item.title)
    bare = item.title[mark.end() :] if mark else item.title
    last = _LAST_PART.search(bare)
    if last is not None and (by := fingerprint(last[1])) and (by in _WIRES or by in fingerprint(item.publisher)):
        bare = bare[: last.start()]
    title = fingerprint(bare)
    return title if len(title) >= SHORTEST_TELLING_TITLE else ""


def _when(item: NewsItem) -> str:
    """When it happened as far as is known. ISO-8601 in one form, so texts compare as times."""
    return item.published_at or item.fetched_at


def _newest(item: NewsItem) -> tuple[str, str]:
    return _when(item), item.id


def _best(ranked: tuple[int, NewsItem]) -> tuple[object, ...]:
    """A total order, so that nothing depends on who is asked first. A search knows only the day of a story."""
    rank, item = ranked
    has_hour = item.published_at is not None and not item.published_at.endswith(_MIDNIGHT)
    said = (item.url, item.title, item.publisher, item.summary or "", item.sentiment or "", item.guid or "")
    return rank, not has_hour, _when(item), item.fetched_at, said, item.id, item.source, item.also
