"""What looks at things every so often, and tells what has changed: once."""

from __future__ import annotations
