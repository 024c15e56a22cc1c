from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from scheduler_service.clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND
from scheduler_service.settings.units import (
    Duration,
    Share,
    Size,
    format_duration,
    format_share,
    format_size,
    parse_duration,
    parse_share,
    parse_size,
)


class Units(BaseModel):
    wait: Duration = 30 * SECOND
    room: Size = 2_000_000_000
    part: Share = 0.2


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("250ms", 250 * MILLISECOND),
        ("30s", 30 * SECOND),
        ("5m", 5 * MINUTE),
        ("2h", 2 * HOUR),
        ("7d", 7 * DAY),
        ("0s", 0),
        ("1.5h", 90 * MINUTE),
        (" 5 m ", 5 * MINUTE),
        ("36500d", 36_500 * DAY),
    ],
)
def test_it_reads_durations(text: str, micros: int) -> None:
    assert parse_duration(text) == micros


@pytest.mark.parametrize(
    "value", [30, 30.0, True, None, "", "30", "m", "5M", "5 minutes", "-5m", "1h30m", "5us", "٥m", "1e3s", "s5", [5]]
)
def test_it_wants_a_number_and_a_unit_for_a_duration(value: object) -> None:
    with pytest.raises(
        ValueError, match="is not a duration; write a number and a unit, such as 250ms, 30s, 5m, 2h or 7d"
    ):
        parse_duration(value)


@pytest.mark.parametrize("text", ["36501d", "999999999999999999h", "0.0001ms"])
def test_it_refuses_durations_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("2GB", 2_000_000_000), ("64 kb", 64_000), ("1.5TB", 1_500_000_000_000), ("0B", 0)],
)
def test_it_reads_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", [500, None, "500", "MB", "-1MB", "5MiB", "1.5X", "1,5GB"])
def test_it_wants_a_number_and_a_unit_for_a_size(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size; write a number and a unit, such as 64KB, 500MB or 2GB"):
        parse_size(value)


@pytest.mark.parametrize("text", ["1.5B", "999999999TB"])
def test_it_refuses_sizes_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        parse_size(text)


@pytest.mark.parametrize(("text", "share"), [("20%", 0.2), ("0%", 0.0), ("100%", 1.0), ("12.5 %", 0.125)])
def test_it_reads_shares(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("value", [0.2, 20, "20", "101%", "-1%", "%", None])
def test_it_wants_a_percentage_for_a_share(value: object) -> None:
    with pytest.raises(ValueError, match="is not a share; write a percentage from 0% to 100%, such as 20%"):
        parse_share(value)


@given(st.integers(min_value=0, max_value=36_500 * DAY))
def test_a_duration_survives_being_shown(micros: int) -> None:
    assert parse_duration(format_duration(micros)) == micros


@given(st.integers(min_value=0, max_value=10**18))
def test_a_size_survives_being_shown(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=0, max_value=100))
def test_a_share_survives_being_shown(percent: int) -> None:
    assert parse_share(format_share(parse_share(f"{percent}%"))) == percent / 100


def test_it_shows_the_largest_unit_that_leaves_no_fraction() -> None:
    assert [format_duration(n) for n in (0, 1_500, SECOND, 90 * MINUTE, DAY)] == ["0s", "1.5ms", "1s", "90m", "1d"]
    assert [format_size(n) for n in (0, 1, 1_500, 2_000_000_000)] == ["0B", "1B", "1500B", "2GB"]


def test_json_shows_them_as_text() -> None:
    assert Units().model_dump_json() == '{"wait":"30s","room":"2GB","part":"20%"}'
    assert Units.model_validate_json(Units().model_dump_json()) == Units()


def test_a_long_wrong_value_is_quoted_short() -> None:
    with pytest.raises(ValidationError) as caught:
        Units.model_validate({"wait": "x" * 10_000})
    assert len(caught.value.errors()[0]["msg"]) < 200
