"""One story once: across feeds, wires, addresses and days, in whatever order it is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_service.calls import Answer
from scheduler_service.clock import DAY, HOUR, Instant, from_iso
from scheduler_service.models import Contribution, Kind
from scheduler_service.parsers import news_once
from scheduler_service.parsers.feed import ParsedFeed, Story
from scheduler_service.parsers.news import NewsData, NewsItem, items_from_feed
from scheduler_service.parsers.news_noticed import news_notices
from scheduler_service.parsers.news_once import accumulate_news, merge_news, names_of, news_of
from scheduler_service.parsers.story_names import address
from tests.lines_run import lines_run

NOW = from_iso("2026-11-23T14:30:00Z")
HEADLINE = "Apple sells many widgets"
GRAVE = "Apple restates its accounts"


def told(
    *stories: Story, at: Instant = NOW, feed: str = "https://feeds.example/x", call: str = "call-1"
) -> tuple[NewsItem, ...]:
    answer = Answer(ParsedFeed(stories), call, feed, at, sandbox=False, asked=True)
    return items_from_feed(answer, "feeds", "AAPL")


def tale(title: str, url: str, publisher: str = "A", when: str | None = None, guid: str | None = None) -> Story:
    return Story(title, url, publisher, from_iso(when) if when else None, None, (), guid)


def days_of(data: NewsData) -> list[str]:
    return [(item.published_at or "?")[:10] for item in data.items]


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/one/two-2026?x=1&y=2",
        "https://www.a.example/one/two-2026?x=1&y=2",
        "https://m.a.example/one/two-2026/?x=1&y=2",
        "https://amp.a.example/one/two-2026?y=2&x=1",
        "https://www.a.example/one/two-2026/amp/?x=1&y=2",
        "https://a.example/one/two-2026.amp?y=2&x=1&amp=1",
        "https://a.example/amp/one/two-2026?x=1&y=2",
        "https://a.example/one/two-2026?outputType=amp&x=1&y=2#top",
        "https://www.google.com/amp/s/www.a.example/one/two-2026/amp?x=1&y=2",
        "https://a-example.cdn.ampproject.org/c/s/a.example/one/two-2026?x=1&y=2",
    ],
)
def test_an_address_is_one_name_in_all_its_forms(url: str) -> None:
    assert address(url) == "a.example/one/two-2026?x=1&y=2"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example/1", "https://a.example/2"),
        ("https://a.example/story?id=1", "https://a.example/story?id=2"),
        ("https://a.example/", "https://b.example/"),
        ("https://amp.dev/x", "https://dev/x"),
        ("https://m.example/x", "https://example/x"),
        ("https://a.example/amp-prices-rise", "https://a.example/prices-rise"),
        ("https://a.example/x/stocks/amp", "https://a.example/x/stocks"),
        ("https://a.example/chart?AMP", "https://a.example/chart"),
        ("https://a.example/A", "https://a.example/a"),
        ("https://a.example/stocks/amp", "https://a.example/stocks"),
        ("https://a.example/stocks/amp/news", "https://a.example/stocks/news"),
        ("https://a.example/#!/1", "https://a.example/#!/2"),
    ],
)
def test_other_addresses_are_other_names(one: str, other: str) -> None:
    assert address(one) != address(other)


def test_a_daily_column_is_told_daily_and_a_story_that_others_take_up_once() -> None:
    column = [tale("Stock market today: live updates", f"https://a.example/{day}", "A", f"2026-11-{day}T10:00:00Z")
              for day in (18, 19, 20)]  # fmt: skip
    copied = [replace(story, url=story.url.replace("a.", "b."), publisher="B", published=(story.published or 0) + HOUR)
              for story in column]  # fmt: skip
    assert days_of(news_of(told(*column, *copied))) == ["2026-11-20", "2026-11-19", "2026-11-18"]
    wire = tale(HEADLINE, "https://a.example/1", "Reuters", "2026-11-20T23:00:00Z")
    again = tale(f"UPDATE 1-{HEADLINE}", "https://a.example/2", "Reuters", "2026-11-21T02:00:00Z")
    elsewhere = tale(HEADLINE, "https://b.example/3", "Yahoo", "2026-11-22T09:00:00Z")
    assert days_of(news_of(told(wire, again, elsewhere))) == ["2026-11-20"]


def test_results_of_two_quarters_and_of_two_companies_are_stories_of_their_own() -> None:
    assert len(news_of(told(
        tale("Apple (AAPL) Q1 results beat", "https://a.example/1", "A", "2026-08-01T10:00:00Z"),
        tale("Apple (AAPL) Q1 results beat", "https://a.example/2", "B", "2026-11-01T10:00:00Z"),
        tale("Apple (NASDAQ:AAPL) shares gap up", "https://a.example/3", "A", "2026-11-20T10:00:00Z"),
        tale("Apple (NASDAQ:AAPL) shares gap up", "https://a.example/4", "A", "2026-11-21T10:00:00Z"),
        tale("Nvidia (NASDAQ:NVDA) shares gap up", "https://a.example/5", "A", "2026-11-20T10:00:00Z"),
    )).items) == 5  # fmt: skip


def test_a_story_stays_one_when_the_site_that_was_left_out_changes_its_title() -> None:
    first = tale(HEADLINE, "https://a.example/1", "A", "2026-11-20T10:00:00Z")
    copy = tale(HEADLINE, "https://b.example/2", "B", "2026-11-20T11:00:00Z", guid="b-guid-0001")
    known = accumulate_news(None, news_of(told(first, copy)), NOW)
    for changed in (replace(copy, title="Widgets fly"), replace(copy, title="Widgets fly", url="https://b.example/3")):
        again = accumulate_news(known, news_of(told(changed, at=NOW + DAY)), NOW + DAY)
        assert [(item.id, item.title) for item in again.items] == [(known.items[0].id, HEADLINE)]


def test_two_that_a_third_shows_to_be_one_are_one() -> None:
    one, other = tale(HEADLINE, "https://a.example/1", "A"), tale("Pears are sold too", "https://b.example/2", "B")
    third = tale(HEADLINE, "https://c.example/3", "C", guid="https://b.example/2")
    assert len(news_of(told(one, other)).items) == 2
    assert len(news_of(told(one, other, third)).items) == 1


def test_what_is_known_under_another_address_is_no_news() -> None:
    search = told(tale(GRAVE, "https://b.example/9", "b.example", "2026-11-23T00:00:00Z"))
    before = merge_news([Contribution("search", Kind.FEED, news_of(search))])
    fed = told(tale(GRAVE, "https://a.example/1", "A", "2026-11-23T13:00:00Z"), at=NOW + HOUR)
    both = [Contribution("search", Kind.FEED, news_of(search)), Contribution("feeds", Kind.FEED, news_of(fed))]
    after = merge_news(both)
    assert [item.url for item in after.items] == ["https://a.example/1"], "it tells the hour"
    assert news_notices("AAPL", before, after, NOW, NOW) == []
    assert news_notices("AAPL", NewsData(), after, NOW, NOW) != []


@pytest.mark.parametrize("most", [1, 3, 50])
def test_stories_without_dates_do_not_come_back_as_new_as_long_as_they_are_listed(most: int) -> None:
    listed = [tale(f"A story of number {n} of many", f"https://a.example/{n}") for n in range(10)]
    dated = [tale(f"A dated story, number {n}", f"https://b.example/{n}", "B", "2026-11-22T10:00:00Z")
             for n in range(3)]  # fmt: skip
    known = accumulate_news(None, news_of(told(*listed, *dated)), NOW, age=30 * DAY, most=most)
    assert len(known.items) == min(most, 13)
    for day in range(1, 100, 9):
        now = NOW + day * DAY
        again = accumulate_news(known, news_of(told(*listed, at=now)), now, age=30 * DAY, most=most)
        assert {item.id for item in again.items if item.published_at is None} >= {
            item.id for item in known.items if item.published_at is None
        }
        assert all(item.fetched_at == "2026-11-23T14:30:00Z" for item in again.items) or most == 3
        known = again


def test_a_copy_without_a_date_is_its_publishers_dated_story() -> None:
    """Listed elsewhere, or under another address; a week later too, but not when the title is long gone."""
    story = tale(HEADLINE, "https://a.example/1", "A", "2026-11-16T10:00:00Z")
    copy, others = tale(HEADLINE, "https://a.example/2", "A"), tale(HEADLINE, "https://b.example/3", "B")
    (item,) = news_of(told(story, copy)).items
    assert (item.published_at, item.url) == ("2026-11-16T10:00:00Z", story.url)
    known = accumulate_news(None, news_of(told(story)), NOW)
    assert accumulate_news(known, news_of(told(copy)), NOW).items[0].id == known.items[0].id
    assert len(news_of(told(story, others)).items) == 2, "another publisher's may be of another day"
    old = replace(story, published=NOW - 15 * DAY)
    assert len(news_of(told(old, copy)).items) == 2
    dated = replace(others, url="https://b.example/4", published=NOW - HOUR)
    assert len(news_of(told(story, copy, dated)).items) == 2, "the copy is of the newer story"


urls = st.sampled_from([f"https://{host}.example/{n}" for host in ("a", "b", "www.a") for n in range(3)])
tales = st.builds(
    tale,
    title=st.sampled_from([HEADLINE, f"UPDATE 1-{HEADLINE}", "Apple rests for a while", "Update"]),
    url=urls,
    publisher=st.sampled_from(["A", "B"]),
    when=st.sampled_from([None, *(f"2026-11-{day}T{hour}:00:00Z" for day in range(19, 23) for hour in ("00", "09"))]),
    guid=st.sampled_from([None, "guid-number-one", "guid-number-two", "https://a.example/1"]),
)
listings = st.lists(tales, max_size=5)
FEEDS = ("https://f.example/x", "https://g.example/x")


@settings(max_examples=50, deadline=None)
@given(listing=listings, data=st.data())
def test_the_order_in_which_stories_are_told_is_no_matter(listing: list[Story], data: st.DataObject) -> None:
    items = [item for story in listing for item in told(story, feed=data.draw(st.sampled_from(FEEDS)))]
    once = news_of(items)
    assert news_of(data.draw(st.permutations(items))) == once
    assert news_of(once.items) == once
    assert len({item.id for item in once.items}) == len(once.items)
    names = [names_of(item) for item in once.items]
    assert sum(map(len, names)) == len(frozenset().union(*names)), "no name is two stories'"


@settings(max_examples=40, deadline=None)
@given(days=st.lists(listings, min_size=1, max_size=3), most=st.sampled_from([1, 2, 5, None]), data=st.data())
def test_days_settle_and_neither_feeds_nor_sources_have_an_order(
    days: list[list[Story]], most: int | None, data: st.DataObject
) -> None:
    known, shuffled = None, None
    for day, listing in enumerate(days):
        now = NOW + day * DAY
        items = told(*listing, at=now)
        known = accumulate_news(known, news_of(items), now, age=30 * DAY, most=most)
        mixed = news_of(data.draw(st.permutations(items)))
        shuffled = accumulate_news(shuffled, mixed, now, age=30 * DAY, most=most)
        assert shuffled == known
        assert most is None or len(known.items) <= most
        assert [(i.published_at or i.fetched_at) for i in known.items] == sorted(
            ((i.published_at or i.fetched_at) for i in known.items), reverse=True
        )
        if most is None:  # what was let go comes back where its feed has given it a newer date meanwhile
            assert accumulate_news(known, news_of(items), now, age=30 * DAY) == known
    said = [Contribution("feeds", Kind.FEED, known or NewsData()),
            Contribution("search", Kind.FEED, news_of(told(*days[0]))),
            Contribution("model", Kind.MODEL, news_of(told(*days[-1])))]  # fmt: skip
    merged = merge_news(said, most=most)
    assert merge_news(data.draw(st.permutations(said)), most=most) == merged
    assert most is None or len(merged.items) <= most


def told_together_slowly(places: Sequence[int], tellings: Sequence[NewsItem]) -> Iterator[list[int]]:
    """The rule as it is meant: each is compared with all."""

    def when(place: int) -> str:
        return tellings[place].published_at or tellings[place].fetched_at

    def are_near(place: int, before: int) -> bool:
        times = when(place), when(before)
        if any(time.endswith("T00:00:00Z") for time in times):
            return times[0][:10] == times[1][:10]
        return from_iso(times[0]) - from_iso(times[1]) < news_once.SAME_PUBLISHER

    def is_of(place: int, story: list[int]) -> bool:
        mine = [other for other in story if tellings[other].publisher == tellings[place].publisher]
        is_young = from_iso(when(place)) - from_iso(when(story[0])) < news_once.SAME_STORY
        return is_young and all(are_near(place, other) for other in mine)

    stories: list[list[int]] = []
    for place in places:
        story = next((story for story in reversed(stories) if is_of(place, story)), None)
        if story is None:
            stories.append([place])
        else:
            story.append(place)
    for story in stories:
        yield story
        if any(tellings[place].published_at for place in story):
            continue
        repeated = [
            [other for other in places[: places.index(place)]
             if tellings[other].published_at and tellings[other].publisher == tellings[place].publisher][-1:]
            for place in story
        ]  # fmt: skip
        last = next((found[0] for found in reversed(repeated) if found), None)
        if last is not None and from_iso(when(story[0])) - from_iso(when(last)) < news_once.UNDATED:
            yield [story[0], last]


@settings(max_examples=150, deadline=None)
@given(listing=st.lists(tales.filter(lambda story: story.title != "Update"), max_size=14), data=st.data())
def test_stories_of_one_title_are_told_together_as_if_each_were_compared_with_all(
    listing: list[Story], data: st.DataObject
) -> None:
    days = st.sampled_from([NOW - DAY, NOW, NOW + 12 * DAY])
    items = [i for n, story in enumerate(listing)
             for i in told(replace(story, url=f"https://x.example/{n}", guid=None), at=data.draw(days))]  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(news_once, "_told_together", told_together_slowly)
        slowly = news_of(items)
    assert news_of(items) == slowly


@pytest.mark.parametrize("hours", [0, 2, 21, None], ids=lambda hours: f"every {hours} hours")
@pytest.mark.parametrize("publishers", [1, 7, 1_000])
def test_a_thousand_stories_of_one_title_cost_their_number_and_not_its_square(
    hours: int | None, publishers: int
) -> None:
    def cost(n: int) -> int:
        stories = [
            Story(HEADLINE, f"https://a.example/{i}", f"P{i % publishers}", None if hours is None else
                  NOW - (i * hours + 1) * HOUR, None, ())
            for i in range(n)
        ]  # fmt: skip
        items = told(*stories)
        with lines_run() as lines:
            news_of(items)
        return lines()

    idle = cost(4)
    assert cost(600) - idle <= (cost(150) - idle) * 600 / 150 * 1.6


@settings(max_examples=50, deadline=None)
@given(days=st.lists(listings, min_size=2, max_size=3), data=st.data())
def test_the_days_in_any_order_hold_the_same_stories(days: list[list[Story]], data: st.DataObject) -> None:
    """What is told under one address says the same there every day, and a title is of one hour."""
    hours = {HEADLINE: "2026-11-20T09:00:00Z", "Update": "2026-11-21T09:00:00Z"}
    said = {
        address(story.url): replace(
            story, guid=None, published=from_iso(hours.get(story.title, "2026-11-22T09:00:00Z"))
        )
        for listing in days
        for story in listing
    }

    def stories(order: list[list[Story]]) -> set[str]:
        known = NewsData()
        for listing in order:
            known = accumulate_news(known, news_of(told(*(said[address(story.url)] for story in listing))), NOW)
        return {item.url for item in known.items}

    assert stories(data.draw(st.permutations(days))) == stories(days)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Apple shares -5% after results", "Apple shares 5% after results"),
        ("Apple raises its dividend by 1.5%", "Apple raises its dividend by 15%"),
        ("Apple at $-2.10 a share, expected", "Apple at $2.10 a share, expected"),
    ],
)
def test_another_number_is_another_story(one: str, other: str) -> None:
    hour = "2026-11-23T10:00:00Z"
    items = told(tale(one, "https://a.example/1", "A", hour), tale(other, "https://b.example/2", "B", hour))
    assert len(news_of(items).items) == 2


@pytest.mark.parametrize("behind", [" - Reuters", " | CNBC", " – Y News"])
@pytest.mark.parametrize("turned", [False, True])
def test_who_printed_a_wire_s_story_names_the_wire_behind_its_title(behind: str, *, turned: bool) -> None:
    """Also where the wire's own telling is not among them."""
    first = tale("Apple beats what was expected of its sales", "https://a.example/1", "A", "2026-11-23T10:00:00Z")
    again = tale(f"{first.title}{behind}", "https://y.example/2", "Y News", "2026-11-23T10:30:00Z")
    items = told(*((again, first) if turned else (first, again)))
    (story,) = news_of(items).items
    assert story.title == first.title


def test_a_story_that_is_listed_without_its_date_does_not_come_back_as_new() -> None:
    dated, undated = (tale(HEADLINE, "https://a.example/1", when=when) for when in ("2026-11-19T00:00:00Z", None))
    newer = tale("Apple rests for a while", "https://a.example/2", when="2026-11-20T00:00:00Z")
    known = accumulate_news(None, news_of(told(dated)), NOW, most=1)
    for now in (NOW + DAY, NOW + 60 * DAY):
        known = accumulate_news(known, news_of(told(undated, newer, at=now)), now, age=30 * DAY, most=1)
        assert days_of(known) == ["2026-11-19"]
