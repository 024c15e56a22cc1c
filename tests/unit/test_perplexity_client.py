"""Perplexity's requests byte by byte, and what its answers mean. Bodies without a recording are marked synthetic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.calls import Cost, Request, Resource, Response, Signer
from scheduler_service.clients.perplexity_client import (
    EXPECTED_ANSWER,
    EXPECTED_SEARCH,
    PerplexityClient,
    Question,
    Recency,
)
from scheduler_service.clock import SECOND
from scheduler_service.errors import (
    ClientError,
    EndpointGone,
    NotFound,
    PermanentClientError,
    RateLimited,
    Refused,
    TransientClientError,
)
from scheduler_service.models import Reason, Symbol
from scheduler_service.redaction import escape, register_secret
from scheduler_service.settings.providers import KeyedOptions
from tests.fakes import FakeClock

RECORDED = (Path(__file__).resolve().parents[2] / "../shared/fixtures/perplexity").resolve()
APPLE = Symbol("AAPL", aliases={"perplexity": "AAPL.US"})
SCHEMA = b'{"properties":{"b":{"type":"number"},"a":{"type":"string"}},"required":["b","a"],"type":"object"}'
QUESTION = Question("news", "Answer in JSON alone.", "What happened at Apple this week?", SCHEMA, recency="week")
NOW = FakeClock().now()


def client(**options: Any) -> PerplexityClient:
    return PerplexityClient(PerplexityClient.Options(**options), FakeClock())


def answer(**options: Any) -> Resource:
    return client(**options).answer(APPLE, QUESTION)


def sent(resource: Resource) -> dict[str, Any]:
    body = json.loads(resource.request.body or b"")
    assert isinstance(body, dict)
    return body


def check(
    body: object, status: int = 200, *, resource: Resource | None = None, api: str = "agent", **headers: str
) -> Cost | None:
    """What the client makes of an answer; ``body`` is JSON unless it is bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = resource or answer(api=api)
    return client(api=api).check(asked, Response(status, named, raw, asked.request.url))


def failure(body: object, status: int = 200, **more: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        check(body, status, **more)
    return caught.value


def recording(name: str) -> bytes:
    path = RECORDED / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not here")
    return path.read_bytes()


def test_the_agent_is_asked_with_documented_fields_alone_and_must_search() -> None:
    resource = answer()
    assert resource.key == "perplexity:answer:news:AAPL"
    assert (resource.request.method, resource.request.url) == ("POST", "https://api.perplexity.ai/v1/agent")
    assert sent(resource) == {
        "model": "perplexity/sonar",
        "instructions": "Answer in JSON alone.",
        "input": "What happened at Apple this week?",
        "max_output_tokens": 4096,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "news", "schema": json.loads(SCHEMA), "strict": True},
        },
        "tools": [{"type": "web_search", "filters": {"search_recency_filter": "week"}}],
        "tool_choice": {"type": "web_search"},
        "store": False,
    }


def test_chat_is_asked_with_its_filter_at_the_top_and_a_small_context() -> None:
    resource = answer(api="chat", base_url="https://gateway.example/v1x/")
    assert resource.request.url == "https://gateway.example/v1x/chat/completions"
    assert sent(resource) == {
        "model": "sonar",
        "messages": [
            {"role": "system", "content": "Answer in JSON alone."},
            {"role": "user", "content": "What happened at Apple this week?"},
        ],
        "max_tokens": 4096,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "news", "schema": json.loads(SCHEMA), "strict": True},
        },
        "search_recency_filter": "week",
        "web_search_options": {"search_context_size": "low"},
    }


def test_without_recency_no_filter_is_sent() -> None:
    timeless = Question("news", "Answer.", "What is Apple?", SCHEMA)
    assert sent(client().answer(APPLE, timeless))["tools"] == [{"type": "web_search"}]
    assert "search_recency_filter" not in sent(client(api="chat").answer(APPLE, timeless))
    assert "search_recency_filter" not in sent(client().search(APPLE, "Apple"))


def test_a_search_needs_no_model() -> None:
    resource = client().search(APPLE, "Apple stock", recency="day", most=50)
    assert resource.key == "perplexity:search:AAPL"
    assert resource.request.url == "https://api.perplexity.ai/search"
    assert sent(resource) == {"query": "Apple stock", "max_results": 20, "search_recency_filter": "day"}
    assert client().serves_search
    assert not client(api="chat").serves_search


def test_the_schema_is_sent_byte_for_byte_and_every_other_object_in_order() -> None:
    body = answer().request.body or b""
    assert SCHEMA in body
    assert list(sent(answer())) == sorted(sent(answer()))


questions = st.builds(
    Question,
    name=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    instructions=st.text(st.characters(codec="utf-8")),
    text=st.text(st.characters(codec="utf-8")),
    schema=st.just(SCHEMA),
    recency=st.sampled_from([None, *get_args(Recency)]),
    max_output_tokens=st.integers(16, 100_000),
)


@given(questions, questions, st.sampled_from(["agent", "chat"]))
def test_equal_questions_are_equal_bytes_and_others_are_not(one: Question, other: Question, api: str) -> None:
    twin = Question(one.name, one.instructions, one.text, one.schema, one.recency, one.max_output_tokens)
    assert client(api=api).answer(APPLE, one) == client(api=api).answer(APPLE, twin)
    same_bytes = client(api=api).answer(APPLE, one).request == client(api=api).answer(APPLE, other).request
    assert same_bytes == (one == other)


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65, "news\n"])
def test_a_question_has_a_name_the_upstream_takes(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a question"):
        Question(name, "", "", SCHEMA)


@pytest.mark.parametrize("schema", [b"", b"{", b"[]", b'"object"'])
def test_a_question_has_a_schema(schema: bytes) -> None:
    with pytest.raises(ValueError):
        Question("news", "", "", schema)


def test_the_key_goes_into_one_header_and_nowhere_else() -> None:
    asked = client()
    assert isinstance(asked, Signer)
    before = answer().request
    signed = asked.signed(before, "pplx-1234")
    assert signed == Request(before.url, "POST", (*before.headers, ("Authorization", "Bearer pplx-1234")), before.body)


def test_nothing_is_redirected_and_a_try_has_ninety_seconds() -> None:
    limits = answer().limits
    assert (limits.redirects, limits.timeout, limits.max_bytes) == (0, 90.0, 500_000)
    assert answer(timeout="20s").limits.timeout == 20.0


def test_what_a_call_may_cost_is_known_before_it_leaves() -> None:
    assert answer().expected == EXPECTED_ANSWER == Cost(20_000, 15_000)
    assert client().search(APPLE, "Apple").expected == EXPECTED_SEARCH == Cost(5_000)
    assert PerplexityClient.Options().usd_per_call == 0.02


def test_a_budget_written_in_part_keeps_its_limit_of_a_dollar_a_day() -> None:
    assert issubclass(PerplexityClient.Options, KeyedOptions)
    budget = PerplexityClient.Options.model_validate({"budget": {"calls_per_day": 5}}).budget
    assert (budget.usd_per_day, budget.calls_per_day, budget.reserve) == (1.0, 5, 0.2)
    assert PerplexityClient.Options.model_validate({"budget": {"usd_per_day": None}}).budget.usd_per_day is None


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        ("agent-web-search.json", Cost(1_190, 3_043)),
        ("chat-usage-cost-sanitized.json", Cost(5_010, 7)),
        ("chat-perplexity-citations.json", None),
        ("chat-perplexity-text.json", None),
    ],
)
def test_a_recorded_answer_says_what_it_cost_to_the_millionth(name: str, cost: Cost | None) -> None:
    assert check(recording(name)) == cost


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": {"total_cost": 0.0000001}, "total_tokens": 5}, Cost(1, 5)),
        ({"cost": {"total_cost": 0}}, Cost(0, 15_000)),
        ({"cost": 0.0012, "total_tokens": 5}, Cost(1_200, 5)),
        ({"cost": {"total_cost": 0.02, "currency": "USD"}, "total_tokens": -5}, Cost(20_000, 15_000)),
        ({"cost": {"total_cost": 0.02}, "total_tokens": True}, Cost(20_000, 15_000)),
        ({"cost": {"total_cost": 0.02, "currency": "EUR"}}, None),
        ({"cost": {"total_cost": -0.02}}, None),
        ({"cost": {"total_cost": 1_000}}, None),
        ({"cost": {"total_cost": True}}, None),
        ({"cost": {"total_cost": "0.02"}}, None),
        ({"cost": {}}, None),
        ({"cost": None, "total_tokens": 5}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_cost_is_rounded_up_and_believed_only_where_it_can_be(usage: object, cost: Cost | None) -> None:
    """Synthetic."""
    assert check({"object": "response", "status": "completed", "output": [], "usage": usage}) == cost


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_paid_answer_is_kept_even_if_it_breaks_off(status: str) -> None:
    """Synthetic."""
    assert check({"status": status, "output": [], "usage": {"cost": {"total_cost": 0.01}}}) == Cost(10_000, 15_000)


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        ({"status": "failed", "error": {"type": "internal_error"}}, TransientClientError, Reason.PROVIDER_DOWN),
        ({"status": "failed", "error": None}, TransientClientError, Reason.PROVIDER_DOWN),
        ({"status": "cancelled"}, TransientClientError, Reason.PROVIDER_DOWN),
        ({"status": "queued"}, TransientClientError, Reason.PROVIDER_DOWN),
        ({"status": "in_progress"}, TransientClientError, Reason.PROVIDER_DOWN),
        ({"status": "failed", "error": {"code": "invalid_model"}}, PermanentClientError, Reason.BAD_REQUEST),
        ({"status": "failed", "error": {"type": "invalid_request"}}, PermanentClientError, Reason.BAD_REQUEST),
        ({"error": {"code": 400}}, PermanentClientError, Reason.BAD_REQUEST),
        ({"error": {"code": 402}}, Refused, Reason.REFUSED),
        ({"error": {"code": "429"}}, RateLimited, Reason.RATE_LIMITED),
        ({"error": {"code": 502}}, TransientClientError, Reason.PROVIDER_DOWN),
        ({"error": "overloaded"}, TransientClientError, Reason.PROVIDER_DOWN),
    ],
)
def test_a_200_is_not_always_an_answer_and_its_cost_counts_all_the_same(
    said: dict[str, Any], kind: type[ClientError], reason: Reason
) -> None:
    """Synthetic."""
    error = failure(said | {"usage": {"cost": {"total_cost": 0.003}, "total_tokens": 9}})
    assert (type(error), error.reason, error.status, error.cost) == (kind, reason, 200, Cost(3_000, 9))
    assert failure(said).cost is None


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b"[]", b'"ok"', b"null", b"\xff", b"1e999"])
def test_anything_but_an_object_is_tried_again_and_its_reservation_stands(body: bytes) -> None:
    """Synthetic."""
    error = failure(body)
    assert isinstance(error, TransientClientError)
    assert (error.reason, error.status, error.cost) == (Reason.PROVIDER_DOWN, 200, None)


@pytest.mark.parametrize("body", [b'{"output":', b' {"a":1,"a":2}', b'{"a":NaN}', b'{"a":"\\ud83d"}', b'{"a":1e999}'])
def test_a_paid_answer_that_may_be_a_parser_s_fault_is_kept_and_its_reservation_stands(body: bytes) -> None:
    """Synthetic."""
    assert check(body) is None


def test_nesting_to_the_depth_json_allows_breaks_nothing() -> None:
    """Synthetic: deeper than Python recurses."""
    deep = "[" * 1_000 + "]" * 1_000
    said = f'{{"error":{{"code":{deep},"type":{deep},"message":{deep}}},"detail":[{{"loc":[{deep}],"msg":"no"}}]}}'
    assert failure(said.encode(), 400).reason is Reason.BAD_REQUEST
    assert check(said.encode()) is None


@pytest.mark.parametrize("status", [401, 402, 403])
@pytest.mark.parametrize("body", [b"<html>401</html>", b'{"error":{"message":"pplx-1234 has no credit","code":401}}'])
def test_a_refusal_names_both_possible_reasons_and_never_the_key(status: int, body: bytes) -> None:
    """Synthetic."""
    error = failure(body, status)
    assert isinstance(error, Refused)
    assert "the key is wrong, or its account is out of credit" in str(error)
    assert "pplx" not in str(error)


@pytest.mark.parametrize(
    ("reset", "wait"),
    [
        ("12", 12.0),
        ("0.5", 0.5),
        (str(NOW // SECOND + 90), 90.0),
        ("0", None),
        (str(NOW // SECOND - 90), None),
        (str(NOW // 1_000), None),
        ("999999", None),
        ("-3", None),
        ("soon", None),
        ("", None),
        ("9" * 5_000, None),
        ("nan", None),
        ("٣", None),
    ],
)
def test_the_end_of_a_rate_limit_is_believed_within_bounds(reset: str, wait: float | None) -> None:
    error = failure({}, 429, x_ratelimit_reset=reset)
    assert isinstance(error, RateLimited)
    assert error.retry_after == wait


def test_retry_after_comes_before_x_ratelimit_reset() -> None:
    error = failure({}, 429, retry_after="7", x_ratelimit_reset="12")
    assert isinstance(error, RateLimited)
    assert error.retry_after == 7.0
    assert isinstance(bare := failure({}, 429), RateLimited)
    assert bare.retry_after is None


@pytest.mark.parametrize("status", [404, 405, 410])
def test_an_endpoint_that_is_gone_says_what_to_write_instead(status: int) -> None:
    chat, agent = failure({}, status, api="chat"), failure({}, status)
    assert type(chat) is type(agent) is EndpointGone
    assert "write api: agent under providers.perplexity" in str(chat)
    assert "see base_url and api under providers.perplexity" in str(agent)
    search = failure({}, status, resource=client().search(APPLE, "Apple"))
    assert (type(search), search.reason) == (NotFound, Reason.NO_DATA)


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        ({"error": {"message": 'unknown field "X"', "type": "invalid_request"}}, ': unknown field "X"'),
        ({"error": "no such\nmodel perplexity/sonar\x1b[2J"}, ": no such model perplexity/sonar\\x1b[2J"),
        ({"detail": [{"loc": ["body", "messages", 0], "msg": "too long"}, 5]}, ": body.messages.0 too long"),
        ({"detail": "no"}, ": no"),
        ({"message": "no"}, ": no"),
        ({"error": {"message": 7}, "detail": {}}, ""),
        (b"<html>no</html>", ""),
        ({"error": {"message": "x" * 500}}, ": " + "x" * 200 + "…"),
        ({"error": {"message": "bad: What happened at Apple this week?"}}, ": bad: …"),
        ({"error": {"message": "key pplx-abcdef, Bearer abcdef"}}, ": key [redacted] [redacted]"),
        ({"error": {"message": "key canary-of-a-gateway is odd"}}, ": key [redacted] is odd"),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_bad_request_quotes_the_upstream_but_neither_us_nor_a_key(status: int, body: object, quoted: str) -> None:
    """The first body is documented, the others are synthetic."""
    register_secret("canary-of-a-gateway")
    error = failure(body, status)
    assert type(error) is PermanentClientError
    assert error.reason is Reason.BAD_REQUEST
    assert str(error) == f"https://api.perplexity.ai/v1/agent answered {status}{quoted}"


def test_text_of_a_chat_request_is_not_quoted_either() -> None:
    """Synthetic."""
    assert "Answer in JSON" not in str(failure({"error": {"message": "Answer in JSON alone."}}, 400, api="chat"))


_NAMES = ["status", "error", "code", "type", "message", "detail", "loc", "msg", "usage", "cost", "total_cost", "output"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(_NAMES) | st.text(), inner),
)


def resources() -> Iterator[Resource]:
    yield answer()
    yield answer(api="chat")
    yield client().search(APPLE, "Apple")


@given(
    st.binary() | st.dictionaries(st.sampled_from(_NAMES), json_values).map(lambda said: json.dumps(said).encode()),
    st.just(200) | st.integers(100, 599),
    st.dictionaries(st.sampled_from(["retry-after", "x-ratelimit-reset", "content-type"]), st.text()),
    st.sampled_from(list(resources())),
)
def test_whatever_comes_back_it_is_a_cost_or_a_client_error(
    body: bytes, status: int, headers: dict[str, str], resource: Resource
) -> None:
    message = ""
    try:
        cost = client().check(resource, Response(status, headers, body, resource.request.url))
    except ClientError as error:
        cost, message = error.cost, str(error)
    assert message == escape(message)
    assert cost is None or (0 <= cost.usd_micros <= 100_000_000 and cost.tokens >= 0)
