"""Whose turn it is in a lane: measured over long queues."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.executors.turns import WEIGHTS, Turns
from scheduler_service.stores.task_store import Rank

LONG = {rank: [(rank, number) for number in range(1200)] for rank in Rank}


def drawn(turns: Turns, waiting: dict[Rank, list[tuple[Rank, int]]], claims: list[int]) -> list[tuple[Rank, int]]:
    """Claim after claim from queues that get shorter."""
    taken: list[tuple[Rank, int]] = []
    for most in claims:
        left = {rank: [one for one in queue if one not in taken] for rank, queue in waiting.items()}
        taken += turns.choose(left, most)
    return taken


def test_twelve_turns_are_shared_eight_three_and_one_whether_claimed_singly_or_together() -> None:
    for claims in ([12] * 5, [1] * 60, [7, 5] * 5, [60]):
        taken = drawn(Turns(), LONG, claims)
        assert Counter(rank for rank, _ in taken) == {rank: 5 * weight for rank, weight in WEIGHTS.items()}
        assert taken == drawn(Turns(), LONG, [60])


def test_the_first_is_of_the_highest_rank_and_no_rank_waits_longer_than_twelve_turns() -> None:
    ranks = [rank for rank, _ in Turns().choose(LONG, 1200)]
    assert ranks[0] is Rank.HIGH
    for rank in Rank:
        places = [place for place, one in enumerate(ranks) if one is rank]
        assert max(later - earlier for earlier, later in pairwise(places)) <= 12


def test_a_rank_without_work_saves_nothing_up() -> None:
    turns = Turns()
    turns.choose({Rank.NORMAL: LONG[Rank.NORMAL]}, 500)
    turns.choose({Rank.LOW: LONG[Rank.LOW]}, 500)
    assert turns.choose(LONG, 1)[0][0] is Rank.HIGH


@given(st.lists(st.integers(0, 40), min_size=3, max_size=3), st.lists(st.integers(0, 9), max_size=20))
def test_every_task_is_taken_once_and_each_rank_in_its_order(lengths: list[int], claims: list[int]) -> None:
    waiting = {rank: LONG[rank][:length] for rank, length in zip(Rank, lengths, strict=True)}
    taken = drawn(Turns(), waiting, claims)
    assert len(taken) == min(sum(claims), sum(lengths))
    for rank in Rank:
        mine = [one for one in taken if one[0] is rank]
        assert mine == waiting[rank][: len(mine)]
