"""Characters that nobody sees in a text: they are no part of it, or a way to disguise it."""

from __future__ import annotations

import re

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Lone surrogates, direction marks and overrides, zero-width characters, tags. Not U+FFFD, which is seen.
INVISIBLE = re.compile(
    "[\ud800-\udfff\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffc\ufffe\uffff"
    "\U000e0000-\U000e007f]"
)
