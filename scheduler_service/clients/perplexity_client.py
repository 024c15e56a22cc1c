"""Perplexity's wire format in two dialects: its Agent API, and the chat completions that gateways still speak.

Sources: https://docs.perplexity.ai (Agent API, Search API, pricing), the schema of its Python package, and recorded
answers. The traps: the Agent API answers 400 to any field it does not know, searches only when told to, and reports a
failed run as 200; a key out of credit is a 401; the end of chat completions was announced for 2026-09-27.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias
from urllib.parse import quote

import orjson
from pydantic import Field

from scheduler_service.calls import Cost, Limits, Request, Resource
from scheduler_service.clients.base import shown
from scheduler_service.clients.perplexity_errors import failure, json_object, raise_for_status
from scheduler_service.clock import DAY, MINUTE, SECOND
from scheduler_service.errors import TransientClientError
from scheduler_service.models import Reason
from scheduler_service.settings.providers import Budget, KeyedOptions
from scheduler_service.settings.units import Duration, Share, Size

if TYPE_CHECKING:
    from scheduler_service.calls import Response
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.models import Symbol

Recency: TypeAlias = Literal["day", "week", "month", "year"]

MAX_AGE = 50 * MINUTE
"""Less than the hour of an eager schedule: each of its slots asks."""
WITHOUT_SEARCH = DAY
MOST_RESULTS = 20
EXPECTED_SEARCH = Cost(usd_micros=5_000)
"""5 USD per 1,000 requests, whatever they find."""
EXPECTED_ANSWER = Cost(usd_micros=20_000, tokens=15_000)
"""A search (0.005 USD) and, at about 1 USD a million, the pages it puts before the model and 4,096 tokens of answer;
rounded up. Recorded answers cost 0.0012 and 0.0050 USD.
"""
MOST_USD = Decimal(100)
MOST_TOKENS = 10**9

SEARCH_PATH = "/search"
SEARCHES, ANSWERS = "search", "answers"
"""Its endpoints: what is asked there fails, and costs, alike."""
_SEARCH = "perplexity:search:"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the model. Nothing in it changes from day to day, so that its request stays the same.

    ``name`` (``[A-Za-z0-9_-]{1,64}``) names the resource and the answer's schema. ``schema`` is a JSON Schema as
    canonical JSON; it is sent byte for byte, since Perplexity takes 10 to 30 s longer for one it has not seen.
    """

    name: str
    instructions: str
    text: str
    schema: bytes
    recency: Recency | None = None
    max_output_tokens: int = 4096

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} cannot name a question: letters, digits, _ and - only, at most 64")
        if not isinstance(orjson.loads(self.schema), dict):
            raise ValueError(f"the schema of question {self.name} is not a JSON object")


class PerplexityBudget(Budget):
    """Every answer costs money, so there is a limit also where none is written."""

    usd_per_day: float | None = Field(default=1.00, ge=0)
    reserve: Share = 0.2


class PerplexityClient:
    """Answers and searches; whatever a key is needed for, it is added by ``signed``."""

    provider = "perplexity"

    class Options(KeyedOptions):
        """A model that searches the web. A small account gets a 429 for two requests at once."""

        key_prefix: ClassVar[str] = "pplx-"
        nicknames: ClassVar[tuple[str, ...]] = ("PPLX",)
        knows_stocks_by_name: ClassVar[bool] = True

        api: Literal["agent", "chat"] = "agent"
        """`chat` for a gateway that still speaks chat completions; its `base_url` may have a path."""
        base_url: str = "https://api.perplexity.ai"
        model: str | None = Field(default=None, min_length=1)
        """null: the dialect's name of Sonar."""
        concurrency: int = Field(default=1, ge=1, le=64)
        requests_per_minute: float | None = Field(default=50.0, gt=0)
        budget: PerplexityBudget = PerplexityBudget()
        timeout: Duration = Field(default=90 * SECOND, gt=0)
        max_body: Size = Field(default=500_000, gt=0)

        @property
        def whereabouts(self) -> str:
            return f"{super().whereabouts}\n{self.api}\n{self.model}"

        @property
        def usd_per_call(self) -> float:
            return EXPECTED_ANSWER.usd_micros / 1e6

        def expected(self, endpoint: str) -> Cost:
            return EXPECTED_SEARCH if endpoint == SEARCHES and self.api == "agent" else EXPECTED_ANSWER

    def __init__(self, options: Options, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._base = options.base_url.rstrip("/")
        self._agent = options.api == "agent"
        self._search_again_at: Instant = 0
        self._model = options.model or ("perplexity/sonar" if self._agent else "sonar")

    @property
    def serves_search(self) -> bool:
        """Whether ``search`` can be asked: a gateway that speaks chat has no such endpoint, another may have none."""
        now = self._clock.now()
        return self._agent and not now < self._search_again_at <= now + WITHOUT_SEARCH

    def do_without_search(self) -> None:
        """The search was not found: it is not asked for a day, so that no gateway's bad hour lasts for ever."""
        self._search_again_at = self._clock.now() + WITHOUT_SEARCH

    def answer(self, symbol: Symbol, question: Question) -> Resource:
        """The model's answer to a question about a stock, grounded in a search. Read by ``read_answer``."""
        path, body = ("/v1/agent", self._to_agent) if self._agent else ("/chat/completions", self._to_chat)
        key = f"perplexity:answer:{question.name}:{quote(symbol.symbol, safe='')}"
        return self._resource(key, path, body(question), EXPECTED_ANSWER)

    def search(
        self, symbol: Symbol, query: str, *, recency: Recency | None = None, most: int = MOST_RESULTS
    ) -> Resource:
        """Pages found for a query about a stock, at most 20, no model in between. Read by ``read_search``."""
        body: dict[str, Any] = {"query": query, "max_results": min(max(1, most), MOST_RESULTS)}
        if recency is not None:
            body["search_recency_filter"] = recency
        return self._resource(f"{_SEARCH}{quote(symbol.symbol, safe='')}", SEARCH_PATH, body, EXPECTED_SEARCH)

    def signed(self, request: Request, key: str) -> Request:
        return replace(request, headers=(*request.headers, ("Authorization", f"Bearer {key}")))

    def check(self, resource: Resource, response: Response) -> Cost | None:
        gone = None if resource.key.startswith(_SEARCH) else self._advice()
        raise_for_status(response, resource.request, self._clock.now(), gone)
        said = json_object(response.body)
        if said is None and response.body.lstrip()[:1] == b"{":
            return None  # paid for, and perhaps a parser's fault: it is kept, and judged where it is read
        if said is None:
            message = f"{shown(response.url)} answered {response.status} with something other than a JSON object"
            raise TransientClientError(message, Reason.PROVIDER_DOWN, status=response.status)
        cost = _cost(said, resource.expected.tokens)
        failed = failure(said, response, resource.request)
        if failed is not None:
            failed.cost = cost
            raise failed
        return cost

    def _advice(self) -> str:
        if self._agent:
            return "see base_url and api under providers.perplexity"
        return "write api: agent under providers.perplexity, or the base_url of a gateway that serves chat completions"

    def _to_agent(self, question: Question) -> dict[str, Any]:
        tool: dict[str, Any] = {"type": "web_search"}
        if question.recency is not None:
            tool["filters"] = {"search_recency_filter": question.recency}
        return {
            "model": self._model,
            "instructions": question.instructions,
            "input": question.text,
            "max_output_tokens": question.max_output_tokens,
            "response_format": _format(question),
            "tools": [tool],
            "tool_choice": {"type": "web_search"},
            "store": False,
        }

    def _to_chat(self, question: Question) -> dict[str, Any]:
        roles = (("system", question.instructions), ("user", question.text))
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": role, "content": text} for role, text in roles],
            "max_tokens": question.max_output_tokens,
            "response_format": _format(question),
            "web_search_options": {"search_context_size": "low"},
        }
        if question.recency is not None:
            body["search_recency_filter"] = question.recency
        return body

    def _resource(self, key: str, path: str, body: dict[str, Any], expected: Cost) -> Resource:
        headers = (("Accept", "application/json"), ("Content-Type", "application/json"))
        sent = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        request = Request(f"{self._base}{path}", "POST", headers, sent)
        limits = Limits(max_bytes=self._options.max_body, timeout=self._options.timeout / SECOND)
        endpoint = SEARCHES if path == SEARCH_PATH else ANSWERS
        return Resource(self.provider, key, request, MAX_AGE, limits=limits, expected=expected, endpoint=endpoint)


def _format(question: Question) -> dict[str, Any]:
    schema = {"name": question.name, "schema": orjson.Fragment(question.schema), "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def _cost(said: dict[str, Any], usual_tokens: int) -> Cost | None:
    """``usage.cost`` in whole millionths, rounded up: an object with ``total_cost``, at some gateways a number. None
    where it is missing or cannot be. Tokens that it does not tell are the usual ones.
    """
    usage = said.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    cost = usage.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost") if cost.get("currency", "USD") == "USD" else None
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost <= MOST_USD:
        return None
    micros = Decimal(str(cost)).scaleb(6).to_integral_value(ROUND_CEILING)
    tokens = usage.get("total_tokens")
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens <= MOST_TOKENS:
        tokens = usual_tokens
    return Cost(int(micros), tokens)
