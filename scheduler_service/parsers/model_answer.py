"""Answers of language models that searched first, and what is written in them. Knows no domain.

Sources: the Agent API, chat completions and Search API at https://docs.perplexity.ai, and recorded answers. The traps:
seven of ten recorded results have no date; ``annotations`` are empty; a structured answer may still arrive as prose,
in a fence, behind ``</think>`` or cut off; an address in the model's text may be invented, so pages are only ever taken
from the results, by the number the model gives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.json_values import as_date, as_int, as_list, as_object, as_text
from scheduler_service.strict_json import load_object, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

LONGEST_URL = 2_000

_MOST_TRIES = 20
_TEXT_TYPES = ("output_text", "text", None)
_THOUGHT = re.compile(r"<(/?)(?:think(?:ing)?|thoughts?|reasoning)>", re.IGNORECASE)
_OBJECT_BEGINS = re.compile(r'\{\s*"')
_FENCE = "```"
_FENCE_BEGINS = re.compile(rf"{_FENCE}[A-Za-z0-9_-]*[^\S\n]*\n")
_BRACES = re.compile(r'\\.|["{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A page the search found. ``id`` is the number the model cites it by; title and snippet are as they came."""

    id: int
    title: str
    url: str
    snippet: str
    published: date | None


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What the model wrote, the pages it had before it, and the model that served."""

    text: str
    results: tuple[SearchResult, ...]
    model: str


def read_answer(body: bytes) -> ModelAnswer:
    """An answer of the Agent API or of chat completions, told apart by their envelope.

    ``ParseError``: UNREADABLE, TRUNCATED when the model ran out of tokens, UNGROUNDED when it rests on no page.
    """
    said = load_object(body)
    if isinstance(said.get("output"), list):
        text, results = _agent(said)
    elif isinstance(said.get("choices"), list):
        text, results = _chat(said)
    else:
        raise ParseError("this is no answer of a model: neither output nor choices", Reason.UNREADABLE)
    if not results:
        raise ParseError("the model answered without a single page to rest on", Reason.UNGROUNDED)
    if not text:
        raise ParseError("the model's answer holds no text", Reason.UNREADABLE)
    return ModelAnswer(text, results, as_text(said.get("model")))


def read_search(body: bytes) -> tuple[SearchResult, ...]:
    """The pages of a Search API answer, numbered from 1 in its order; none is a good answer too."""
    results = load_object(body).get("results")
    if not isinstance(results, list):
        raise ParseError("the answer of the search has no list of results", Reason.UNREADABLE)
    return tuple(_pages(enumerate(results, 1)))


def cited(results: Sequence[SearchResult], index: Any) -> SearchResult | None:
    """The page of this number. None where there is none, or where several searches gave it to different pages."""
    number = as_int(index)
    found = [result for result in results if result.id == number]
    return found[0] if len({result.url for result in found}) == 1 else None


def _agent(said: dict[str, Any]) -> tuple[str, tuple[SearchResult, ...]]:
    status, items = said.get("status"), [as_object(item) for item in said["output"]]
    messages = [item for item in items if item.get("type") == "message"]
    if status == "incomplete" or any(message.get("status") == "incomplete" for message in messages):
        _truncated()
    if status not in (None, "completed"):
        raise ParseError("the run of the model did not complete", Reason.UNREADABLE)
    found = [row for item in items if item.get("type") == "search_results" for row in as_list(item.get("results"))]
    texts = [_text_of(message.get("content")) for message in messages]
    last = next((text for text in reversed(texts) if text), "")
    return last, tuple(_pages((as_int(as_object(row).get("id")), row) for row in found))


def _chat(said: dict[str, Any]) -> tuple[str, tuple[SearchResult, ...]]:
    choice = as_object(next(iter(said["choices"]), None))
    if choice.get("finish_reason") == "length":
        _truncated()
    found, citations = as_list(said.get("search_results")), as_list(said.get("citations"))
    if citations:
        known = {row["url"]: row for row in map(as_object, found) if isinstance(row.get("url"), str)}
        found = [known.get(url, {"url": url}) if isinstance(url, str) else {} for url in citations]
    return _text_of(as_object(choice.get("message")).get("content")), tuple(_pages(enumerate(found, 1)))


def _truncated() -> NoReturn:
    raise ParseError("the model's answer breaks off before its end", Reason.TRUNCATED)


def _text_of(content: Any) -> str:
    chunks = [chunk for chunk in map(as_object, as_list(content)) if chunk.get("type") in _TEXT_TYPES]
    texts = [chunk.get("text") for chunk in chunks]
    return as_text(content) or "".join(text for text in texts if isinstance(text, str)).strip()


def _pages(numbered: Iterable[tuple[int | None, Any]]) -> Iterator[SearchResult]:
    for number, row in numbered:
        fields = as_object(row)
        url = _web_address(fields.get("url"))
        if number is not None and url is not None:
            title, snippet = as_text(fields.get("title")), as_text(fields.get("snippet"))
            yield SearchResult(number, title, url, snippet, as_date(fields.get("date")))


def _web_address(value: Any) -> str | None:
    """An http(s) address with its host in lower case, otherwise as it came; None for anything else."""
    url = as_text(value)
    if not url.isprintable() or " " in url or len(url) > LONGEST_URL:
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    # A user name in front of the host serves deception only.
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        return None
    return urlunsplit(parts._replace(netloc=parts.netloc.lower()))


def read_object(text: str) -> dict[str, Any]:
    """The JSON object a model wrote: bare, in a fence, behind its thoughts, or the only one among other words.

    ``ParseError``: TRUNCATED for one that is never closed, UNREADABLE for anything else. NaN, a key twice, endless
    numbers and deep nesting are refused; an object inside one that was refused is never taken for it, nor is one of
    two that say different things.
    """
    return read_object_among(text)[0]


def read_object_among(text: str) -> tuple[dict[str, Any], str]:
    """The same, and the words around it, thoughts left out."""
    whole = text.removeprefix("\ufeff").strip()
    rest = _thought_over(whole)
    for candidate in dict.fromkeys((whole, _unfenced(whole), rest or "", _unfenced(rest or ""))):
        try:
            value = read(candidate)
        except ValueError:
            continue
        if not isinstance(value, dict):
            raise ParseError("the model wrote JSON, but not an object", Reason.UNREADABLE)
        return value, ""
    if rest is None:
        _truncated()
    return _only_object(_unfenced(rest))


def _thought_over(text: str) -> str | None:
    """What stands behind the thoughts; None where they have no end."""
    objects = [found.start() for found in _OBJECT_BEGINS.finditer(text)]
    depth, end, n = 0, 0, 0
    for mark in _THOUGHT.finditer(text):
        while n < len(objects) and objects[n] < end:
            n += 1
        if mark[1]:
            depth, end = max(0, depth - 1), mark.end()
        elif n == len(objects) or objects[n] > mark.start():  # else it is in what was written already
            depth += 1
    return None if depth else text[end:].strip()


def _unfenced(text: str) -> str:
    begin = _FENCE_BEGINS.match(text)
    if begin is None or not text.endswith(_FENCE, begin.end()):
        return text
    return text[begin.end() : -len(_FENCE)].strip()


def _only_object(text: str) -> tuple[dict[str, Any], str]:
    value, start, end = _first_object(text)
    words, rest = text[:start], text[end:]
    for _ in range(_MOST_TRIES):
        try:
            other, start, end = _first_object(rest)
        except ParseError:
            return value, words + rest
        if other != value:
            break
        words, rest = words + rest[:start], rest[end:]
    raise ParseError("the model wrote several JSON objects that say different things", Reason.UNREADABLE)


def _first_object(text: str) -> tuple[dict[str, Any], int, int]:
    """With where it stands. Braces without a quote between them are prose; with one they were meant as JSON, and
    nothing behind counts.
    """
    start = text.find("{")
    for _ in range(_MOST_TRIES):
        if start < 0:
            break
        if text[max(0, start - 100) : start].rstrip().endswith("["):
            raise ParseError("the model wrote JSON, but not an object", Reason.UNREADABLE)
        end = _closing_brace(text, start)
        if end is None:
            _truncated()
        span = text[start : end + 1]
        try:
            return as_object(read(span)), start, end + 1
        except ValueError:
            start = -1 if '"' in span else text.find("{", end + 1)
    raise ParseError("the model's answer holds no sound JSON object", Reason.UNREADABLE)


def _closing_brace(text: str, start: int) -> int | None:
    depth, quoted = 0, False
    for token in _BRACES.finditer(text, start):
        match token[0]:
            case '"':
                quoted = not quoted
            case "{" if not quoted:
                depth += 1
            case "}" if not quoted:
                depth -= 1
                if depth == 0:
                    return token.start()
    return None
