"""What Perplexity's errors mean, by status and, where a 200 is none, by what it says; and its own words for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from scheduler_service.clients.base import check_status, shown
from scheduler_service.errors import (
    ClientError,
    EndpointGone,
    NotFound,
    ParseError,
    PermanentClientError,
    RateLimited,
    Refused,
    TransientClientError,
)
from scheduler_service.models import Reason
from scheduler_service.redaction import MARK, escape, redact
from scheduler_service.strict_json import load_object

if TYPE_CHECKING:
    from scheduler_service.calls import Request, Response
    from scheduler_service.clock import Instant

_REFUSED, _MISSING, _UNSOUND = (401, 402, 403), (404, 405, 410), (400, 413, 422)
_KEY = re.compile(r"(?:pplx-|sk-|Bearer\s)\S+", re.IGNORECASE)
_LONGEST_QUOTE = 200
_SHORTEST_OF_OURS = 12


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object, or None for anything else."""
    try:
        return load_object(body)
    except ParseError:
        return None


def raise_for_status(response: Response, request: Request, now: Instant, gone: str | None) -> None:
    """Returns for 2xx. ``gone`` is what a person can do where the endpoint itself is missing; None where that is to be
    expected, and the thing is merely not there.
    """
    status = response.status
    message = f"{shown(response.url)} answered {status}"
    if status in _REFUSED:
        why = "the key is wrong, or its account is out of credit"
        raise Refused(f"{message}: {why}", Reason.REFUSED, status=status)
    if status in _MISSING and gone is None:
        raise NotFound(f"{message}: it is not served there", Reason.NO_DATA, status=status)
    if status in _MISSING:
        message += f"{_quoted(response.body, request)}; the endpoint is not there, or no longer: {gone}"
        raise EndpointGone(message, Reason.ENDPOINT_GONE, status=status)
    if status in _UNSOUND:
        raise PermanentClientError(f"{message}{_quoted(response.body, request)}", Reason.BAD_REQUEST, status=status)
    check_status(response, now)


def failure(said: dict[str, Any], response: Response, request: Request) -> ClientError | None:
    """What a 200 that is none means: a run that failed or is not over, or a gateway's error with a status inside."""
    where, http_status = shown(response.url), response.status
    status, error = said.get("status"), said.get("error")
    if status in ("queued", "in_progress"):
        return TransientClientError(f"{where}: the run is not over", Reason.PROVIDER_DOWN, status=http_status)
    if status not in ("failed", "cancelled") and not error:
        return None
    ended = "was cancelled" if status == "cancelled" else "failed"
    message = f"{where}: the run {ended}{_quoted(response.body, request)}"
    codes = _codes(error)
    if codes & set(map(str, _REFUSED)):
        return Refused(message, Reason.REFUSED, status=http_status)
    if "429" in codes:
        return RateLimited(message, Reason.RATE_LIMITED, status=http_status)
    if codes & set(map(str, _MISSING + _UNSOUND)) or any(code.startswith("invalid") for code in codes):
        return PermanentClientError(message, Reason.BAD_REQUEST, status=http_status)
    return TransientClientError(message, Reason.PROVIDER_DOWN, status=http_status)


def _codes(error: Any) -> set[str]:
    values = (error.get("code"), error.get("type")) if isinstance(error, dict) else ()
    return {str(value) for value in values if isinstance(value, str | int)}


def _quoted(body: bytes, request: Request) -> str:
    """The upstream's own message, for people: on one line, short, without what was sent to it and without keys."""
    text = _message(json_object(body) or {})
    for ours in _sent_lines(request):
        text = text.replace(ours, "…")
    text = escape(" ".join(_KEY.sub(MARK, redact(text)).split()))
    return f": {text[:_LONGEST_QUOTE]}{'…' if len(text) > _LONGEST_QUOTE else ''}" if text else ""


def _message(said: dict[str, Any]) -> str:
    """Of ``{"error": {"message": ...}}``, of ``{"detail": [{"loc": [...], "msg": ...}]}`` and of their kin."""
    error, detail = said.get("error"), said.get("detail")
    if isinstance(detail, list):
        found = [(_path(one.get("loc")), one.get("msg")) for one in detail[:3] if isinstance(one, dict)]
        return "; ".join(f"{path} {text}".strip() for path, text in found if isinstance(text, str))
    candidates = (error.get("message") if isinstance(error, dict) else error, detail, said.get("message"))
    return next((text for text in candidates if isinstance(text, str)), "")


def _path(place: Any) -> str:
    return ".".join(str(part) for part in place if isinstance(part, str | int)) if isinstance(place, list) else ""


def _sent_lines(request: Request) -> list[str]:
    """The lines of prose in a request, the longest first; not its model's name, which errors speak of."""
    body = json_object(request.body or b"") or {}
    texts = [body.get("instructions"), body.get("input"), body.get("query")]
    texts += [message.get("content") for message in body.get("messages", ())]
    lines = {line.strip() for text in texts if isinstance(text, str) for line in text.splitlines()}
    return sorted((line for line in lines if len(line) >= _SHORTEST_OF_OURS), key=len, reverse=True)
