"""Answers of models, recorded and synthetic (marked so): what models are known to do, and anything at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.model_answer import (
    ModelAnswer,
    SearchResult,
    cited,
    read_answer,
    read_object,
    read_search,
)
from scheduler_service.parsers.model_prose import plain
from scheduler_service.strict_json import DEEPEST

RECORDED = (Path(__file__).resolve().parents[2] / "../shared/fixtures/perplexity").resolve()
PAGE = {"id": 1, "title": "Apple", "url": "https://example.com/a", "snippet": "Apple is.", "date": "2026-11-20"}
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Apple is.[1]"}]}


def recording(name: str) -> bytes:
    path = RECORDED / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not here")
    return path.read_bytes()


def agent(*output: Any, **more: Any) -> bytes:
    """Synthetic."""
    said = {"object": "response", "status": "completed", "model": "perplexity/sonar", "output": list(output)} | more
    return json.dumps(said).encode()


def pages(*rows: Any) -> dict[str, Any]:
    return {"type": "search_results", "queries": ["Apple"], "results": list(rows)}


def chat(content: Any = "Apple is.[1]", finish: str = "stop", **more: Any) -> bytes:
    """Synthetic."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}
    return json.dumps({"object": "chat.completion", "model": "sonar", "choices": [choice]} | more).encode()


def fault(read: Callable[..., object], given: object) -> Reason | None:
    """Why it cannot be read; None where it can."""
    try:
        read(given)
    except ParseError as error:
        return error.reason
    return None


def test_the_recorded_answer_of_the_agent_has_its_text_and_ten_pages() -> None:
    answer = read_answer(recording("agent-web-search.json"))
    assert answer.model == "openai/gpt-6-luna"
    assert plain(answer.text).endswith("builds on JavaScript with syntax for types.")
    assert [result.id for result in answer.results] == list(range(1, 11))
    assert [r.id for r in answer.results if r.published is None] == [2, 4, 5, 6, 7, 8, 9]
    assert answer.results[2].published == date(2020, 8, 4)
    page = cited(answer.results, 7)
    assert page is not None
    assert page.url == "https://www.typescriptlang.org/"


@pytest.mark.parametrize(("name", "count"), [("chat-perplexity-citations.json", 7), ("chat-perplexity-text.json", 6)])
def test_recorded_chat_answers_cite_pages_by_their_place(name: str, count: int) -> None:
    body = recording(name)
    answer = read_answer(body)
    assert answer.model == "sonar"
    assert [(result.id, result.url) for result in answer.results] == list(enumerate(json.loads(body)["citations"], 1))
    assert {(result.title, result.snippet, result.published) for result in answer.results} == {("", "", None)}
    assert len(answer.results) == count
    assert "[1]" not in plain(answer.text)
    assert "**" not in plain(answer.text)


def test_a_recorded_answer_without_pages_is_ungrounded() -> None:
    assert fault(read_answer, recording("chat-usage-cost-sanitized.json")) is Reason.UNGROUNDED


def test_both_dialects_say_the_same() -> None:
    expected = SearchResult(1, "Apple", "https://example.com/a", "Apple is.", date(2026, 11, 20))
    assert read_answer(agent(pages(PAGE), MESSAGE)) == ModelAnswer("Apple is.[1]", (expected,), "perplexity/sonar")
    assert read_answer(chat(search_results=[PAGE])) == ModelAnswer("Apple is.[1]", (expected,), "sonar")


def test_citations_number_the_pages_and_search_results_describe_them() -> None:
    other = PAGE | {"url": "https://example.com/b"}
    answer = read_answer(
        chat(citations=["https://example.com/c", "https://example.com/b"], search_results=[PAGE, other])
    )
    assert [(r.id, r.url, r.title) for r in answer.results] == [
        (1, "https://example.com/c", ""),
        (2, "https://example.com/b", "Apple"),
    ]


def test_a_page_that_is_left_out_moves_no_number() -> None:
    answer = read_answer(chat(citations=["javascript:alert(1)", None, "https://example.com/c"]))
    assert [(r.id, r.url) for r in answer.results] == [(3, "https://example.com/c")]


def test_items_and_chunks_of_unknown_types_are_passed_over() -> None:
    noise: list[Any] = [{"type": "finance_results", "results": [PAGE]}, 5, None, {"type": "message", "content": None}]
    chunks = [{"type": "reasoning", "text": "Hm."}, {"type": "output_text", "text": "Yes."}, {"text": " No."}, 7]
    answer = read_answer(agent(*noise, pages(PAGE, 5, None), {"type": "message", "content": chunks}, *noise))
    assert answer.text == "Yes. No."
    assert len(answer.results) == 1
    assert read_answer(chat([{"type": "text", "text": "Yes."}], search_results=[PAGE])).text == "Yes."


def test_the_last_message_is_the_answer() -> None:
    first = {"type": "message", "content": "Let me search."}
    assert read_answer(agent(first, pages(PAGE), MESSAGE)).text == "Apple is.[1]"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (agent(pages(PAGE), MESSAGE, status="incomplete"), Reason.TRUNCATED),
        (agent(pages(PAGE), MESSAGE | {"status": "incomplete"}), Reason.TRUNCATED),
        (agent(pages(PAGE), MESSAGE, status="failed"), Reason.UNREADABLE),
        (agent(pages(PAGE), MESSAGE, status={}), Reason.UNREADABLE),
        (agent(MESSAGE), Reason.UNGROUNDED),
        (agent(pages(), MESSAGE), Reason.UNGROUNDED),
        (agent(pages(PAGE | {"url": "ftp://example.com/"}), MESSAGE), Reason.UNGROUNDED),
        (agent(pages(PAGE | {"id": None}), MESSAGE), Reason.UNGROUNDED),
        (agent(pages(PAGE)), Reason.UNREADABLE),
        (
            agent(pages(PAGE), {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}),
            Reason.UNREADABLE,
        ),
        (chat(finish="length", search_results=[PAGE]), Reason.TRUNCATED),
        (chat(citations=[], search_results=None), Reason.UNGROUNDED),
        (chat(None, search_results=[PAGE]), Reason.UNREADABLE),
        (chat("  ", search_results=[PAGE]), Reason.UNREADABLE),
        (b'{"choices": [], "citations": ["https://example.com/"]}', Reason.UNREADABLE),
        (b"{}", Reason.UNREADABLE),
        (b"[]", Reason.UNREADABLE),
        (b"", Reason.UNREADABLE),
        (b"<html></html>", Reason.UNREADABLE),
        (b'{"output": [], "choices": NaN}', Reason.UNREADABLE),
    ],
)
def test_an_answer_that_is_none_says_in_which_way(body: bytes, reason: Reason) -> None:
    """Synthetic."""
    assert fault(read_answer, body) is reason


def test_a_search_is_read_in_its_order_and_may_find_nothing() -> None:
    """Synthetic."""
    row = {"title": " Apple ", "url": "HTTPS://Example.COM/A?b=C#d", "snippet": None, "date": "2026-13-40"}
    found = read_search(json.dumps({"id": "x", "results": [5, row]}).encode())
    assert found == (SearchResult(2, "Apple", "https://example.com/A?b=C#d", "", None),)
    assert read_search(b'{"results": []}') == ()
    with pytest.raises(ParseError, match="no list of results"):
        read_search(b'{"error": "no"}')


NO_ADDRESSES: list[object] = [
    *("", "example.com", "//example.com/", "file:///etc/passwd", "javascript:alert(1)", "https://", "https://[::1"),
    *("https://user@example.com/", "https://exam\nple.com/", "https://exa mple.com/", "http://example.com:99999/"),
    *("https://example.com/" + "a" * 2_000, "https://example.com/\u202egpj.exe", 7, None),
]


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_only_addresses_of_the_web_get_in(url: object) -> None:
    assert read_search(json.dumps({"results": [{"title": "Apple", "url": url}]}).encode()) == ()


@pytest.mark.parametrize(("index", "found"), [(2, "b"), ("2", "b"), (3, None), (4, "d"), (9, None), (0, None)])
@pytest.mark.parametrize("odd", [None, True, 2.0, [2], {"a": 2}, "two", "9" * 5_000, -1])
def test_a_number_names_one_page_or_none(index: object, found: str | None, odd: object) -> None:
    rows = [(2, "b"), (3, "c"), (3, "other"), (4, "d"), (4, "d")]
    results = [SearchResult(number, "", f"https://example.com/{name}", "", None) for number, name in rows]
    page = cited(results, index)
    assert (page.url[-1] if page else None) == found
    assert cited(results, odd) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": [1]}}',
        '\ufeff {"a": {"b": [1]}}\n',
        '```json\n{"a": {"b": [1]}}\n```',
        '```\n{"a": {"b": [1]}}```',
        '<think>Is it {"a": 2}?</think>\n{"a": {"b": [1]}}',
        '<think>{</think><think>```</think>```json\n{"a": {"b": [1]}}\n```',
        'Here it is: {"a": {"b": [1]}}. Anything else?',
        'The set {1, 2} aside: {"a": {"b": [1]}} {c}',
        'First {"a": {"b": [1]}}, and once more: {"a": {"b": [1]}}',
        '```json\n{"a": {"b": [1]}}\n```\nor\n```\n{"a": {"b": [1]}}\n```',
        '<thinking>{"a": 2}</thinking>{"a": {"b": [1]}}',
        '<think><think>{"a": 2}</think>{"a": 3}</think>{"a": {"b": [1]}}',
        'As {cited} in [1]:\n```json\n{"a": {"b": [1]}}\n```\nDone.',
    ],
)
def test_the_object_is_found_wherever_models_put_it(text: str) -> None:
    assert read_object(text) == {"a": {"b": [1]}}


@pytest.mark.parametrize("said", ["it wrote </think> twice", "```json\n{}\n```", "<think>", '</think>{"b": 2}'])
def test_an_object_that_speaks_of_thoughts_and_fences_is_taken_whole(said: str) -> None:
    """Synthetic."""
    written = json.dumps({"a": said})
    for text in (written, f"\ufeff {written}\n", f"```json\n{written}\n```"):
        assert read_object(text) == {"a": said}


def test_braces_and_quotes_within_strings_do_not_end_the_object() -> None:
    assert read_object(r'So: {"a": "} \" { \\", "b": 1} thus') == {"a": '} " { \\', "b": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.UNREADABLE),
        ("Revenue was 5 billion.", Reason.UNREADABLE),
        ("[1, 2]", Reason.UNREADABLE),
        ('[{"a": 1}, {"a": 2}]', Reason.UNREADABLE),
        ('Here: [ {"a": 1}, {"a": NaN}]', Reason.UNREADABLE),
        ("null", Reason.UNREADABLE),
        ('{"a": NaN}', Reason.UNREADABLE),
        ('{"a": -Infinity}', Reason.UNREADABLE),
        ('{"a": 1e999}', Reason.UNREADABLE),
        ('{"a": 1, "a": 2}', Reason.UNREADABLE),
        ('{"a": ' + "9" * 30 + "}", Reason.UNREADABLE),
        ('{"a": ' + "9" * 5_000 + "}", Reason.UNREADABLE),
        ('{"a": "\\ud800"}', Reason.UNREADABLE),
        ('{"a": "\ud800"}', Reason.UNREADABLE),
        ("{'a': 1}", Reason.UNREADABLE),
        ('{"bad": tru, "inner": {"a": 1}} {"b": 2}', Reason.UNREADABLE),
        ('{"said": "he "did"}", "inner": {"a": 1}}', Reason.UNREADABLE),
        ('{"a": ' * 100_000 + "1" + "}" * 100_000, Reason.UNREADABLE),
        ("{x}" * 100_000 + '{"a": 1}', Reason.UNREADABLE),
        ('{"a": {"b": 1}, "c', Reason.TRUNCATED),
        ('```json\n{"a": [{"b": 1}', Reason.TRUNCATED),
        ('<think>Perhaps {"a": 1}', Reason.TRUNCATED),
        ('Well. <think>Perhaps {"a": 1}', Reason.TRUNCATED),
        ('So "it" is. <Thinking>Perhaps {"a": 1}', Reason.TRUNCATED),
        ('<think>It <think>is</think> {"a": 1} or', Reason.TRUNCATED),
        ('{"a": 1} {"a": 2}', Reason.UNREADABLE),
        ('{"a": 1} {"a": 1} {"a": 2}', Reason.UNREADABLE),
        ('```json\n{"a": 1}\n```\nI correct myself:\n```json\n{"a": 2}\n```', Reason.UNREADABLE),
        ("{" * 100_000, Reason.TRUNCATED),
        ("<think>" * 100_000, Reason.TRUNCATED),
        ("</think>" * 100_000, Reason.UNREADABLE),
        ('<think>{"</think>' * 100_000, Reason.UNREADABLE),
    ],
)
def test_what_is_no_sound_object_is_refused_and_nothing_inside_is_taken_for_it(text: str, reason: Reason) -> None:
    assert fault(read_object, text) is reason


def test_a_fence_full_of_empty_lines_costs_its_length() -> None:
    with pytest.raises(ParseError):
        read_object("```json" + "\n" * 100_000 + "x")
    assert read_object("```json" + " \n" * 100_000 + '{"a": 1}\n' + "\n" * 100_000 + "```") == {"a": 1}


def test_nesting_ends_somewhere() -> None:
    def nested(depth: int) -> str:
        return '{"a": ' * depth + "1" + "}" * depth

    assert fault(read_object, nested(DEEPEST)) is None
    assert fault(read_object, nested(DEEPEST + 1)) is Reason.UNREADABLE


_NAMES = ["output", "choices", "type", "message", "search_results", "results", "citations", "content", "text", "url"]
_WORDS = st.sampled_from(["message", "search_results", "completed", "https://example.com/a", "output_text"])
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | _WORDS,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*_NAMES, "id", "date", "title", "status"]), inner),
    max_leaves=15,
)


@given(st.binary() | st.dictionaries(st.sampled_from(_NAMES), _JSON).map(lambda said: json.dumps(said).encode()))
def test_any_bytes_are_an_answer_or_a_parse_error(body: bytes) -> None:
    assert fault(read_answer, body) in (None, Reason.UNREADABLE, Reason.TRUNCATED, Reason.UNGROUNDED)
    assert fault(read_search, body) in (None, Reason.UNREADABLE)


_FIELDS = st.dictionaries(st.text(st.characters(codec="utf-8")), _JSON)
_CHATTER = st.text(st.characters(codec="utf-8", exclude_characters='{}[]`<>\\"'))


@given(_FIELDS, _CHATTER, _CHATTER)
def test_an_object_between_any_words_is_read_as_it_was_written(fields: dict[str, Any], before: str, after: str) -> None:
    written = json.dumps(fields, ensure_ascii=False)
    for text in (written, f"{before}{written}{after}", f"<think>{before}</think>```json\n{written}\n```"):
        assert read_object(text) == fields


@given(st.text() | st.text(st.sampled_from('{}[]"\\:,1a `\n')))
def test_any_text_holds_an_object_or_is_a_parse_error(text: str) -> None:
    assert fault(read_object, text) in (None, Reason.UNREADABLE, Reason.TRUNCATED)
