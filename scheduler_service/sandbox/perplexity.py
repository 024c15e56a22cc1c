"""Perplexity's wire formats, as api.perplexity.ai sends them: ``POST /v1/agent`` (also ``/v1/responses``),
``POST /chat/completions``, ``POST /search``, ``GET /v1/models``.

A model is not behind it: an answer is made from the bundled data and obeys the request's schema. As at the real one,
the Agent API searches only where the tool is offered, refuses unknown fields, and gives most results no date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from scheduler_service.clock import SECOND, Instant, to_iso_seconds, utc_day
from scheduler_service.sandbox.model_knowledge import NOTHING_KNOWN, analysis, topic_of, unknown_topic
from scheduler_service.sandbox.perplexity_requests import (
    MODELS,
    AgentRequest,
    ChatRequest,
    SearchRequest,
    Unsound,
    read,
)
from scheduler_service.sandbox.reply import Reply, error_reply
from scheduler_service.sandbox.reported import Reported, reported
from scheduler_service.sandbox.schema_instance import instance
from scheduler_service.sandbox.schema_rules import UNSOUND
from scheduler_service.sandbox.search_results import Found, beside_the_point, found

if TYPE_CHECKING:
    from scheduler_service.calls import Request
    from scheduler_service.sandbox.company import Company
    from scheduler_service.sandbox.perplexity_requests import ResponseFormat

Pairs: TypeAlias = Sequence[tuple["Company", "Company"]]
"""Each company, and the one whose data is served for it."""

_AGENT_PATHS = ("/v1/agent", "/v1/responses")
_CHAT_PATH = "/chat/completions"
_SEARCH_PATH = "/search"
_MODELS_PATH = "/v1/models"
RESULTS_OF_THE_TOOL = 10

USD_PER_SEARCH = 0.005
USD_PER_TOKEN = 1e-6
CHARACTERS_PER_TOKEN = 4
TOKENS_PER_RESULT = 150


def serves(path: str) -> bool:
    """Whether a path is Perplexity's."""
    return path.startswith("/v1/") or path in (_CHAT_PATH, _SEARCH_PATH)


def answer(request: Request, path: str, headers: Mapping[str, str], companies: Pairs, now: Instant) -> Reply:
    """The reply of the instant ``now``; ``headers`` in lower case."""
    if path not in _WAYS and path != _MODELS_PATH:
        return error_reply(404, "not_found", "the requested resource was not found")
    method = "POST" if path in _WAYS else "GET"
    if request.method != method:
        return Reply(405, {"allow": method})
    if path == _MODELS_PATH:
        return _models()
    if not bearer(headers):
        return error_reply(401, "unauthorized", "missing or empty API key in the Authorization header")
    try:
        return _WAYS[path](request.body or b"", companies, now)
    except Unsound as refused:
        return _refusal(path, refused)


def _refusal(path: str, refused: Unsound) -> Reply:
    """Chat completions are refused by another framework, in its words."""
    if path != _CHAT_PATH:
        return error_reply(400, refused.kind, str(refused), refused.param)
    place = ["body", refused.param] if refused.param else ["body"]
    return _json(422, {"detail": [{"loc": place, "msg": str(refused), "type": "value_error"}]})


def bearer(headers: Mapping[str, str]) -> str:
    """The key a request carries, empty where it carries none."""
    scheme, _, key = headers.get("authorization", "").strip().partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a question is about. ``company`` is None where none is named that is bundled."""

    company: Company | None
    told: Reported
    results: tuple[Found, ...]


def _subject(texts: Iterable[str], companies: Pairs, now: Instant, recency: str | None, most: int) -> _Subject:
    company = _named(texts, companies)
    today = utc_day(now)
    if company is None:
        return _Subject(None, Reported(), (beside_the_point(today),))
    told = reported(company, sum(filing.filed <= today.isoformat() for filing in company.filings))
    return _Subject(company, told, found(company.profile, told, now, recency=recency, most=most))


def _named(texts: Iterable[str], companies: Pairs) -> Company | None:
    """The company named first: by its ticker as a word of its own, or by its name."""
    for text in texts:
        words = "".join(c if c.isalnum() or c in ".-" else " " for c in text).split()
        bare = [word.strip(".-") for word in words]
        places = []
        for asked, served in companies:
            at = bare.index(asked.profile.symbol) if asked.profile.symbol in bare else None
            if at is None and asked.profile.name.lower() in text.lower():
                at = len(bare)
            if at is not None:
                places.append((at, asked.profile.symbol, served))
        if places:
            return min(places, key=lambda place: place[:2])[2]
    return None


def _written(subject: _Subject, wanted: ResponseFormat | None, now: Instant, *, cite: bool) -> str:
    """The model's text: JSON where a schema is given, else prose. Without results it cites none."""
    results = subject.results if cite else ()
    if wanted is None:
        return NOTHING_KNOWN if subject.company is None else analysis(subject.company.profile, subject.told, results)
    topic = unknown_topic()
    if subject.company is not None:
        topic = topic_of(subject.company, subject.told, results, utc_day(now))
    try:
        return orjson.dumps(instance(wanted.json_schema.wanted, topic)).decode()
    except UNSOUND as error:
        raise Unsound("invalid response_format: the schema is not sound", param="response_format") from error


def _agent(body: bytes, companies: Pairs, now: Instant) -> Reply:
    asked = read(AgentRequest, body)
    tool = asked.search
    recency = tool.filters.search_recency_filter if tool and tool.filters else None
    most = (tool.max_results if tool else None) or RESULTS_OF_THE_TOOL
    subject = _subject(asked.texts, companies, now, recency, most)
    text = _written(subject, asked.response_format, now, cite=tool is not None)
    name = _name(body, now)
    search = {
        "type": "search_results",
        "queries": [asked.texts[0][:100]],
        "results": [_listed(r) for r in subject.results],
    }
    message = {
        "type": "message",
        "id": f"msg_{name}",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
    return _json(
        200,
        {
            "id": f"resp_{name}",
            "object": "response",
            "status": "completed",
            "error": None,
            "incomplete_details": None,
            "created_at": now // SECOND,
            "completed_at": now // SECOND,
            "model": asked.serving,
            "background": False,
            "max_output_tokens": asked.max_output_tokens,
            "output": [search, message] if tool else [message],
            "usage": _agent_usage(body, text, len(subject.results) if tool else None),
        },
    )


def _agent_usage(body: bytes, text: str, results: int | None) -> dict[str, Any]:
    """``results`` is None where nothing was searched."""
    read_in, written = _tokens(body, text, results or 0)
    searched = 0.0 if results is None else USD_PER_SEARCH
    cost = {
        "currency": "USD",
        "input_cost": round(read_in * USD_PER_TOKEN, 6),
        "output_cost": round(written * USD_PER_TOKEN, 6),
        "total_cost": round((read_in + written) * USD_PER_TOKEN + searched, 6),
    }
    usage: dict[str, Any] = {"input_tokens": read_in, "output_tokens": written, "total_tokens": read_in + written}
    if results is not None:
        cost_details = {"tool_calls_cost": searched, "tool_calls_cost_details": {"search_web": searched}}
        usage["tool_calls_details"] = {"search_web": {"invocation": 1, "cost_usd": searched}}
        return usage | {"cost": cost | cost_details}
    return usage | {"cost": cost}


def _chat(body: bytes, companies: Pairs, now: Instant) -> Reply:
    asked = read(ChatRequest, body)
    subject = _subject(asked.texts, companies, now, asked.search_recency_filter, RESULTS_OF_THE_TOOL)
    results = () if asked.disable_search else subject.results
    text = _written(subject, asked.response_format, now, cite=bool(results))
    read_in, written = _tokens(body, text, len(results))
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return _json(
        200,
        {
            "id": _name(body, now),
            "model": asked.model,
            "created": now // SECOND,
            "object": "chat.completion",
            "choices": [choice],
            "citations": [one.url for one in results],
            "search_results": [{k: v for k, v in _listed(one).items() if k != "id"} for one in results],
            "usage": {
                "prompt_tokens": read_in,
                "completion_tokens": written,
                "total_tokens": read_in + written,
                "search_context_size": "low",
                "cost": {
                    "input_tokens_cost": round(read_in * USD_PER_TOKEN, 6),
                    "output_tokens_cost": round(written * USD_PER_TOKEN, 6),
                    "request_cost": USD_PER_SEARCH,
                    "total_cost": round((read_in + written) * USD_PER_TOKEN + USD_PER_SEARCH, 6),
                },
            },
        },
    )


def _search(body: bytes, companies: Pairs, now: Instant) -> Reply:
    asked = read(SearchRequest, body)
    subject = _subject(asked.texts, companies, now, asked.search_recency_filter, asked.max_results)
    results = subject.results if subject.company else ()
    listed = [{k: v for k, v in _listed(one).items() if k not in ("id", "source")} for one in results]
    return _json(200, {"id": _name(body, now), "results": listed, "server_time": to_iso_seconds(now)})


def _models() -> Reply:
    listed = [{"id": one, "object": "model", "created": 0, "owned_by": one.split("/")[0]} for one in MODELS]
    return _json(200, {"object": "list", "data": listed})


def _listed(result: Found) -> dict[str, Any]:
    """A missing date is not null: it is not there."""
    return {
        "id": result.id,
        "url": result.url,
        "title": result.title,
        "snippet": result.snippet,
        **({} if result.day is None else {"date": result.day.isoformat()}),
        "last_updated": result.seen.isoformat(),
        "source": "web",
    }


def _tokens(body: bytes, text: str, results: int) -> tuple[int, int]:
    """Read and written, at the usual four characters each."""
    return len(body) // CHARACTERS_PER_TOKEN + results * TOKENS_PER_RESULT, len(text) // CHARACTERS_PER_TOKEN


def _name(body: bytes, now: Instant) -> str:
    digest = hashlib.sha256(body + now.to_bytes(8)).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def _json(status: int, said: Any) -> Reply:
    return Reply(status, {"content-type": "application/json"}, orjson.dumps(said))


_WAYS: dict[str, Callable[[bytes, Pairs, Instant], Reply]] = {
    **dict.fromkeys(_AGENT_PATHS, _agent),
    _CHAT_PATH: _chat,
    _SEARCH_PATH: _search,
}
