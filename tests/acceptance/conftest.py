"""What is asserted outside the tests themselves says as much when it fails."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.acceptance.image_promises")
