"""What nobody sees is taken out of texts of feeds and of models alike."""

from __future__ import annotations

import pytest

from scheduler_service.parsers.feed import plain_text
from scheduler_service.parsers.model_prose import plain


@pytest.mark.parametrize("character", ["\u061c", "\u200b", "\u202e", "\ufeff", "\ud800", "\U000e0041", "\ufffe"])
def test_a_character_that_nobody_sees_is_no_part_of_a_text(character: str) -> None:
    said = f"Apple {character}sells"
    assert plain(said) == plain_text(said, 100) == "Apple sells"


def test_the_sign_for_a_lost_character_is_seen() -> None:
    assert plain("Apple\ufffds own") == plain_text("Apple\ufffds own", 100) == "Apple\ufffds own"
