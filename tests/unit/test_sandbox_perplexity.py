"""The sandbox as Perplexity: its formats, its strictness, and what its answers are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_service.calls import Request
from scheduler_service.clock import DAY, HOUR
from scheduler_service.sandbox.bundle import bundled
from scheduler_service.sandbox.feeds import headlines
from scheduler_service.sandbox.memory import BASE
from scheduler_service.sandbox.reply import Reply
from scheduler_service.sandbox.reported import MISSTATED_REVENUE, reported
from scheduler_service.sandbox.upstream import SandboxUpstream
from tests.fakes import FakeClock

FIXTURES = (Path(__file__).resolve().parents[2] / "../shared/fixtures/perplexity").resolve()
FIGURES = {
    "type": "object",
    "properties": {
        "ticker": {"type": ["string", "null"]},
        "reports": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "period_end": {"type": "string"},
                    "kind": {"type": "string", "enum": ["quarter", "year"]},
                    "revenue": {"type": ["number", "null"]},
                    "net_income": {"type": ["number", "null"]},
                    "source": {"type": "integer"},
                },
            },
        },
    },
}
AGENT: dict[str, Any] = {
    "model": "perplexity/sonar",
    "instructions": "Answer with JSON.",
    "input": "What did Apple Inc. (ticker AAPL) report?",
    "max_output_tokens": 4096,
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": FIGURES, "strict": True}},
    "tools": [{"type": "web_search", "filters": {"search_recency_filter": "month"}}],
    "tool_choice": {"type": "web_search"},
    "store": False,
}
CHAT: dict[str, Any] = {
    "model": "sonar",
    "messages": [{"role": "system", "content": "Answer with JSON."}, {"role": "user", "content": "AAPL"}],
    "response_format": AGENT["response_format"],
    "web_search_options": {"search_context_size": "low"},
}
SEARCH = {"query": "news about Apple Inc. (ticker AAPL)", "max_results": 20}
KEY = ("Authorization", "Bearer k")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def upstream(clock: FakeClock) -> SandboxUpstream:
    return SandboxUpstream(clock)


def post(upstream: SandboxUpstream, path: str, body: Any, *headers: tuple[str, str]) -> Reply:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return upstream.answer(Request(BASE + path, "POST", headers or (KEY,), sent))


def said(upstream: SandboxUpstream, path: str, body: Any) -> Any:
    reply = post(upstream, path, body)
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "application/json"
    return json.loads(reply.body)


def text(answer: Any) -> str:
    if "choices" in answer:
        return str(answer["choices"][0]["message"]["content"])
    return str(answer["output"][-1]["content"][0]["text"])


def results(answer: Any) -> list[dict[str, Any]]:
    return [one for item in answer["output"] if item["type"] == "search_results" for one in item["results"]]


# formats


@pytest.mark.parametrize("path", ["/v1/agent", "/v1/responses"])
def test_an_agent_s_answer_has_its_results_its_text_and_its_cost(upstream: SandboxUpstream, path: str) -> None:
    answer = said(upstream, path, AGENT)
    assert (answer["object"], answer["status"], answer["error"]) == ("response", "completed", None)
    assert [item["type"] for item in answer["output"]] == ["search_results", "message"]
    found = results(answer)
    assert [one["id"] for one in found] == list(range(1, len(found) + 1))
    undated = [one for one in found if "date" not in one]
    assert 0 < len(undated) < len(found)
    assert all(one.get("date", "x") is not None and one["source"] == "web" for one in found)
    assert all(one["url"].partition("/")[0] == "https:" and ".invalid/" in one["url"] for one in found)
    (part,) = answer["output"][1]["content"]
    assert (part["type"], part["annotations"]) == ("output_text", [])
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert 0.006 <= usage["cost"]["total_cost"] <= 0.012
    assert usage["tool_calls_details"]["search_web"]["invocation"] == 1


def test_chat_completions_search_always_and_cite_by_address(upstream: SandboxUpstream) -> None:
    answer = said(upstream, "/chat/completions", CHAT | {"ignored": 1})
    assert answer["object"] == "chat.completion"
    assert answer["citations"] == [one["url"] for one in answer["search_results"]]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert 0.005 <= answer["usage"]["cost"]["total_cost"] <= 0.012
    assert json.loads(text(answer)) == json.loads(text(said(upstream, "/v1/agent", AGENT | {"input": "AAPL", "tools": [
        {"type": "web_search"}]})))  # fmt: skip


def test_a_search_has_pages_and_no_model(upstream: SandboxUpstream) -> None:
    answer = said(upstream, "/search", SEARCH)
    assert answer.keys() == {"id", "results", "server_time"}
    assert {"url", "title", "snippet", "last_updated"} <= answer["results"][0].keys()
    assert len(said(upstream, "/search", SEARCH | {"max_results": 3})["results"]) == 3
    assert said(upstream, "/search", {"query": ["nothing", "AAPL"]})["results"]


def test_models_are_listed_for_everyone(upstream: SandboxUpstream) -> None:
    reply = upstream.answer(Request(f"{BASE}/v1/models"))
    assert (reply.status, json.loads(reply.body)["data"][0]["id"]) == (200, "perplexity/sonar")
    assert upstream.answer(Request(f"{BASE}/v1/agent")).status == 405
    assert post(upstream, "/v1/other", AGENT).status == 404


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the recordings are not beside this checkout")
def test_it_has_the_shape_of_the_recorded_answers(upstream: SandboxUpstream) -> None:
    recorded = json.loads((FIXTURES / "agent-web-search.json").read_text())
    answer = said(upstream, "/v1/agent", AGENT)
    assert answer.keys() <= recorded.keys()
    for ours, real in zip(answer["output"], recorded["output"], strict=True):
        assert ours.keys() == real.keys()
    assert results(answer)[0].keys() <= results(recorded)[0].keys()
    assert answer["usage"]["cost"].keys() >= {"currency", "total_cost"} <= recorded["usage"]["cost"].keys()
    chat, chat_usage = (
        said(upstream, "/chat/completions", CHAT),
        json.loads((FIXTURES / "chat-usage-cost-sanitized.json").read_text()),
    )
    assert chat["usage"].keys() == chat_usage["usage"].keys()
    assert chat["usage"]["cost"].keys() == chat_usage["usage"]["cost"].keys()


# who may ask, and what


@pytest.mark.parametrize("header", [(("Accept", "*/*"),), (("Authorization", "Bearer "),), (("Authorization", "k"),)])
@pytest.mark.parametrize("path", ["/v1/agent", "/chat/completions", "/search"])
def test_who_has_no_key_is_refused(upstream: SandboxUpstream, path: str, header: tuple[tuple[str, str], ...]) -> None:
    reply = post(upstream, path, AGENT, *header)
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (401, 401)


def test_an_unknown_field_is_refused_in_these_words(upstream: SandboxUpstream) -> None:
    reply = post(upstream, "/v1/agent", AGENT | {"search_recency_filter": "day"})
    assert reply.status == 400
    assert json.loads(reply.body) == {
        "error": {
            "message": 'invalid request body: json: unknown field "search_recency_filter"',
            "type": "invalid_request",
            "code": 400,
            "param": "search_recency_filter",
        }
    }


def schema(wanted: dict[str, Any], name: str = "x") -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": wanted}}}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"input": None}, "invalid_request"),
        ({"model": None}, "invalid_request"),
        ({"model": "perplexity/sonar-pro"}, "invalid_model"),
        ({"model": "sonar"}, "invalid_model"),
        ({"max_output_tokens": 8}, "invalid_request"),
        ({"max_output_tokens": "4096"}, "invalid_request"),
        ({"tools": [{"type": "web_search", "search_recency_filter": "day"}]}, "invalid_request"),
        ({"tools": [{"type": "web_search", "filters": {"search_recency_filter": "fortnight"}}]}, "invalid_request"),
        ({"tools": [{"type": "web_search", "filters": {"search_after_date_filter": "2026-11-01"}}]},
         "invalid_date_format"),
        ({"tools": [{"type": "web_search", "filters": {"search_domain_filter": ["https://x.com"]}}]},
         "invalid_search_domain_filter"),
        ({"tools": [{"type": "web_search", "filters": {"search_recency_filter": "day",
                     "search_after_date_filter": "11/01/2026"}}]}, "invalid_request"),
        ({"tools": [{"type": "browse"}]}, "invalid_request"),
        ({"text": {"format": {}}}, "invalid_request"),
        (schema({"type": "object"}), "invalid_request"),
        (schema({"type": "object", "properties": 5}), "invalid_request"),
        (schema({"type": "array", "items": {"type": "string"}, "maxItems": "many"}), "invalid_request"),
        (schema(FIGURES, "no spaces, please"), "invalid_request"),
        ({"response_format": {"type": "regex", "regex": "a"}}, "invalid_request"),
    ],
)  # fmt: skip
def test_what_is_not_documented_is_refused(upstream: SandboxUpstream, change: dict[str, Any], kind: str) -> None:
    body = {name: value for name, value in (AGENT | change).items() if value is not None}
    reply = post(upstream, "/v1/agent", body)
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"], error["type"]) == (400, 400, kind)
    assert error["message"]


def test_chat_completions_are_refused_in_another_framework_s_words(upstream: SandboxUpstream) -> None:
    reply = post(upstream, "/chat/completions", CHAT | {"model": "gpt"})
    (detail,) = json.loads(reply.body)["detail"]
    assert (reply.status, detail["loc"]) == (422, ["body", "model"])


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from([*AGENT, *CHAT, "type", "properties", "items", "$ref", "enum"]), inner, max_size=4
        ),
    ),
    max_leaves=9,
)


@settings(deadline=None)
@given(st.sampled_from(["/v1/agent", "/chat/completions", "/search"]), st.one_of(st.binary(max_size=50), JSON))
def test_whatever_is_sent_it_answers(path: str, body: Any) -> None:
    assert post(SandboxUpstream(FakeClock()), path, body).status in (200, 400, 422)


@settings(deadline=None)
@given(st.sampled_from([("/v1/agent", AGENT), ("/chat/completions", CHAT)]), JSON)
def test_whatever_schema_is_sent_it_answers(asked: tuple[str, dict[str, Any]], wanted: Any) -> None:
    reply = post(SandboxUpstream(FakeClock()), asked[0], asked[1] | schema(wanted))
    assert reply.status in (200, 400, 422)


# what it says


def test_without_the_tool_nothing_is_searched(upstream: SandboxUpstream) -> None:
    for change in ({"tools": [], "tool_choice": "auto"}, {"tool_choice": "none"}):
        answer = said(upstream, "/v1/agent", AGENT | change)
        assert [item["type"] for item in answer["output"]] == ["message"]
        assert "tool_calls_details" not in answer["usage"]
    assert results(said(upstream, "/v1/agent", AGENT | {"tool_choice": "auto"}))


def test_its_figures_are_those_of_the_filings_and_cite_a_result(upstream: SandboxUpstream) -> None:
    answer = said(upstream, "/v1/agent", AGENT)
    told = json.loads(text(answer))
    assert told["ticker"] == "AAPL"
    newest = told["reports"][0]
    assert (newest["period_end"], newest["kind"]) == ("2025-12-27", "quarter")
    assert (newest["revenue"], newest["net_income"]) == (143_756_000_000, 42_097_000_000)
    ids = {one["id"] for one in results(answer)}
    assert {one["source"] for one in told["reports"]} <= ids


def test_one_company_s_revenue_is_told_too_high_and_no_other_s(upstream: SandboxUpstream) -> None:
    assert MISSTATED_REVENUE.keys() == {"INITX"}
    told = json.loads(text(said(upstream, "/v1/agent", AGENT | {"input": "INITX"})))["reports"]
    quarter = next(one for one in told if one["period_end"] == "2026-07-31")
    assert quarter["revenue"] == round(382_665_000 * 1.04)
    assert quarter["net_income"] == -98_138_000


def test_a_report_is_known_on_the_day_it_is_filed(upstream: SandboxUpstream, clock: FakeClock) -> None:
    def newest() -> str:
        return str(
            json.loads(text(said(upstream, "/v1/agent", AGENT | {"input": "ACMEX"})))["reports"][0]["period_end"]
        )

    assert newest() == "2026-09-30"
    clock.advance(-21 * DAY)
    assert newest() == "2026-06-30"


@pytest.mark.parametrize("question", ["Which results did NOSUCH report?", "Which results did AAPLX report?", ""])
def test_of_a_company_that_is_not_bundled_nothing_is_known(upstream: SandboxUpstream, question: str) -> None:
    answer = said(upstream, "/v1/agent", AGENT | {"input": question})
    assert json.loads(text(answer)) == {"ticker": None, "reports": []}
    assert len(results(answer)) == 1
    assert said(upstream, "/search", {"query": question})["results"] == []


@pytest.mark.parametrize(
    ("question", "symbol"),
    [
        ("Compare nothing with ACMEX, not with AAPL", "ACMEX"),
        ("how is apple inc. doing?", "AAPL"),
        ([{"role": "user", "content": "SNOW"}, {"role": "user", "content": "(ticker NVDA)"}], "NVDA"),
    ],
)
def test_the_company_is_the_one_the_question_names_first(upstream: SandboxUpstream, question: Any, symbol: str) -> None:
    assert json.loads(text(said(upstream, "/v1/agent", AGENT | {"input": question})))["ticker"] == symbol


def test_without_a_schema_it_writes_prose_with_marks(upstream: SandboxUpstream) -> None:
    answer = said(upstream, "/v1/agent", {k: v for k, v in AGENT.items() if k != "response_format"})
    assert "generator, not a model" in text(answer)
    assert "[" in text(answer)


def test_the_same_hour_has_the_same_answer_and_the_next_day_other_pages(
    upstream: SandboxUpstream, clock: FakeClock
) -> None:
    first, again = said(upstream, "/v1/agent", AGENT), said(SandboxUpstream(FakeClock()), "/v1/agent", AGENT)
    assert first == again
    clock.advance(HOUR // 4)
    assert said(upstream, "/v1/agent", AGENT)["output"][0] == first["output"][0]
    clock.advance(DAY)
    later = said(upstream, "/v1/agent", AGENT)
    assert {one["url"] for one in results(later)} != {one["url"] for one in results(first)}
    assert text(later) == text(first)


def test_recency_leaves_out_what_is_dated_before_it(upstream: SandboxUpstream) -> None:
    dated = [one["date"] for one in said(upstream, "/search", SEARCH)["results"] if "date" in one]
    recent = said(upstream, "/search", SEARCH | {"search_recency_filter": "week"})["results"]
    assert min(dated) < "2026-11-16" <= min(one["date"] for one in recent if "date" in one)
    assert any("date" not in one for one in recent)


def test_the_search_finds_some_stories_that_the_feed_has_too(upstream: SandboxUpstream, clock: FakeClock) -> None:
    found = {one["url"] for one in said(upstream, "/search", SEARCH)["results"]}
    told = {one.link for one in headlines(bundled()[0].profile, clock.now(), 20)}
    assert found & told
    assert found - told


def test_before_the_first_report_nothing_is_reported() -> None:
    assert reported(bundled()[0], 0).periods == ()


@pytest.mark.parametrize("symbol", [company.profile.symbol for company in bundled()])
def test_what_any_company_reported_is_known_after_each_of_its_filings(symbol: str) -> None:
    company = next(company for company in bundled() if company.profile.symbol == symbol)
    told = [reported(company, filed).periods for filed in range(len(company.filings) + 1)]
    assert told[-1]
    assert [len(periods) for periods in told] == sorted(len(periods) for periods in told)
