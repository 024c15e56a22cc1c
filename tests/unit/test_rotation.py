"""Which backups stay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.backups.rotation import name_for, parse_name, superseded
from scheduler_service.clock import DAY, HOUR, SECOND, from_iso

NOW = from_iso("2026-11-24T02:00:00Z")
OURS, OTHERS = "3fa2b1c0", "00000000"


def gone(names: list[str], *, just_made: str, daily: int = 7, weekly: int = 4) -> list[str]:
    return superseded(names, identity=OURS, just_made=just_made, now=NOW, daily=daily, weekly=weekly)


def test_seven_days_and_four_weeks_stay_of_a_backup_a_night() -> None:
    names = [name_for(OURS, NOW - day * DAY) for day in range(60)]
    stay = [name for name in names if name not in gone(names, just_made=names[0])]
    days = [parse_name(name) for name in stay]
    assert [(NOW - kept.made_at) // DAY for kept in days if kept] == [0, 1, 2, 3, 4, 5, 6, 9, 16]


def test_all_of_the_last_day_stay() -> None:
    names = [name_for(OURS, NOW - hours * HOUR) for hours in range(48)]
    assert set(names[:24]).isdisjoint(gone(names, just_made=names[0], daily=0, weekly=0))
    assert gone(names, just_made=names[0], daily=0, weekly=0) == sorted(names[24:])


def test_what_is_of_another_ledger_or_of_no_backup_is_never_removed() -> None:
    newest = name_for(OURS, NOW)
    others = [name_for(OTHERS, NOW - n * DAY) for n in range(40)]
    strange = [
        "ledger-schema-2.sqlite",
        "notes.txt",
        newest + ".part",
        "scheduler-backup-3fa2b1c0-20260231T000000Z.tar.zst",
    ]
    assert gone([newest, *others, *strange], just_made=newest, daily=0, weekly=0) == []


def test_a_backup_of_the_future_neither_goes_nor_counts() -> None:
    ahead = [name_for(OURS, NOW + n * DAY) for n in range(1, 30)]
    names = [*ahead, *(name_for(OURS, NOW - n * DAY) for n in range(3))]
    assert gone(names, just_made=names[-3], daily=3, weekly=0) == []


def test_a_name_that_is_taken_is_not_given_again() -> None:
    first = name_for(OURS, NOW)
    second = name_for(OURS, NOW, [first])
    kept = parse_name(second)
    assert kept is not None
    assert kept.made_at == NOW + SECOND


@given(
    st.lists(st.integers(0, 400 * 24), unique=True, min_size=1),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 400 * 24),
)
def test_what_is_rotated_is_ours_and_the_newest_never_goes(ages: list[int], daily: int, weekly: int, made: int) -> None:
    names = [name_for(OURS, NOW - age * HOUR) for age in {*ages, made}]
    just_made = name_for(OURS, NOW - made * HOUR)
    removed = gone(names, just_made=just_made, daily=daily, weekly=weekly)
    assert just_made not in removed
    assert max(names) not in removed
    left = [name for name in names if name not in removed]
    assert gone(left, just_made=just_made, daily=daily, weekly=weekly) == []
    assert len({name[26:34] for name in left}) >= min(daily, len({name[26:34] for name in names}))
