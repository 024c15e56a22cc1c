"""What every client must do, whichever provider it speaks to: a new one arrives already tested."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from scheduler_service.calls import Resource, Response, Signer
from scheduler_service.clients.base import discover
from scheduler_service.clients.perplexity_client import Question
from scheduler_service.clock import DAY, MINUTE
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
from scheduler_service.sandbox.memory import BASE, MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream, urls
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = discover()
SCHEMA = b'{"additionalProperties":false,"properties":{"name":{"type":"string"}},"required":["name"],"type":"object"}'


def stock(symbol: str, cik: int, revision: str | None) -> dict[str, Any]:
    """What the resources of a client are made from, by the name of the parameter."""
    question = Question("what", "Answer in JSON.", f"Which company has the ticker {symbol}?", SCHEMA)
    page, query = f"CIK{cik:010d}-submissions-001.json", f"{symbol} stock"
    made_of = {"symbol": Symbol(symbol), "cik": cik, "revision": revision, "page": page}
    made_of["accession"] = f"{cik:010d}-25-000079"
    return {**made_of, "question": question, "query": query}


APPLE = stock("AAPL", 320193, "0000320193-25-000079")
NVIDIA = stock("NVDA", 1045810, None)
ALLOWED_HEADERS = {"accept", "accept-encoding", "accept-language", "content-type", "user-agent"}
"""Credentials are added at the last moment, validators by the gates: neither is a client's to write."""
SHORTEST_AGE = MINUTE // 2
"""What is asked for in the same run is asked for once, and what comes round each minute each time."""
LARGEST_BODY = 100_000_000
LONGEST_TIMEOUT = 300.0

TEXT, HTML = "text/plain", "text/html; charset=utf-8"
PAGE = b"<!DOCTYPE html><html><head><title>Sorry</title></head><body>Something went wrong.</body></html>"
BODIES = [(b"", TEXT), (b"no", TEXT), (PAGE, HTML), (b'{"error": "no"}', "application/json"), (b"\xff\xfe\x00", "")]
MEANINGS = {
    301: (PermanentClientError, Reason.REDIRECTED),
    304: (PermanentClientError, Reason.UNREADABLE),
    400: (PermanentClientError, Reason.BAD_REQUEST),
    401: (Refused, Reason.REFUSED),
    403: (Refused, Reason.REFUSED),
    404: (NotFound, None),
    408: (TransientClientError, Reason.PROVIDER_DOWN),
    410: (NotFound, None),
    422: (PermanentClientError, Reason.BAD_REQUEST),
    429: (RateLimited, Reason.RATE_LIMITED),
    500: (TransientClientError, Reason.PROVIDER_DOWN),
    502: (TransientClientError, Reason.PROVIDER_DOWN),
    503: (TransientClientError, Reason.PROVIDER_DOWN),
    504: (TransientClientError, Reason.PROVIDER_DOWN),
    520: (TransientClientError, Reason.PROVIDER_DOWN),
}
"""What each status means; a missing thing's reason depends on the thing."""

pytestmark = pytest.mark.parametrize("provider", CLIENTS)


def made(provider: str) -> Any:
    """The client as the sandbox's configuration makes it."""
    kind = CLIENTS[provider]
    return kind(kind.Options(**urls(BASE).get(provider, {})), FakeClock())


def resources(client: Any, of: dict[str, Any]) -> list[Resource]:
    """What every public method that makes resources makes of a stock; what may be left out is left out."""
    found: list[Resource] = []
    for makes in _makers(client):
        needed = (p.name for p in inspect.signature(makes).parameters.values() if p.default is p.empty)
        made_of = makes(**{name: of[name] for name in needed})
        found += [made_of] if isinstance(made_of, Resource) else made_of
    assert found, "a client without resources"
    return found


def _makers(client: Any) -> Iterator[Any]:
    for name, method in inspect.getmembers(client, inspect.ismethod):
        if not name.startswith("_") and "Resource" in str(inspect.signature(method).return_annotation):
            yield method


def test_it_names_its_provider_and_its_options(provider: str) -> None:
    client = made(provider)
    assert client.provider == provider
    assert CLIENTS[provider].Options().model_config["frozen"]


def test_its_resources_have_names_and_limits(provider: str) -> None:
    for resource in resources(made(provider), APPLE):
        assert resource.provider == provider
        assert resource.key.startswith(f"{provider}:")
        assert resource.key.isprintable()
        assert len(resource.key) <= 200
        assert SHORTEST_AGE <= resource.max_age <= 90 * DAY
        assert 0 < resource.limits.max_bytes <= LARGEST_BODY
        assert 0 < resource.limits.timeout <= LONGEST_TIMEOUT
        assert 0 <= resource.limits.redirects <= 3


def test_the_same_thing_has_the_same_name_and_another_stock_another(provider: str) -> None:
    apple, again, nvidia = (resources(made(provider), of) for of in (APPLE, APPLE, NVIDIA))
    assert apple == again
    assert len({resource.key for resource in apple}) == len(apple)
    for one, other in zip(apple, nvidia, strict=True):
        assert (one.key == other.key) == (one.request == other.request)


def test_its_requests_hold_no_credentials_and_nothing_that_splits_a_header(provider: str) -> None:
    for resource in resources(made(provider), APPLE):
        names = [name.lower() for name, _ in resource.request.headers]
        assert ALLOWED_HEADERS.issuperset(names)
        assert len(set(names)) == len(names)
        assert all(value.isprintable() and value for _, value in resource.request.headers)
        parts = urlsplit(resource.request.url)
        assert parts.scheme in ("http", "https")
        assert not parts.username
        assert not parts.fragment


def test_a_name_with_strange_characters_stays_within_its_place_in_the_address(provider: str) -> None:
    evil = "A/../B?x=1#y&\r\nHost: z"
    before = resources(made(provider), APPLE)
    for plain, strange in zip(before, resources(made(provider), APPLE | {"symbol": Symbol(evil)}), strict=True):
        one, other = urlsplit(plain.request.url), urlsplit(strange.request.url)
        assert (one.scheme, one.netloc, one.fragment) == (other.scheme, other.netloc, other.fragment)
        named = [(key, evil if value == "AAPL" else value) for key, value in parse_qsl(one.query)]
        assert parse_qsl(other.query, strict_parsing=bool(named)) == named
        assert one.path.count("/") == other.path.count("/")
        assert strange.request.url.isprintable()
        assert strange.key.isprintable()


@pytest.mark.parametrize("body", BODIES, ids=["empty", "text", "page", "json", "bytes"])
@pytest.mark.parametrize("status", MEANINGS)
def test_every_status_has_one_meaning_whatever_the_body(provider: str, status: int, body: tuple[bytes, str]) -> None:
    client = made(provider)
    for resource in resources(client, APPLE):
        url = resource.request.url.replace("://", "://user:canary@", 1) + "?token=canary"
        with pytest.raises(ClientError) as caught:
            client.check(resource, Response(status, {"content-type": body[1]}, body[0], url))
        error, reason = MEANINGS[status]
        assert type(caught.value) in ({error, EndpointGone} if error is NotFound else {error})
        assert caught.value.reason is (reason or caught.value.reason)
        assert caught.value.reason in Reason
        assert caught.value.status == status
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize("wait", ["0", "7", "86400", "999999999", "-1", "soon", "Mon, 23 Nov 2026 14:40:00 GMT"])
def test_a_wish_for_quiet_is_heard_and_bounded(provider: str, wait: str) -> None:
    client = made(provider)
    for resource in resources(client, APPLE):
        with pytest.raises(RateLimited) as caught:
            client.check(resource, Response(429, {"retry-after": wait}, b"", resource.request.url))
        asked = caught.value.retry_after
        assert asked is not None
        assert 0 <= asked <= DAY / 1e6
        assert asked >= (int(wait) if wait in ("0", "7", "86400") else 600)


async def test_a_good_answer_passes(provider: str) -> None:
    clock = FakeClock()
    client, transport = made(provider), MemoryTransport(SandboxUpstream(clock), clock)
    for resource in resources(client, APPLE):
        request = client.signed(resource.request, "a key") if isinstance(client, Signer) else resource.request
        response = await transport.send(request, resource.limits)
        assert response.status == 200
        client.check(resource, response)
        client.check(resource, replace(response, headers={}))
