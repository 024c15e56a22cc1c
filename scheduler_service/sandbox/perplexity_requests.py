"""What may be asked of Perplexity: its request bodies, refused in its own words where they are not sound.

The Agent API (``/v1/agent``) and the Search API refuse every field they do not know; chat completions ignore it.
Source: docs.perplexity.ai and the schema of its Python package.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from scheduler_service.models import Record
from scheduler_service.sandbox.schema_rules import unsupported

MODELS = ("perplexity/sonar", "openai/gpt-6-luna")
PRESETS = Literal["fast", "low", "medium", "high", "xhigh"]

_DATE = re.compile(r"(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])/\d{4}")
_DOMAIN = re.compile(r"-?[A-Za-z0-9.-]+(/\S*)?")

T = TypeVar("T", bound=Record)


class Unsound(Exception):
    """The request is refused: ``kind`` is Perplexity's name of why, ``param`` the field."""

    def __init__(self, message: str, kind: str = "invalid_request", param: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.param = param


def _american_date(text: str) -> str:
    if not _DATE.fullmatch(text):
        raise Unsound(f"invalid date {text!r}: expected MM/DD/YYYY", "invalid_date_format")
    return text


def _domains(domains: tuple[str, ...]) -> tuple[str, ...]:
    if len(domains) > 20 or not all(_DOMAIN.fullmatch(one) for one in domains):
        raise Unsound("search_domain_filter takes at most 20 domains, without scheme", "invalid_search_domain_filter")
    return domains


Recency: TypeAlias = Literal["hour", "day", "week", "month", "year"]
AmericanDate: TypeAlias = Annotated[str, AfterValidator(_american_date)]
Domains: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_domains)]
ContextSize: TypeAlias = Literal["low", "medium", "high"]


class _Body(Record):
    model_config = ConfigDict(strict=True)


class Filters(_Body):
    """Which pages a search may find."""

    search_domain_filter: Domains | None = None
    search_recency_filter: Recency | None = None
    search_after_date_filter: AmericanDate | None = None
    search_before_date_filter: AmericanDate | None = None
    last_updated_after_filter: AmericanDate | None = None
    last_updated_before_filter: AmericanDate | None = None

    @model_validator(mode="after")
    def _one_kind_of_time(self) -> Filters:
        if self.search_recency_filter and (self.search_after_date_filter or self.search_before_date_filter):
            raise Unsound("search_recency_filter cannot be combined with date filters", param="search_recency_filter")
        return self


class WebSearch(_Body):
    type: Literal["web_search"]
    filters: Filters | None = None
    search_context_size: ContextSize | None = None
    user_location: dict[str, Any] | None = None
    max_results: int | None = Field(default=None, ge=1, le=50)


class FinanceSearch(_Body):
    type: Literal["finance_search"]


class FetchUrl(_Body):
    type: Literal["fetch_url"]
    max_urls: int | None = Field(default=None, ge=1, le=10)


class ToolChoice(_Body):
    type: Literal["web_search", "finance_search", "fetch_url"]


class JsonSchema(_Body):
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    wanted: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None
    description: str | None = None

    @model_validator(mode="after")
    def _supported(self) -> JsonSchema:
        problem = unsupported(self.wanted)
        if problem:
            raise Unsound(f"invalid response_format: {problem}", param="response_format")
        return self


class ResponseFormat(_Body):
    type: Literal["json_schema"]
    json_schema: JsonSchema


class Message(_Body):
    role: Literal["user", "assistant", "system", "developer"]
    content: str


class Reasoning(_Body):
    effort: Literal["minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class AgentRequest(_Body):
    """POST /v1/agent."""

    input: str | tuple[Message, ...]
    instructions: str | None = None
    model: str | None = None
    models: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=5)
    preset: PRESETS | None = None
    effort: PRESETS | None = None
    max_output_tokens: int | None = Field(default=None, ge=16)
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = Field(default=None, max_length=16)
    background: bool | None = None
    previous_response_id: str | None = None
    max_steps: int | None = Field(default=None, ge=1, le=100)
    max_tool_calls: int | None = None
    reasoning: Reasoning | None = None
    response_format: ResponseFormat | None = None
    tools: tuple[Annotated[WebSearch | FinanceSearch | FetchUrl, Field(discriminator="type")], ...] = ()
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None

    @model_validator(mode="after")
    def _some_model(self) -> AgentRequest:
        named = [one for one in (self.model, *(self.models or ())) if one is not None]
        if not named and not self.preset and not self.effort:
            raise Unsound("one of model, models, preset or effort is required", param="model")
        for one in named:
            maker, _, name = one.partition("/")
            if not name or (maker == "perplexity" and one not in MODELS):
                raise Unsound(f"invalid model {one[:100]!r}", "invalid_model", "model")
        return self

    @property
    def serving(self) -> str:
        """The model that really answers: of a preset it is another company's."""
        return self.model or (self.models or ("openai/gpt-6-luna",))[0]

    @property
    def search(self) -> WebSearch | None:
        """The tool, where it is offered and not forbidden."""
        offered = next((tool for tool in self.tools if isinstance(tool, WebSearch)), None)
        return None if self.tool_choice == "none" else offered

    @property
    def texts(self) -> tuple[str, ...]:
        """What is said to the model, the question first."""
        asked = (self.input,) if isinstance(self.input, str) else tuple(one.content for one in reversed(self.input))
        return (*asked, self.instructions or "")


class ChatRequest(_Body):
    """POST /chat/completions; what else it has is ignored."""

    model_config = ConfigDict(extra="ignore")

    model: Literal["sonar", "sonar-pro", "sonar-reasoning-pro", "sonar-deep-research", "perplexity/sonar"]
    messages: tuple[Message, ...] = Field(min_length=1)
    response_format: ResponseFormat | None = None
    search_recency_filter: Recency | None = None
    disable_search: bool | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(one.content for one in reversed(self.messages))


class SearchRequest(Filters):
    """POST /search."""

    query: str | tuple[str, ...]
    max_results: int = Field(default=10, ge=1, le=20)
    max_tokens: int | None = None
    max_tokens_per_page: int | None = None
    country: str | None = None
    search_mode: Literal["web", "academic", "sec"] | None = None
    search_language_filter: tuple[str, ...] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.query,) if isinstance(self.query, str) else self.query


def read(kind: type[T], body: bytes) -> T:
    """The request; ``Unsound`` in the words of the strict endpoints, naming the first field that is wrong."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        wrong = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
        field = str(wrong["loc"][-1]) if wrong["loc"] else None
        if wrong["type"] == "extra_forbidden":
            raise Unsound(f'invalid request body: json: unknown field "{field}"', param=field) from None
        raise Unsound(f"invalid request body: {wrong['msg']}", param=field) from None
