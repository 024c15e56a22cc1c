from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_service.calls import Answer
from scheduler_service.clock import DAY, Instant, from_iso, to_iso
from scheduler_service.errors import ParseError
from scheduler_service.models import Contribution, Kind, Reason
from scheduler_service.parsers import charsets
from scheduler_service.parsers.feed import ParsedFeed, Story, clean_url, fingerprint, parse_feed, plain_text
from scheduler_service.parsers.news import (
    NewsData,
    NewsItem,
    filing_title,
    items_from_feed,
    items_from_filings,
    web_story,
)
from scheduler_service.parsers.news_once import accumulate_news, merge_news, news_of
from scheduler_service.parsers.stock_names import Stock
from scheduler_service.parsers.submissions import Filing, Submissions

FIXTURES = (Path(__file__).resolve().parents[2] / "../shared/fixtures").resolve()
RECORDINGS = sorted([*FIXTURES.glob("rss/*"), *FIXTURES.glob("edgar/feeds/*")])
NOT_FEEDS = {
    "feedparser-rss_empty_document.xml": Reason.UNREADABLE,
    "feedparser-rss_incomplete_cdata.xml": Reason.TRUNCATED,
}
NOW = from_iso("2026-11-23T14:30:00Z")


def recorded(name: str) -> ParsedFeed:
    path = FIXTURES / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not here")
    body = path.read_bytes()
    return parse_feed(gzip.decompress(body) if path.suffix == ".gz" else body)


def rss(items: str, head: str = "") -> bytes:
    return f'<rss version="2.0"><channel><title>A feed</title>{head}{items}</channel></rss>'.encode()


def entry(title: str = "Plenty of widgets sold", link: str = "https://a.example/1", more: str = "") -> str:
    return f"<item><title>{title}</title><link>{link}</link>{more}</item>"


def only(items: str) -> Story:
    (story,) = parse_feed(rss(items)).stories
    return story


def dated(text: str) -> str | None:
    published = only(entry(more=f"<pubDate>{text}</pubDate>")).published
    return None if published is None else to_iso(published)


@pytest.mark.skipif(not RECORDINGS, reason="the recordings are not here")
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.name)
def test_every_recording_parses_or_says_why_not(path: Path) -> None:
    if path.name in NOT_FEEDS:
        with pytest.raises(ParseError) as caught:
            recorded(str(path.relative_to(FIXTURES)))
        assert caught.value.reason is NOT_FEEDS[path.name]
    else:
        for story in recorded(str(path.relative_to(FIXTURES))).stories:
            assert_is_clean(story)


def assert_is_clean(story: Story) -> None:
    assert story.url.startswith(("http://", "https://"))
    for text in (story.title, story.publisher, story.summary or ""):
        assert text == " ".join(text.split())
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in text)
    assert story.title
    story.title.encode()


def test_google_news_gives_the_true_publisher_and_a_title_without_it() -> None:
    first, second = recorded("rss/google-news-en-20260925-excerpt.xml").stories
    assert first.title == "Fall Related Emergency Visits for Older Adults Continue to Climb"
    assert (first.publisher, second.publisher) == ("countynewscenter.com", "The Guardian")
    assert first.summary is None, "Google's summary repeats the title"
    assert first.published == from_iso("2026-09-25T13:53:48Z")


def test_google_news_in_korean_is_read_as_well() -> None:
    story = recorded("rss/google-news-ko-20260927-excerpt.xml").stories[0]
    assert story.publisher == "조선일보"
    assert not story.title.endswith("조선일보")


def test_yahoo_stories_belong_to_who_wrote_them_and_lose_the_tracking() -> None:
    uk, joby = recorded("rss/yahoo-finance-7203T-20260927-excerpt.xml").stories
    assert uk.url == "https://uk.finance.yahoo.com/news/uk-consumers-urged-sign-share-113811619.html"
    assert joby.publisher == "247wallst.com"


def test_nasdaq_names_the_stocks() -> None:
    (story,) = recorded("rss/nasdaq-20260911-excerpt.xml").stories
    assert story.symbols == ("AAPL", "AMAT")
    assert story.summary == "The S&P 500 Index ($SPX ) closed down."


def test_edgars_own_feed_is_atom_in_latin_1_with_eastern_time() -> None:
    stories = recorded("edgar/feeds/getcurrent-40.atom.gz").stories
    assert stories[0].published == from_iso("2025-12-12T23:02:10Z")
    assert len(stories) == len({story.url for story in stories})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"not a feed",
        b"<html><body><h1>Service unavailable</h1></body></html>",
        b'{"error": "no"}',
        b"\x00\xff\xfe",
        b"/etc/passwd",
        b"<a>" * 10_000,
    ],
)
def test_what_is_not_a_feed_is_refused(body: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        parse_feed(body)
    assert caught.value.reason is Reason.UNREADABLE


def test_a_body_is_never_taken_for_a_file(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_bytes(rss(entry()))
    with pytest.raises(ParseError):
        parse_feed(str(path).encode())


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "http://my.netscape.com/rss-0.91.dtd">',
        '<?xml version="1.0"?>\n<!-- made by hand -->\n<!DOCTYPE rss SYSTEM "rss.dtd">',
        "<!doctype rss>",
    ],
)
def test_a_dtd_that_is_only_named_is_passed_over(declaration: str) -> None:
    assert parse_feed(declaration.encode() + rss(entry())) == parse_feed(rss(entry()))


def test_a_page_in_a_story_may_have_a_doctype_of_its_own() -> None:
    page = "<description><![CDATA[<!DOCTYPE html><p>Words</p>]]></description>"
    (story,) = parse_feed(rss(entry(more=page))).stories
    assert story.summary == "Words"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32-be"])
@pytest.mark.parametrize(
    "declaration", ["<! DOCTYPE rss>", '<!doctype r [<!ENTITY a "b">]>', '<! ENTITY a "b">', "<!DOCTYPE r><!DOCTYPE r>"]
)
def test_declarations_are_refused_in_every_encoding(declaration: str, encoding: str) -> None:
    with pytest.raises(ParseError, match="DOCTYPE"):
        parse_feed((declaration + rss(entry()).decode()).encode(encoding))


SPOKEN = {
    "gb2312": "苹果公司发布新款手机，销量创历史新高，股价上涨",
    "big5": "蘋果公司發表新款手機銷量創新高股價上漲",
    "shift_jis": "トヨタ自動車の販売台数が過去最高を更新",
    "euc-jp": "トヨタ自動車の販売台数が過去最高を更新",
    "euc-kr": "삼성전자 반도체 실적 발표, 주가 상승",
    "windows-1251": "Газпром объявил о «рекордной» прибыли",
    "koi8-r": "Газпром объявил о рекордной прибыли",
    "windows-1253": "Η μετοχή της Εθνικής Τράπεζας",
    "windows-1255": "אפל מכרה הרבה מכשירים השנה",
    "windows-1252": "Société Générale: un bénéfice “record” à Paris – l’action en hausse",
}


@pytest.mark.parametrize("head", ["", '<?xml version="1.0" encoding="utf-8"?>', "declared"])
@pytest.mark.parametrize("encoding", SPOKEN)
def test_an_encoding_is_known_by_what_is_written_in_it(encoding: str, head: str) -> None:
    said = f'<?xml version="1.0" encoding="{encoding}"?>' if head == "declared" else head
    body = (said + rss(entry(SPOKEN[encoding])).decode()).encode(encoding)
    assert [found.title for found in parse_feed(body).stories] == [SPOKEN[encoding]]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Zażółć gęślą jaźń", "windows-1250"),
        ("Şirket kârını açıkladı", "windows-1254"),
        ("Þórður ætlar", "windows-1252"),
        ("Газпром", "windows-1251"),
        ("苹果", "gb2312"),
    ],
)
def test_a_title_in_an_encoding_that_nothing_proves_is_left_out_and_the_others_stay(text: str, encoding: str) -> None:
    body = rss(entry("Plain enough", "https://a.example/2") + entry("TITLE")).replace(b"TITLE", text.encode(encoding))
    assert [found.title for found in parse_feed(body).stories] == ["Plain enough"]


def test_an_encoding_is_told_by_a_part_of_a_large_body(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []

    def watched(fits: Callable[[str], bool]) -> Callable[[str], bool]:
        def watching(text: str) -> bool:
            looked_at.append(len(text))
            return fits(text)

        return watching

    monkeypatch.setattr(charsets, "_TESTS", {name: watched(fits) for name, fits in charsets._TESTS.items()})
    body = (f"<p>{'plain ' * 50_000}</p>" + "Прибыль Газпрома выросла, сообщила компания. " * 10_000).encode("cp1251")
    assert charsets.guess_encoding(body) == "windows-1251"
    assert max(looked_at) <= charsets.SAMPLE


def test_one_broken_character_spoils_no_feed_in_utf_8() -> None:
    body = rss(entry("Société – été") + entry("Apple TORN again", "https://a.example/2")).replace(b"TORN", b"\xe2\x80")
    assert [found.title for found in parse_feed(body).stories] == ["Société – été", "Apple \ufffd again"]


def test_utf_8_that_is_declared_something_else_is_utf_8() -> None:
    for declared in ("iso-8859-1", "windows-1252", "us-ascii", "ascii", "koi8-r", "utf-16", "tis-620"):
        head = f'<?xml version="1.0" encoding="{declared}"?>'.encode()
        assert [found.title for found in parse_feed(head + rss(entry("Apple’s été"))).stories] == ["Apple’s été"]
    head = b'<?xml version="1.0" encoding="iso-8859-1"?>'
    assert parse_feed(head + rss(entry("QUOTED")).replace(b"QUOTED", b"Apple\x92s")).stories[0].title == "Apple’s"


@pytest.mark.parametrize("declared", ["gb18030", "gbk", "big5", "shift_jis", "x-sjis", "windows-31j", "euc-kr"])
def test_many_characters_of_utf_8_are_no_accident_of_what_is_declared(declared: str) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>'.encode()
    assert parse_feed(head + rss(entry("苹果公司发布新产品"))).stories[0].title == "苹果公司发布新产品"


@pytest.mark.parametrize(("declared", "python"), [("x-sjis", "cp932"), ("windows-31j", "cp932"), ("tis-620", "cp874")])
def test_other_names_of_encodings_are_known(declared: str, python: str) -> None:
    said = "トヨタの決算" if python == "cp932" else "ผลประกอบการ"
    head = f'<?xml version="1.0" encoding="{declared}"?>'.encode()
    body = head + rss(entry("TITLE")).replace(b"TITLE", said.encode(python))
    assert parse_feed(body).stories[0].title == said


def test_what_shifts_by_escape_sequences_is_refused() -> None:
    with pytest.raises(ParseError, match="ISO-2022"):
        parse_feed(rss(entry("トヨタ")).decode().encode("iso-2022-jp"))


@pytest.mark.skipif(not RECORDINGS, reason="the recordings are not here")
@pytest.mark.parametrize(("name", "said"), [("gb2312", "不归移民漫画系列"), ("windows1255", "האם תדפיס נייר")])
def test_the_samples_that_declare_no_encoding_are_read(name: str, said: str) -> None:
    body = (FIXTURES / f"rss/feedparser-{name}.xml").read_bytes().replace(b"description>", b"title>")
    body = body.replace(b"<item>", b"<item><link>https://a.example/1</link>")
    assert parse_feed(body.split(b"-->")[1]).stories[0].title.startswith(said)


def test_entries_without_a_title_or_a_web_address_are_left_out() -> None:
    bad = ("javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "/relative", "https://", "")
    links = "".join(entry(link=link) for link in bad)
    assert parse_feed(rss(links + entry(title="  ") + entry(title="<script>x()</script>"))).stories == ()


def test_a_guid_that_a_feed_gives_to_several_stories_names_none() -> None:
    for guid in ("https://a.example/", "N/A", "urn:feed:item"):
        more = f"<guid isPermaLink='false'>{guid}</guid>"
        body = rss(
            entry("Widgets explode everywhere", more=more)
            + entry("Nothing has exploded at all", link="https://a.example/2", more=more)
        )
        stories = parse_feed(body).stories
        assert [(story.url, story.guid) for story in stories] == [
            ("https://a.example/1", None),
            ("https://a.example/2", None),
        ]


@pytest.mark.parametrize("reference", ["&#xD800;", "&#57343;", "&#x110000;", "&#99999999999;"])
def test_the_number_of_no_character_spoils_no_feed(reference: str) -> None:
    body = rss(entry(f"Apple{reference}s own") + entry(link="https://a.example/2"))
    assert [found.title for found in parse_feed(body).stories] == ["Apple\ufffds own", "Plenty of widgets sold"]


def test_a_guid_seen_before_is_the_same_story() -> None:
    guid = "<guid isPermaLink='false'>one</guid>"
    stories = parse_feed(rss(entry(more=guid) + entry(link="https://a.example/2", more=guid))).stories
    assert [story.url for story in stories] == ["https://a.example/1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fri, 11 Sep 2026 01:54:04 +0000", "2026-09-11T01:54:04Z"),
        ("Fri, 11 Sep 2026 01:54:04 GMT", "2026-09-11T01:54:04Z"),
        ("Fri, 11 Sep 2026 01:54:04 EST", "2026-09-11T06:54:04Z"),
        ("Fri, 11 Sep 2026 01:54:04 EDT", "2026-09-11T05:54:04Z"),
        ("Fri, 11 Sep 2026 01:54:04 +0000 (UTC)", "2026-09-11T01:54:04Z"),
        ("2026-09-11T01:54:04.5-04:00", "2026-09-11T05:54:04Z"),
        ("2026-09-11", "2026-09-11T00:00:00Z"),
        ("Fri, 11 Sep 2026 01:54:04 BST", "2026-09-11T00:54:04Z"),
        ("Fri, 11 Sep 2026 01:54:04 CEST", "2026-09-10T23:54:04Z"),
        ("Fri, 11 Sep 2026 01:54:04 AEST", "2026-09-10T15:54:04Z"),
        ("Fri, 11 Sep 2026 1:54 PM EST", "2026-09-11T18:54:00Z"),
        ("Fri, 11 Sep 2026 12:54 am GMT", "2026-09-11T00:54:00Z"),
        ("Fri Sep 11 01:54:04 EDT 2026", "2026-09-11T05:54:04Z"),
        ("11-Sep-26 01:54 GMT+2", "2026-09-10T23:54:00Z"),
        ("20260911T015404Z", "2026-09-11T01:54:04Z"),
        ("2026-09-11T23:59:60Z", "2026-09-12T00:00:00Z"),
        ("Tue Dec 01 2026 10:00:00 GMT+0100 (CET)", "2026-12-01T09:00:00Z"),
        ("Tue Dec 01 2026 10:00:00 GMT+0100 (Central European Standard Time)", "2026-12-01T09:00:00Z"),
        ("Tue,01 Dec 2026 10:00:00 GMT", "2026-12-01T10:00:00Z"),
        ("Dec 1, 2026 10:00 AM EST", "2026-12-01T15:00:00Z"),
        ("Tuesday, December 1, 2026 at 10:00 p.m. EST", "2026-12-02T03:00:00Z"),
        ("Dec 1, 2026", "2026-12-01T00:00:00Z"),
        ("2026/12/01 10:00 +0100", "2026-12-01T09:00:00Z"),
        ("2026/12/01", "2026-12-01T00:00:00Z"),
        ("20261201100000Z", "2026-12-01T10:00:00Z"),
        ("20261201100000+0100", "2026-12-01T09:00:00Z"),
        ("20261201100000", None),
        ("2026/12/01 10:00", None),
        ("Tue Dec 01 2026 10:00:00", None),
        ("Dec 1, 2026 10:00 AM", None),
        ("2026/12-01", None),
        ("12/01/2026 10:00 GMT", None),
        ("Dec 32, 2026", None),
        ("Fri, 11 Sep 2026 01:54:04 ET", None),
        ("Fri, 11 Sep 2026 01:54:04 IST", None),
        ("Fri, 11 Sep 2026 01:54:04 EST5EDT", None),
        ("Fri, 11 Sep 2026 01:54:04 +9999", None),
        ("Fri, 11 Sep 2026 13:54 PM ET", None),
        ("2026-09-11T01:54:61Z", None),
        ("2026-02-31", None),
        ("2026-W37-5", None),
        ("2026-09", None),
        ("2026", None),
        ("Fri, 11 Sep 2026 01:54:04", None),
        ("2026-09-11T01:54:04", None),
        ("Sat, 31 Feb 2026 01:54:04 GMT", None),
        ("yesterday", None),
        ("0001-01-01T00:00:00Z", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("", None),
    ],
)
def test_dates_are_utc_or_unknown(text: str, expected: str | None) -> None:
    assert dated(text) == expected


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("Plain &amp; simple", "Plain & simple"),
        ("<p>One</p><p>two<br/>three</p>", "One two three"),
        ("<b>Ap</b>ple", "Apple"),
        ("AT&amp;amp;T", "AT&T"),
        ("&lt;b&gt;Bold&lt;/b&gt; claim", "Bold claim"),
        ("a<script>alert('<b>')</script>b<style>p{}</style>c", "abc"),
        ("never closed <script>alert(1)", "never closed"),
        ("x < 5 and y > 3", "x < 5 and y > 3"),
        ("tab\there\nand\x00there\x1b[31m", "tab here and there [31m"),
        ("right\u202eleft\u200b\ufeff\ud800", "rightleft"),
        ("<img src=x onerror=alert(1)>", ""),
        ("abcdefghijkl", "abcdefghi…"),
    ],
)
def test_markup_becomes_plain_text(markup: str, text: str) -> None:
    assert plain_text(markup, 10 if markup.startswith("abcdef") else 100) == text


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://News.Example/A?b=1#top", "https://news.example/A?b=1"),
        ("https://a.example", "https://a.example/"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("http://a.example:8080/x", "http://a.example:8080/x"),
        ("https://a.example/x?utm_source=rss&id=7&fbclid=z&.tsrc=rss&guccounter=1", "https://a.example/x?id=7"),
        ("https://a.example/x?.tsrc=rss", "https://a.example/x"),
        ("https://a.example/a b/ü?q=%20<x>", "https://a.example/a%20b/%C3%BC?q=%20%3Cx%3E"),
        ("https://[2001:db8::1]/x", "https://[2001:db8::1]/x"),
        ("https://MÜLLER.example/ü", "https://xn--mller-kva.example/%C3%BC"),
        ("https://\u0430pple.example/x", "https://xn--pple-43d.example/x"),
        ("https://\u2024.example/x", None),
        ("https://apple.com@evil.example/", None),
        ("https://a.example\\@evil.example/", None),
        ("https://a.example/\nx", None),
        ("javascript:alert(1)", None),
        ("//a.example/x", None),
        ("http://[broken/", None),
        ("http://a.example:99999/", None),
        ("https://a.example/" + "x" * 2000, None),
    ],
)
def test_addresses_take_their_usual_form(url: str, expected: str | None) -> None:
    assert clean_url(url) == expected


def test_fingerprints_ignore_case_spacing_and_punctuation() -> None:
    assert fingerprint("Apple's “Record” Quarter!") == fingerprint("APPLES  record quarter")
    assert fingerprint("1,000 jobs, 5 %, Q3-2026.") == fingerprint("1000 jobs 5% - Q3 2026")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Apple +5% after results", "Apple -5% after results"),
        ("Apple +5% after results", "Apple \u22125% after results"),
        ("Apple gains 1.5% after results", "Apple gains 15% after results"),
        ("Apple gewinnt 1,5 % nach Zahlen", "Apple gewinnt 15 % nach Zahlen"),
        ("Apple loses .5% after results", "Apple loses 5% after results"),
        ("Apple may cut 5 after results", "Apple may cut 5% after results"),
    ],
)
def test_another_number_is_another_story(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)
    assert len(news_of(items(story(one, "https://a.example/1"), story(other, "https://b.example/2"))).items) == 2


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda s: s.encode("utf-8", "surrogatepass"))))
def test_any_bytes_are_a_feed_or_a_parse_error(body: bytes) -> None:
    for candidate in (body, b'<rss version="2.0"><channel><item>' + body):
        with suppress(ParseError):
            assert isinstance(parse_feed(candidate), ParsedFeed)


@settings(max_examples=150, deadline=None)
@given(title=st.text(max_size=60), link=st.text(max_size=60), when=st.text(max_size=30), summary=st.text(max_size=60))
def test_any_texts_in_a_feed_come_out_clean(title: str, link: str, when: str, summary: str) -> None:
    item = f"<title>{title}</title><link>https://a.example/{link}</link><description>{summary}</description>"
    body = f'<rss version="2.0"><channel><item>{item}<pubDate>{when}</pubDate></item></channel></rss>'
    try:
        stories = parse_feed(body.encode("utf-8", "replace")).stories
    except ParseError:
        return
    for story in stories:
        assert_is_clean(story)
        assert clean_url(story.url) == story.url


def answer_of(value: object, fetched_at: Instant = NOW) -> Answer[object]:
    return Answer(value, "call-1", "https://feeds.example/?token=canary", fetched_at, sandbox=False, asked=True)


def story(
    title: str = "Plenty of widgets sold", url: str = "https://a.example/1", published: str | None = None
) -> Story:
    return Story(title, url, "A", from_iso(published) if published else None, None, ())


def items(*stories: Story, fetched_at: Instant = NOW, source: str = "feeds") -> tuple[NewsItem, ...]:
    return items_from_feed(answer_of(ParsedFeed(stories), fetched_at), source, "AAPL")  # type: ignore[arg-type]


def titles(data: NewsData) -> list[str]:
    return [item.title for item in data.items]


def test_a_feeds_item_carries_its_origin_but_not_the_feeds_address() -> None:
    (item,) = items(Story("T", "https://a.example/1", "P", NOW - DAY, "S", ("MSFT",)))
    assert (item.published_at, item.fetched_at) == ("2026-11-22T14:30:00Z", "2026-11-23T14:30:00Z")
    assert item.symbols == ("AAPL", "MSFT")
    assert (item.provenance.call_id, item.provenance.kind) == ("call-1", Kind.FEED)
    assert "canary" not in item.model_dump_json()


def test_an_id_depends_on_the_address_alone() -> None:
    (one,) = items(story("One", "https://a.example/1"))
    (two,) = items(story("Two", "http://a.example/1/"), fetched_at=NOW + DAY)
    (other,) = items(story("One", "https://a.example/2"))
    assert one.id == two.id != other.id


def test_a_story_from_the_future_has_no_date() -> None:
    assert items(story(published="2026-11-23T15:00:00Z"))[0].published_at == "2026-11-23T15:00:00Z"
    assert items(story(published="2026-11-23T16:00:00Z"))[0].published_at is None


def test_no_story_is_told_twice() -> None:
    data = news_of(
        items(
            story("Apple sells many widgets", "https://a.example/1", "2026-11-20T10:00:00Z"),
            story("APPLE sells many widgets!", "https://b.example/9", "2026-11-20T18:00:00Z"),
            story("Quite another title here", "http://a.example/1/", "2026-11-21T10:00:00Z"),
            story("Apple sells many widgets", "https://b.example/10", "2026-11-21T05:00:00Z"),
            story("Apple sells many widgets", "https://b.example/11", "2026-11-15T10:00:00Z"),
            story("Update", "https://c.example/1", "2026-11-20T10:00:00Z"),
            story("Update", "https://c.example/2", "2026-11-20T11:00:00Z"),
        )
    )
    urls = [item.url for item in data.items]
    assert (urls[0], urls[-1]) == ("https://c.example/2", "https://b.example/11")
    assert sorted(urls[1:-1]) == ["https://a.example/1", "https://c.example/1"]


@pytest.mark.parametrize(
    ("title", "publisher"),
    [
        ("UPDATE 2-Apple sells many widgets", "Reuters"),
        ("Exclusive: Apple sells many widgets", "Reuters"),
        ("Apple sells many widgets | Reuters", "reuters.com"),
        ("Apple sells many widgets - Yahoo Finance", "finance.yahoo.com Yahoo Finance"),
    ],
)
def test_a_wires_story_is_one_on_the_next_day_and_on_another_site(title: str, publisher: str) -> None:
    first = story("Apple sells many widgets", "https://a.example/1", "2026-11-20T23:50:00Z")
    again = Story(title, "https://b.example/2", publisher, from_iso("2026-11-21T00:10:00Z"), None, ())
    assert len(news_of(items(first, again)).items) == 1
    other = Story("Apple sells many widgets - and pears", "https://b.example/3", publisher, None, None, ())
    assert len(news_of(items(first, other)).items) == 2


def test_other_companies_stories_in_a_stocks_feed_are_left_out_where_its_name_is_known() -> None:
    feed = recorded("rss/yahoo-finance-7203T-20260927-excerpt.xml")
    toyota = Stock("7203.T", "Toyota Motor Corporation")
    assert items_from_feed(answer_of(feed), "feeds", "7203.T", toyota) == ()  # type: ignore[arg-type]
    assert len(items_from_feed(answer_of(feed), "feeds", "7203.T", Stock("7203.T"))) == 2  # type: ignore[arg-type]
    named = ParsedFeed(
        (story("Toyota sells many cars"), Story("T", "https://a.example/2", "A", None, None, ("7203.T",)))
    )
    assert len(items_from_feed(answer_of(named), "feeds", "7203.T", toyota)) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.name)
def test_a_recorded_feed_with_an_element_missing_or_renamed_never_tells_more(path: Path) -> None:
    if path.name in NOT_FEEDS or path.suffix == ".gz":
        pytest.skip("not a feed that can be changed here")
    body = path.read_bytes()
    told = {(found.url, found.title): found for found in parse_feed(body).stories}
    for name in (b"title", b"pubDate", b"description", b"updated", b"summary", b"content"):
        open_tag = re.compile(rb"(</?)" + name + rb"(?=[\s>])")
        for changed in (
            open_tag.sub(rb"\1" + name + b"X", body),
            re.sub(rb"<" + name + rb">[^<]*</" + name + rb">", b"", body),
        ):
            for found in parse_feed(changed).stories:
                before = told[found.url, found.title]
                assert found.published in (before.published, None) or name in (b"pubDate", b"updated")


def filing(form: str = "8-K", number: int = 1, *item_numbers: str, filed: str = "2026-10-30") -> Filing:
    return Filing(
        accession=f"0000320193-26-{number:06}",
        form=form,
        filed=date.fromisoformat(filed),
        period=date(2026, 9, 26),
        items=item_numbers,
        document="a.htm",
        description=form,
        has_xbrl=False,
    )


@pytest.mark.parametrize(
    ("what", "title"),
    [
        (filing("8-K", 1, "2.02", "9.01"), "Apple Inc. files 8-K: results of operations (2.02)"),
        (
            filing("8-K/A", 1, "5.02", "8.01"),
            "Apple Inc. files 8-K/A: change of directors or officers (5.02), other events (8.01)",
        ),
        (filing("8-K", 1, "9.01"), "Apple Inc. files 8-K: current report"),
        (filing("8-K", 1, "99.99"), "Apple Inc. files 8-K: current report"),
        (filing("10-Q"), "Apple Inc. files 10-Q: quarterly report to 2026-09-26"),
        (filing("10-K/A"), "Apple Inc. files 10-K/A: annual report to 2026-09-26"),
        (filing("S-1"), "Apple Inc. files S-1: registration of securities"),
    ],
)
def test_a_filing_is_told_in_words(what: Filing, title: str) -> None:
    assert filing_title("Apple Inc.", what) == title


def filing_items(*filings: Filing) -> tuple[NewsItem, ...]:
    answer = answer_of(Submissions(320193, "Apple Inc.", ("AAPL",), filings))
    return items_from_filings(answer, "edgar_filings", "AAPL", lambda f: f"https://sec.example/{f.accession}")  # type: ignore[arg-type]


def test_filings_that_are_news_become_items_and_the_others_do_not() -> None:
    (item,) = filing_items(filing("8-K", 1, "2.02"), filing("4", 2), filing("SC 13G", 3), filing("144", 4))
    assert (item.publisher, item.published_at) == ("SEC EDGAR", "2026-10-30T00:00:00Z")
    assert (item.provenance.accession, item.provenance.kind) == ("0000320193-26-000001", Kind.FILING)
    assert item.provenance.url == item.url == "https://sec.example/0000320193-26-000001"


def test_two_filings_of_one_day_are_two_stories_though_their_titles_agree() -> None:
    assert len(news_of(filing_items(filing("8-K", 1, "8.01"), filing("8-K", 2, "8.01"))).items) == 2


def told_by(feed: str, *stories: Story, fetched_at: Instant = NOW) -> tuple[NewsItem, ...]:
    answer = Answer(ParsedFeed(stories), "call-1", feed, fetched_at, sandbox=False, asked=True)
    return items_from_feed(answer, "feeds", "AAPL")


def test_a_guid_is_one_story_whatever_its_feed_makes_of_title_and_link() -> None:
    first = replace(story("Widgets explode everywhere", "https://a.example/1"), guid="a-guid-of-some-length")
    second = replace(story("Nothing has exploded at all", "https://a.example/moved"), guid="a-guid-of-some-length")
    before = accumulate_news(None, news_of(told_by("https://f.example/x", first)), NOW)
    after = accumulate_news(before, news_of(told_by("https://f.example/y", second, fetched_at=NOW + DAY)), NOW + DAY)
    assert titles(after) == ["Nothing has exploded at all"]
    assert after.items[0].id == before.items[0].id, "it keeps its id"
    again = accumulate_news(after, news_of(told_by("https://f.example/y", second, fetched_at=NOW + 2 * DAY)), NOW)
    assert again == after
    assert len(news_of([*told_by("https://f.example/x", first), *told_by("https://g.example/x", second)]).items) == 2


def test_a_guid_that_is_an_address_is_the_same_at_every_feed_and_a_number_at_none() -> None:
    first = replace(story("Widgets explode everywhere", "https://a.example/1"), guid="https://a.example/story?utm_x=1")
    second = replace(story("Nothing has exploded at all", "https://b.example/2"), guid="http://a.example/story")
    assert len(news_of([*told_by("https://f.example", first), *told_by("https://g.example", second)]).items) == 1
    assert len(news_of(told_by("https://f.example", replace(first, guid="1"), replace(second, guid="1"))).items) == 2


def test_what_one_says_of_the_mood_stays_with_who_said_it_when_another_tells_the_story() -> None:
    headline = "Apple sells many widgets"
    fed = items(story(headline, "https://a.example/1", "2026-11-20T10:00:00Z"))
    answer = Answer(None, "call-9", "https://m.example", NOW, sandbox=False, asked=True)
    model = web_story(
        answer,
        source="model",
        kind=Kind.MODEL,
        title=headline,
        url="https://a.example/1",
        publisher="A",
        published=None,
        summary=None,
        symbols=["AAPL"],
        sentiment="positive",
    )
    contributions = [
        Contribution("feeds", Kind.FEED, news_of(fed)),
        Contribution("model", Kind.MODEL, news_of([model])),
    ]
    [item] = merge_news(contributions).items
    assert (item.source, item.sentiment) == ("feeds", "positive")
    assert item.sentiment_by is not None
    assert (item.sentiment_by.source, item.sentiment_by.kind, item.sentiment_by.call_id) == (
        "model",
        Kind.MODEL,
        "call-9",
    )
    assert (fed[0].sentiment, fed[0].sentiment_by) == (None, None)
    assert merge_news(contributions[::-1]) == merge_news(contributions)


def test_what_a_silent_source_said_long_ago_is_left_out_of_the_document() -> None:
    old = items(story("The older of the two", "https://a.example/1", "2026-08-20T10:00:00Z"), fetched_at=NOW - 95 * DAY)
    new = items(story("The newer of the two", "https://a.example/2", "2026-11-21T10:00:00Z"))
    said = [Contribution("a", Kind.FEED, news_of(old)), Contribution("b", Kind.FEED, news_of(new))]
    assert titles(merge_news(said, age=90 * DAY)) == ["The newer of the two"]
    assert len(merge_news(said).items) == 2
    assert titles(merge_news(said, most=1)) == ["The newer of the two"]


def test_a_merge_does_not_depend_on_the_order_of_sources() -> None:
    headline = "Apple sells many widgets"
    fed = items(
        story(headline, "https://a.example/1", "2026-11-20T10:00:00Z"), story("Apple rests", "https://a.example/2")
    )
    model = items(story(headline, "https://m.example/1", "2026-11-20T09:00:00Z"), source="model")
    contributions = [
        Contribution("feeds", Kind.FEED, news_of(fed)),
        Contribution("model", Kind.MODEL, news_of(model)),
        Contribution("edgar_filings", Kind.FILING, news_of(filing_items(filing()))),
    ]
    merged = merge_news(contributions)
    assert merged == merge_news(contributions[::-1])
    assert [item.url for item in merged.items] == [
        "https://a.example/1",
        "https://sec.example/0000320193-26-000001",
        "https://a.example/2",
    ], "nobody knows how new the last one is, for it has no date"


def test_nothing_from_nobody_is_nothing() -> None:
    assert merge_news([]) == NewsData()


def test_saying_the_same_again_changes_nothing() -> None:
    first = accumulate_news(None, news_of(items(story())), NOW)
    again = accumulate_news(first, news_of(items(story(), fetched_at=NOW + DAY)), NOW + DAY)
    assert again == first


def test_a_corrected_story_replaces_itself() -> None:
    first = accumulate_news(None, news_of(items(story("Widgets explode everywhere"))), NOW)
    corrected = accumulate_news(first, news_of(items(story("Widgets expand everywhere"))), NOW)
    assert titles(corrected) == ["Widgets expand everywhere"]


def test_what_a_source_no_longer_lists_is_kept() -> None:
    old = news_of(items(story("The older of the two", "https://a.example/1", "2026-11-20T10:00:00Z")))
    new = news_of(items(story("The newer of the two", "https://a.example/2", "2026-11-21T10:00:00Z")))
    assert titles(accumulate_news(old, new, NOW)) == ["The newer of the two", "The older of the two"]
    assert accumulate_news(old, NewsData(), NOW) == old


def test_retention_is_by_age_and_number() -> None:
    days = [
        story(f"Story of day {day}", f"https://a.example/{day}", f"2026-11-{day}T10:00:00Z") for day in range(10, 20)
    ]
    all_of_them = news_of(items(*days))
    assert len(accumulate_news(None, all_of_them, NOW).items) == 10
    assert titles(accumulate_news(None, all_of_them, NOW, most=2)) == ["Story of day 19", "Story of day 18"]
    recent = accumulate_news(None, all_of_them, NOW, age=5 * DAY)
    assert titles(recent) == ["Story of day 19"]
    assert accumulate_news(recent, all_of_them, NOW, age=5 * DAY) == recent


stories = st.builds(
    Story,
    title=st.sampled_from(["Apple sells many widgets", "Apple rests for a while", "Update"]),
    url=st.sampled_from([f"https://a.example/{n}" for n in range(4)]),
    publisher=st.just("A"),
    published=st.sampled_from([None, NOW - DAY, NOW - 2 * DAY]),
    summary=st.none(),
    symbols=st.just(()),
    guid=st.sampled_from([None, "guid-number-one", "guid-number-two", "https://a.example/1"]),
)


@settings(max_examples=60, deadline=None)
@given(first=st.lists(stories, max_size=6), second=st.lists(stories, max_size=6))
def test_accumulating_and_merging_settle(first: list[Story], second: list[Story]) -> None:
    before = accumulate_news(None, news_of(items(*first)), NOW)
    said = news_of(items(*second, fetched_at=NOW + DAY))
    after = accumulate_news(before, said, NOW)
    assert len({item.id for item in after.items}) == len(after.items)
    assert accumulate_news(after, said, NOW) == after
    merged = merge_news([Contribution("feeds", Kind.FEED, after)])
    assert merge_news([Contribution("feeds", Kind.FEED, merged)]) == merged
