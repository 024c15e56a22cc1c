"""The one transport to the network: aiohttp, with every size and time bounded, and a guard on where it connects.

The guard: a URL may name an inside address (loopback, private, link-local, ...) only literally, and only one the user
wrote in the configuration. A name must resolve to public addresses: the guard stands in the resolver, whose answer is
what is connected to, so a second, different DNS answer changes nothing. A redirect may name nothing inside but the
origin it came from.

Names are looked up on the loop's default executor; no disk work may share it, or a dead resolver would hold that too.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from multidict import CIMultiDict
from yarl import URL

from scheduler_service.calls import FREE, LONGEST_HEADER, MOST_HEADERS, USER_AGENT, Request, Response
from scheduler_service.clients.base import shown
from scheduler_service.clients.inflating import ENCODINGS, Inflating
from scheduler_service.errors import ClientError, PermanentClientError, TransientClientError
from scheduler_service.models import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scheduler_service.calls import Limits

LONGEST_CONNECT = 10.0
"""Seconds for a name to be looked up and a connection to stand, of half of what the whole request may take at most:
what hangs before that was never sent, and costs nothing.
"""
MOST_CONNECTIONS = 64
MOST_CONNECTIONS_PER_HOST = 16

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEPT_ACROSS_REDIRECTS = frozenset(
    {"accept", "accept-encoding", "accept-language", "user-agent", "if-none-match", "if-modified-since"}
)
_NAT64 = IPv6Network("64:ff9b::/96")


class AiohttpTransport:
    """Sends one request at a time per call, over one session made when first needed.

    ``allowed_hosts`` are the hosts the user wrote in the configuration; only the inside ones among them matter.
    """

    def __init__(
        self, allowed_hosts: Iterable[str] = (), *, resolver: Callable[[], AbstractResolver] = ThreadedResolver
    ) -> None:
        self._allowed = frozenset(_plain_host(host) for host in allowed_hosts)
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request, limits: Limits) -> Response:
        """One request, and the redirects ``limits`` permits, within one deadline."""
        try:
            async with asyncio.timeout(limits.timeout):
                return await self._follow(request, limits)
        except aiohttp.ConnectionTimeoutError:
            message = f"{shown(request.url)}: no connection within {_longest_connect(limits):g} s"
            unsent = TransientClientError(message, Reason.TIMEOUT)
            unsent.cost = FREE
            raise unsent from None
        except TimeoutError:
            message = f"{shown(request.url)} did not answer within {limits.timeout:g} s"
            raise TransientClientError(message, Reason.TIMEOUT) from None
        except (aiohttp.ClientError, OSError, ValueError, zlib.error) as error:
            # "from None": the text of a library's error may hold the whole URL, and with it a secret.
            translated = _translated(error, shown(request.url))
            if isinstance(error, aiohttp.ClientConnectorError | ValueError):
                translated.cost = FREE  # it never left
            raise translated from None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _follow(self, request: Request, limits: Limits) -> Response:
        first = URL(request.url)
        if first.scheme not in ("http", "https") or not first.host:
            raise aiohttp.InvalidURL(request.url)
        if _is_inside(first.host) and _plain_host(first.host) not in self._allowed:
            refused = PermanentClientError(
                f"{shown(request.url)} is an address inside this network; only one that the configuration names "
                "literally is asked",
                Reason.BAD_REQUEST,
            )
            refused.cost = FREE
            raise refused
        visited = [request.url]
        while True:
            response = await self._exchange(request, limits)
            location = response.headers.get("location")
            if not limits.redirects or response.status not in _REDIRECTS or location is None:
                return response
            request = _redirected(request, location, first)
            if request.url in visited:
                raise _redirect_refused(visited[0], "runs in a circle")
            if len(visited) > limits.redirects:
                raise _redirect_refused(visited[0], f"goes on after {limits.redirects} hops")
            visited.append(request.url)

    async def _exchange(self, request: Request, limits: Limits) -> Response:
        async with self._opened().request(
            request.method,
            URL(request.url),
            headers=CIMultiDict(request.headers),
            data=request.body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=_longest_connect(limits)),
        ) as answer:
            body = await _read(answer, limits.max_bytes)
            return Response(answer.status, _plain_headers(answer), body, request.url)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=MOST_CONNECTIONS,
                limit_per_host=MOST_CONNECTIONS_PER_HOST,
                resolver=_GuardedResolver(self._resolver()),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip, deflate"},
                trust_env=False,
                auto_decompress=False,
                max_line_size=LONGEST_HEADER,
                max_field_size=LONGEST_HEADER,
                max_headers=MOST_HEADERS,
            )
            # aiohttp would send a GET again by itself when a kept connection turns out closed: a call nobody counted.
            self._session._retry_connection = False
        return self._session


def _longest_connect(limits: Limits) -> float:
    return min(LONGEST_CONNECT, limits.timeout / 2)


class _GuardedResolver(AbstractResolver):
    """Passes on only the addresses a name may have: loopback for ``localhost``, public ones for every other name."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        may_pass = _is_loopback if _is_inside(host) else is_public
        admitted = [result for result in found if may_pass(result["host"])]
        if found and not admitted:
            raise PermanentClientError(
                f"the name {host} resolves to an address inside this network; it is not asked", Reason.BAD_REQUEST
            )
        return admitted

    async def close(self) -> None:
        await self._resolver.close()


def _redirected(request: Request, location: str, first: URL) -> Request:
    """The request that follows a redirect: a plain GET or HEAD to an http(s) URL, without any credentials."""
    if request.method not in ("GET", "HEAD"):
        raise _redirect_refused(request.url, f"answers {request.method}")
    try:
        target = URL(request.url).join(URL(location)).with_fragment(None)
        host = target.host
    except ValueError:
        raise _redirect_refused(request.url, "leads to an unreadable address") from None
    if target.scheme not in ("http", "https") or not host:
        raise _redirect_refused(request.url, f"leads to {target.scheme or 'no'} address, not to http or https")
    if _is_inside(host) and target.origin() != first.origin():
        raise _redirect_refused(request.url, "leads to an address inside this network")
    headers = tuple((name, value) for name, value in request.headers if name.lower() in _KEPT_ACROSS_REDIRECTS)
    return Request(str(target.with_user(None)), request.method, headers)


def _redirect_refused(url: str, why: str) -> PermanentClientError:
    return PermanentClientError(f"the redirect of {shown(url)} {why}; it is not followed", Reason.REDIRECTED)


async def _read(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The decoded body. It arrives as fast as it is read: memory stays near ``most``."""
    where, encoding = shown(str(answer.url)), answer.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ENCODINGS:
        answer.close()
        message = f"{where} is compressed in a way that was not asked for ({encoding[:40]!r})"
        raise PermanentClientError(message, Reason.UNREADABLE, status=answer.status)
    inflating, parts, size = Inflating(encoding), list[bytes](), 0
    async for chunk in answer.content.iter_any():
        for part in inflating.steps(chunk):
            size += len(part)
            if size > most:
                answer.close()
                message = f"{where} sent more than {most} bytes, its provider's max_body"
                raise PermanentClientError(message, Reason.TOO_LARGE, status=answer.status)
            parts.append(part)
    if size and not inflating.is_whole:
        raise aiohttp.ClientPayloadError
    return b"".join(parts)


def _plain_headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """Lower-case names, repeated values joined; no cookies, which nobody here wants kept, and nothing that is no text,
    which could be neither kept nor sent back.
    """
    headers: dict[str, str] = {}
    for name, value in answer.headers.items():
        key = name.lower()
        if key != "set-cookie" and value.isprintable():
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


def _translated(error: Exception, where: str) -> ClientError:
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            text = f"{where}: no trusted TLS connection; check this machine's clock and certificates"
            return PermanentClientError(text, Reason.PROVIDER_DOWN)
        case ValueError():
            return PermanentClientError(f"{where}: the request cannot be sent as it is written", Reason.BAD_REQUEST)
        case _:
            return TransientClientError(f"{where}: {_trouble(error)}", Reason.PROVIDER_DOWN)


def _trouble(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the name cannot be resolved"
        case aiohttp.ClientConnectorError():
            return f"cannot connect ({error.os_error.strerror or type(error.os_error).__name__})"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError() | zlib.error():
            return "the answer is cut off, or is not HTTP with headers of usual size"
        case _:
            return f"connection lost ({type(error).__name__})"


def _plain_host(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _is_inside(host: str) -> bool:
    """Whether a host, as written, names the inside: an address that is not public, or ``localhost``."""
    name = _plain_host(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and not is_public(name)


def _is_loopback(text: str) -> bool:
    address = _address(text)
    return address is not None and address.is_loopback


def is_public(text: str) -> bool:
    """Whether this is an address, and one that anybody on the internet could mean."""
    address = _address(text)
    return address is not None and address.is_global and not address.is_multicast


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address of a literal, with an IPv4 address carried inside IPv6 unwrapped."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
