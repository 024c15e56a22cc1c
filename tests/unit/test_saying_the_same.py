"""What says the same again is neither built nor merged again; what may have changed is."""

from __future__ import annotations

from scheduler_service.clock import DAY
from scheduler_service.parsers.news import NewsData
from scheduler_service.processors.base import MOST_REMEMBERED, Rebuilding
from scheduler_service.processors.news_processor import NewsProcessor

NOW = 1_800_000_000_000_000


def test_the_same_answers_are_built_once_and_others_anew() -> None:
    built: list[int] = []

    def make() -> NewsData:
        built.append(1)
        return NewsData()

    rebuilding = Rebuilding[NewsData]()
    one, another = object(), object()
    first = rebuilding.of("AAPL", [one], make)
    assert rebuilding.of("AAPL", [one], make) is first
    assert len(built) == 1
    for symbol, answers in (("AAPL", [another]), ("AAPL", [another, one]), ("AAPL", []), ("NVDA", [one])):
        rebuilding.of(symbol, answers, make)
    assert len(built) == 5


def test_that_words_add_nothing_is_known_for_a_day_and_of_that_content_alone() -> None:
    news = NewsProcessor({}, [])
    news.note_adds_nothing(b"content", b"words", NOW)
    assert news.adds_nothing(b"content", b"words", NOW + DAY - 1)
    assert not news.adds_nothing(b"content", b"words", NOW + DAY), "old stories leave the document by their age"
    assert not news.adds_nothing(b"content", b"words", NOW - 1), "noted by a wrong clock"
    assert not news.adds_nothing(b"other", b"words", NOW)
    assert not news.adds_nothing(b"content", b"other", NOW)


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    news = NewsProcessor({}, [])
    for n in range(MOST_REMEMBERED + 1):
        news.note_adds_nothing(str(n).encode(), b"words", NOW)
    assert not news.adds_nothing(b"0", b"words", NOW)
    assert news.adds_nothing(b"1", b"words", NOW)
