"""A provider that wants a key and takes money, and its upstream: doubles for the tests of the gates."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import SecretStr

from scheduler_service.calls import Cost, Request, Resource, Response
from scheduler_service.clients.base import check_status
from scheduler_service.clock import DAY
from scheduler_service.errors import EndpointGone, PermanentClientError, Refused, TransientClientError
from scheduler_service.models import Reason
from scheduler_service.settings.providers import KeyedOptions

if TYPE_CHECKING:
    from scheduler_service.calls import Limits
    from scheduler_service.clock import Instant
    from tests.virtual_time import VirtualClock

PRIMARY, SPARE, THIRD = "pplx-primary-1111", "pplx-spare-2222", "pplx-third-3333"
PAID_AT = "http://127.0.0.1:8999"
EXPECTED = Cost(usd_micros=20_000, tokens=500)


class PaidClient:
    """A provider that wants a key and takes money; its answers say what they cost, or not."""

    provider = "paid"

    class Options(KeyedOptions):
        base_url: str = PAID_AT
        api_keys: tuple[SecretStr, ...] = (SecretStr(PRIMARY),)

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def signed(self, request: Request, key: str) -> Request:
        return replace(request, headers=(*request.headers, ("Authorization", f"Bearer {key}")))

    def check(self, resource: Resource, response: Response) -> Cost | None:
        del resource
        said = response.headers.get("cost")
        cost = Cost(int(said), int(response.headers["tokens"])) if said is not None else None
        if response.status == 402:
            raise Refused("out of credit", Reason.REFUSED, status=402)
        if response.status == 410:
            raise EndpointGone("it was moved", Reason.ENDPOINT_GONE, status=410)
        check_status(response, self._clock.now())
        if "failed" in response.headers:
            again = response.headers["failed"] == "again"
            error = (TransientClientError if again else PermanentClientError)(
                "it failed", Reason.UNREADABLE, status=200
            )
            error.cost = cost
            raise error
        return cost


class Shown(NamedTuple):
    """A request as the paid upstream saw it."""

    key: str | None
    at: Instant
    request: Request


class PaidUpstream:
    """A transport that looks at the key: what it answers next to anyone, and what always to one key; else it is well.

    Keeps within ``seconds``.
    """

    def __init__(self, clock: VirtualClock, *then: Response | BaseException, seconds: float = 0.05) -> None:
        self.then = list(then)
        self.to_key: dict[str, Response] = {}
        self.seen: list[Shown] = []
        self.seconds = seconds
        self._clock = clock

    async def send(self, request: Request, limits: Limits) -> Response:
        del limits
        key = dict(request.headers).get("Authorization", "").removeprefix("Bearer ") or None
        self.seen.append(Shown(key, self._clock.now(), request))
        reply = self.then.pop(0) if self.then else self.to_key.get(key or "", answered())
        await asyncio.sleep(self.seconds)
        if isinstance(reply, BaseException):
            raise reply
        return reply

    async def close(self) -> None: ...

    @property
    def keys(self) -> list[str | None]:
        return [shown.key for shown in self.seen]


def paid(name: str = "thing", expected: Cost = EXPECTED, *, at: str = PAID_AT) -> Resource:
    """A resource of the paid provider."""
    return Resource("paid", f"paid:{name}", Request(f"{at}/{name}", "POST", body=b"{}"), DAY, expected=expected)


def answered(usd_micros: int | None = 1_200, tokens: int = 900, *, failed: str | None = None) -> Response:
    """A paid answer, with what it says that it cost; ``failed``: a 200 that is none, ``again`` or ``for good``."""
    headers = {"cost": str(usd_micros), "tokens": str(tokens)} if usd_micros is not None else {}
    return Response(200, headers | ({"failed": failed} if failed else {}), b"answer", f"{PAID_AT}/thing")


def keys(*secrets: str) -> dict[str, Any]:
    """Options of the paid provider."""
    return {"api_keys": tuple(map(SecretStr, secrets))}
