"""What can be asked over HTTP: health by everyone at the door, control only through the socket."""

from __future__ import annotations

import asyncio
import hmac
from contextlib import aclosing
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from loguru import logger
from pydantic import ValidationError

from scheduler_service.errors import ConfigurationError, SchedulerServiceError
from scheduler_service.models import Record
from scheduler_service.settings.providers import is_loopback
from scheduler_service.web.views import (
    BackupRequest,
    CancelRequest,
    FetchRequest,
    PauseRequest,
    Refusal,
    ReleaseRequest,
    ResumeRequest,
    RetryRequest,
    RunNowRequest,
    Status,
    TryRequest,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from scheduler_service.web.facade import Facade

NDJSON = "application/x-ndjson"
MOST_BODY = 1_000_000
"""Bytes: a fetch may name every symbol of a long watchlist."""
SECONDS_FOR_A_BODY = 10.0
ALWAYS_OPEN = "/healthz"

_KINDS: dict[type[Record], str] = {
    BackupRequest: "backup",
    CancelRequest: "cancel",
    FetchRequest: "fetch",
    PauseRequest: "pause",
    ReleaseRequest: "release",
    ResumeRequest: "resume",
    RetryRequest: "retry",
    RunNowRequest: "run-now",
    TryRequest: "try",
}
R = TypeVar("R", bound=Record)

_HEADERS = {"Server": "scheduler-service", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def public_app(facade: Facade, host: str, token: str | None) -> web.Application:
    """The application of the TCP port."""
    app = web.Application(middlewares=[_errors, _known_hosts(host), _bearer(token)], client_max_size=1_000)
    app.add_routes(_health(facade))
    return app


def control_app(facade: Facade) -> web.Application:
    """The application of the control socket: who may connect to it may do everything."""
    app = web.Application(middlewares=[_errors], client_max_size=MOST_BODY)
    app.add_routes([*_health(facade), *_control(facade)])
    return app


def _health(facade: Facade) -> list[web.RouteDef]:
    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"}, headers=_HEADERS)

    async def readyz(_: web.Request) -> web.Response:
        readiness = facade.readiness()
        return _said(readiness, 200 if readiness.ready else 503)

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


def _control(facade: Facade) -> list[web.RouteDef]:
    async def status(_: web.Request) -> web.Response:
        said: Status = await facade.status()
        return _said(said)

    async def reload(_: web.Request) -> web.Response:
        _needs_ready(facade)
        return _said(await facade.reload())

    async def last_reload(_: web.Request) -> web.Response:
        last = facade.last_reload()
        if last is None:
            raise web.HTTPNotFound(reason="the configuration was not read anew so far")
        return _said(last)

    async def prune(_: web.Request) -> web.Response:
        _needs_ready(facade)
        return _said(await operations.prune())

    operations = facade.operations
    answered = partial(_answered, facade)
    followed = partial(_followed, facade)
    return [
        web.get("/control/status", status),
        web.get("/control/reload", last_reload),
        web.post("/control/reload", reload),
        web.post("/control/prune", prune),
        web.post("/control/pause", answered(PauseRequest, operations.pause)),
        web.post("/control/resume", answered(ResumeRequest, operations.resume)),
        web.post("/control/release", answered(ReleaseRequest, operations.release)),
        web.post("/control/try", answered(TryRequest, operations.try_provider)),
        web.post("/control/cancel", answered(CancelRequest, operations.cancel)),
        web.post("/control/fetch", followed(FetchRequest, operations.fetch)),
        web.post("/control/run-now", followed(RunNowRequest, operations.run_now)),
        web.post("/control/retry", followed(RetryRequest, operations.retry)),
        web.post("/control/backup", followed(BackupRequest, operations.backup)),
    ]


def _answered(facade: Facade, kind: type[R], do: Callable[[R], Awaitable[Record]]) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        wanted = await _wanted(request, kind)
        _needs_ready(facade)
        return _said(await do(wanted))

    return handler


def _followed(facade: Facade, kind: type[R], do: Callable[[R], AsyncGenerator[Record, None]]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        wanted = await _wanted(request, kind)
        _needs_ready(facade)
        return await _follow(request, do(wanted))

    return handler


async def _follow(request: web.Request, following: AsyncGenerator[Record, None]) -> web.StreamResponse:
    """A line for each report, and one that says why where they end before their time."""
    async with aclosing(following) as reports:
        first = await anext(reports, None)  # what is wrong with the request shows here
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": NDJSON})
        await response.prepare(request)
        try:
            if first is not None:
                await response.write(_line(first))
            async for report in reports:
                await response.write(_line(report))
        except SchedulerServiceError as error:
            await response.write(_line(Refusal(error=str(error))))
    await response.write_eof()
    return response


def _needs_ready(facade: Facade) -> None:
    readiness = facade.readiness()
    if not readiness.ready:
        raise SchedulerServiceError(f"the service is not ready ({readiness.problem or readiness.state})")


async def _wanted(request: web.Request, kind: type[R]) -> R:
    try:
        async with asyncio.timeout(SECONDS_FOR_A_BODY):
            body = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, detail["loc"])) or "the body" for detail in error.errors())
        raise web.HTTPBadRequest(reason=f"this is not a {_KINDS[kind]} request: see {places}"[:200]) from None


def _line(record: Record) -> bytes:
    return record.model_dump_json().encode() + b"\n"


def _said(record: Record, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        text=record.model_dump_json(),
        status=status,
        content_type="application/json",
        headers={**_HEADERS, **(headers or {})},
    )


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as ``{"error": sentence}``."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        kept = {name: value for name, value in error.headers.items() if name in ("Allow", "WWW-Authenticate")}
        return _said(Refusal(error=error.reason), error.status, kept)
    except ConfigurationError as error:
        return _said(Refusal(error=str(error)), 400)
    except SchedulerServiceError as error:
        return _said(Refusal(error=str(error)), 503)
    except ConnectionError:  # the other side has gone
        raise
    except Exception:
        logger.bind(event="web.failed").exception("a request could not be answered: {}", request.path)
        return _said(Refusal(error="the service could not answer; its log says why"), 500)


def _known_hosts(host: str) -> Middleware:
    """Turns away a page of the web that has a name of its own pointed at this port (DNS rebinding)."""
    everywhere = _is_wildcard(host)

    @web.middleware
    async def known_hosts(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = _host_of(request)
        if not (everywhere or is_loopback(name) or name == host.lower()):
            raise web.HTTPForbidden(reason=f"this service answers to {host} and localhost only")
        return await handler(request)

    return known_hosts


def _host_of(request: web.Request) -> str:
    """The Host header without its port, in lower case; empty where there is none."""
    try:
        return (urlsplit(f"//{request.headers.get('Host', '')}").hostname or "").lower()
    except ValueError:
        return ""


def _is_wildcard(host: str) -> bool:
    """Whether it listens on every address; it has a token then, which no page of the web knows."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _bearer(token: str | None) -> Middleware:
    """With a token, everything but ``/healthz`` needs it."""

    @web.middleware
    async def bearer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token is not None and request.path != ALWAYS_OPEN:
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, f"Bearer {token}".encode()):
                raise web.HTTPUnauthorized(
                    reason="the token of http.token_file is needed: Authorization: Bearer ...",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        return await handler(request)

    return bearer
