"""The embedded upstream: EDGAR's and the feeds' wire formats from a small bundled data set, misbehaving on request.

``upstream`` answers a request; ``server`` (aiohttp, loopback) and ``memory`` (no socket) are its two ends.
"""

from __future__ import annotations
