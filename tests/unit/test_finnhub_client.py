"""Finnhub's requests, and what its answers mean beside their status."""

from __future__ import annotations

import json

import pytest

from scheduler_service.calls import Response
from scheduler_service.clients.finnhub_client import KEY_HEADER, FinnhubClient
from scheduler_service.errors import ClientError, NotFound, PermanentClientError, RateLimited, Refused
from scheduler_service.models import Reason, Symbol
from tests.fakes import FakeClock

CLIENT = FinnhubClient(FinnhubClient.Options(), FakeClock())
APPLE = CLIENT.quote(Symbol("AAPL", aliases={"perplexity": "X"}))


def check(status: int, said: object, content_type: str = "application/json") -> None:
    body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
    CLIENT.check(APPLE, Response(status, {"content-type": content_type}, body, APPLE.request.url))


def test_a_quote_is_asked_for_by_the_name_finnhub_knows() -> None:
    assert APPLE.request.url == "https://finnhub.io/api/v1/quote?symbol=AAPL"
    aliased = CLIENT.quote(Symbol("BRK-B", aliases={"finnhub": "BRK.B"}))
    assert aliased.request.url.endswith("?symbol=BRK.B")


def test_the_key_goes_into_a_header_and_never_into_the_address() -> None:
    signed = CLIENT.signed(APPLE.request, "canary")
    assert signed.headers[-1] == (KEY_HEADER, "canary")
    assert "canary" not in signed.url


@pytest.mark.parametrize(
    ("status", "said", "error", "reason"),
    [
        (401, {"error": "Invalid API key"}, Refused, Reason.REFUSED),
        (401, {"error": "You don't have access to this resource."}, NotFound, Reason.NO_DATA),
        (403, {"error": "You don't have access to this resource."}, NotFound, Reason.NO_DATA),
        (403, {"error": "no"}, Refused, Reason.REFUSED),
        (
            429,
            {"error": "API limit reached. Please try again later. Remaining Limit: 0"},
            RateLimited,
            Reason.RATE_LIMITED,
        ),
        (429, {"error": "Please sign up for a free account"}, Refused, Reason.REFUSED),
        (302, "<html>", PermanentClientError, Reason.REDIRECTED),
    ],
)
def test_its_errors_mean_what_they_say(status: int, said: object, error: type[ClientError], reason: Reason) -> None:
    with pytest.raises(error) as caught:
        check(status, said)
    assert type(caught.value) is error
    assert caught.value.reason is reason


def test_a_page_in_the_place_of_an_answer_is_none() -> None:
    check(200, {"c": 1})
    with pytest.raises(PermanentClientError):
        check(200, "<html>", "text/html; charset=utf-8")
