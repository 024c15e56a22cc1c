"""The outside of the service: health over HTTP, control over a socket, and the client of that socket."""

from __future__ import annotations
