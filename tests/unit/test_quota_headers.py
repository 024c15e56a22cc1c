from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.calls import Response
from scheduler_service.clients.base import check_status
from scheduler_service.clients.quota_headers import until_more, until_reset
from scheduler_service.clock import SECOND, from_iso
from scheduler_service.errors import RateLimited

NOW = from_iso("2026-11-23T14:30:00Z")
EPOCH = NOW // SECOND


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-reset": "30"}, 30),
        ({"x-ratelimit-reset": str(EPOCH + 45)}, 45),
        ({"x-ratelimit-reset": str((EPOCH + 45) * 1000)}, 45),
        ({"x-rate-limit-reset": "7.5"}, 7.5),
        ({"ratelimit-reset": "50"}, 50),
        ({"x-ratelimit-reset-requests": "1m30s"}, 90),
        ({"x-ratelimit-reset-requests": "250ms"}, 0.25),
        ({"ratelimit": "limit=100, remaining=0, reset=50"}, 50),
        ({"ratelimit": '"burst";r=9;t=5, "day";r=0;t=3600'}, 3600),
        ({"x-ratelimit-reset": str(EPOCH - 45)}, None),
        ({"x-ratelimit-reset": "0"}, None),
        ({"x-ratelimit-reset": "999999"}, None),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-reset": ""}, None),
        ({"x-ratelimit-reset": "-5"}, None),
        ({"x-ratelimit-reset": "1e9999"}, None),
        ({"ratelimit": "reset=" + "9" * 5000}, None),
        ({}, None),
    ],
)
def test_it_reads_when_a_quota_is_whole_again(headers: dict[str, str], seconds: float | None) -> None:
    assert until_reset(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}, 30),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6s"}, 6),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "30"}, 30),
        ({"ratelimit": "limit=100, remaining=0, reset=50"}, 50),
        ({"ratelimit": '"burst";r=0;t=5, "day";r=900;t=3600'}, 5),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "30"}, None),
        ({"ratelimit": "limit=100, remaining=10, reset=50"}, None),
        ({"x-ratelimit-remaining": "0"}, None),
        ({"x-ratelimit-remaining": "none", "x-ratelimit-reset": "30"}, None),
        ({"x-ratelimit-reset": "30"}, None),
    ],
)
def test_it_reads_that_nothing_is_left_until_then(headers: dict[str, str], seconds: float | None) -> None:
    assert until_more(headers, NOW) == seconds


def test_a_429_waits_for_retry_after_first_then_for_the_quota() -> None:
    for headers, seconds in (
        ({"retry-after": "9", "x-ratelimit-reset": "30"}, 9),
        ({"x-ratelimit-reset": "30"}, 30),
        ({}, None),
    ):
        with pytest.raises(RateLimited) as caught:
            check_status(Response(429, headers, b"", "http://127.0.0.1/"), NOW)
        assert caught.value.retry_after == seconds


@given(
    st.dictionaries(
        st.sampled_from(
            ["ratelimit", "ratelimit-reset", "x-ratelimit-reset", "x-ratelimit-remaining", "x-ratelimit-reset-requests"]
        ),
        st.one_of(st.text(max_size=40), st.from_regex(r"[0-9.hms;=rt\" ,-]{0,30}", fullmatch=True)),
    )
)
def test_whatever_they_say_it_waits_sensibly_or_not_at_all(headers: dict[str, str]) -> None:
    for wait in (until_reset(headers, NOW), until_more(headers, NOW)):
        assert wait is None or 0 < wait <= 24 * 3600
