"""Interest-bearing debt, which has no single tag: lines of a balance sheet and notes to them, told apart.

The taxonomies say which figure is part of which. Where they leave open whether one amount holds another, nothing is
added up: total debt is unknown then.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from scheduler_service.parsers.debt_lines import (
    ANY_CURRENT_DEBT,
    BONDS_ISSUED,
    BORROWINGS,
    COMMERCIAL_PAPER,
    COMMERCIAL_PAPER_ISSUED,
    CURRENT_BORROWINGS,
    CURRENT_DEBT,
    CURRENT_PART,
    CURRENT_PART_AND_LEASES,
    KINDS_OF_CURRENT_BORROWINGS,
    KINDS_OF_CURRENT_PART,
    KINDS_OF_LONG_TERM_DEBT,
    KINDS_OF_NONCURRENT_BORROWINGS,
    KINDS_OF_SHORT_TERM_BORROWINGS,
    LINES,
    LONG_TERM_DEBT,
    LONG_TERM_DEBT_AND_LEASES,
    NONCURRENT_BORROWINGS,
    NONCURRENT_LIABILITIES,
    NOTES_AND_LOANS,
    ONE_KIND_OF_DEBT,
    OTHER_KINDS_OF_DEBT,
    OTHER_NONCURRENT_LIABILITIES,
    PRINCIPAL,
    SHORT_TERM_BORROWINGS,
    WHOLE_DEBT,
    WHOLE_LONG_TERM_DEBT,
)
from scheduler_service.parsers.series import Figure, is_rounding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from scheduler_service.parsers.xbrl import CompanyFacts, Concept


_CURRENT_PARTS = (CURRENT_PART, CURRENT_PART_AND_LEASES)
_NO_DEBT = (NONCURRENT_LIABILITIES, *OTHER_NONCURRENT_LIABILITIES)
_LATELY = timedelta(days=800)
_NEAR = Decimal("0.03")
"""Debt is carried a little below its principal; what is within this of a stated total is that total."""


def total_debt(facts: CompanyFacts, at: date) -> Figure | None:
    """Interest-bearing debt at a date, leases left out; None where a part of it is not known.

    A missing current part counts as none, as in a balance sheet without such a line, unless the whole of long-term
    debt, or paper issued in the period, says that there must be one.
    """
    if any(at in facts[concept].unread for concept in LINES):
        return None
    if (borrowings := _at(facts, BORROWINGS, at)) is not None:
        return borrowings
    noncurrent = _at(facts, LONG_TERM_DEBT, at) or _at(facts, LONG_TERM_DEBT_AND_LEASES, at)
    if noncurrent is not None:
        return _with_current(facts, at, [noncurrent], _owed(facts, KINDS_OF_LONG_TERM_DEBT, at))
    if (whole := _at(facts, WHOLE_DEBT, at)) is not None:
        return whole
    return _debt_without_a_line(facts, at) or _borrowings_in_parts(facts, at) or _one_kind_alone(facts, at)


def _at(facts: CompanyFacts, concept: Concept, at: date) -> Figure | None:
    return facts[concept].instants.get(at)


def _all_at(facts: CompanyFacts, concepts: Sequence[Concept], at: date) -> list[Figure]:
    return [figure for concept in concepts if (figure := _at(facts, concept, at)) is not None]


def _owed(facts: CompanyFacts, concepts: Sequence[Concept], at: date) -> list[Figure]:
    return [figure for figure in _all_at(facts, concepts, at) if figure.value]


def _debt_without_a_line(facts: CompanyFacts, at: date) -> Figure | None:
    """Debt of a balance sheet that has no line for all that is long-term."""
    kinds = _owed(facts, KINDS_OF_LONG_TERM_DEBT, at) or _all_at(facts, KINDS_OF_LONG_TERM_DEBT, at)[:1]
    if len(kinds) == 1:
        return _with_current(facts, at, kinds, [])
    if kinds:  # lines of one balance sheet, where they and the current part make up the whole
        found, whole = _with_current(facts, at, kinds, []), _at(facts, WHOLE_LONG_TERM_DEBT, at)
        return found if found is not None and whole is not None and _is_near(whole.value, found.value) else None
    return _whole_long_term(facts, at)


def _whole_long_term(facts: CompanyFacts, at: date) -> Figure | None:
    """The whole of long-term debt holds its current part; it may be the principal, so it only stands in, and not where
    a balance sheet that splits the two should say more. Some companies file the non-current part as the whole.
    """
    whole, short = _at(facts, WHOLE_LONG_TERM_DEBT, at), _borrowed_short(facts, at)
    if whole is None or short is None or _all_at(facts, _CURRENT_PARTS, at):
        return None
    if _owed(facts, (*KINDS_OF_CURRENT_PART, *ANY_CURRENT_DEBT), at):
        return None
    if (current := _at(facts, CURRENT_DEBT, at)) is not None and current.value:
        principal = _at(facts, PRINCIPAL, at)
        sums = [_sum(at, [whole, current]), _sum(at, [whole, *short])]
        return None if principal is None else _only([f for f in sums if _is_near(principal.value, f.value)])
    return _sum(at, [whole, *short])


def _only(figures: Sequence[Figure]) -> Figure | None:
    return figures[0] if len(figures) == 1 else None


def _is_near(total: Decimal, found: Decimal) -> bool:
    return abs(total - found) <= total * _NEAR


def _with_current(
    facts: CompanyFacts, at: date, noncurrent: Sequence[Figure], kinds: Sequence[Figure]
) -> Figure | None:
    """``kinds`` of long-term debt are parts of it or lines beside it: the whole, where it is stated, tells."""
    current = _current_debt(facts, at, noncurrent)
    if current is None:
        return None
    paper, whole = (_at(facts, concept, at) for concept in (COMMERCIAL_PAPER, WHOLE_LONG_TERM_DEBT))
    long_term = _sum(at, [*noncurrent, *(figure for figure in current if figure != paper)]).value
    beside = [figure for figure in kinds if not any(is_rounding(figure.value, line.value) for line in noncurrent)]
    parts = sum((figure.value for figure in beside), Decimal())
    if whole is not None and whole.value * (1 - _NEAR) > long_term:
        if beside:
            return _sum(at, [*noncurrent, *beside, *current]) if _is_near(whole.value, long_term + parts) else None
        if not _all_at(facts, (CURRENT_DEBT, *_CURRENT_PARTS), at):
            return None
    if whole is None and beside and not _is_near(parts, noncurrent[0].value):
        larger = all(figure.value > line.value for figure in beside for line in noncurrent)
        return _sum(at, [*noncurrent, *beside, *current]) if larger else None
    return _sum(at, [*noncurrent, *current])


def _current_debt(facts: CompanyFacts, at: date, noncurrent: Sequence[Figure]) -> list[Figure] | None:
    """What adds up to it. Two equal amounts are one amount under two names. None: not known."""
    if (current := _at(facts, CURRENT_DEBT, at)) is not None:
        return [current]
    part, on_its_basis = _current_part(facts, at, noncurrent)
    kinds = _owed(facts, KINDS_OF_CURRENT_PART, at)
    short = _borrowed_short(facts, at, noncurrent)
    if short is None or len(kinds) > 1:
        return None
    if part is None or (not part.value and kinds):
        part = _only(kinds) or part
    elif kinds and not is_rounding(kinds[0].value, part.value) and not _holds(facts, at, noncurrent, part):
        return None
    lines = short if part is None else _without_double(facts, at, noncurrent, part, short)
    if lines is not None and part in lines and not on_its_basis:
        return None
    unplaced = _owed(facts, ANY_CURRENT_DEBT, at)
    if lines is None or not unplaced:
        return lines
    return unplaced[:1] if len({figure.value for figure in (*unplaced, *lines) if figure.value}) == 1 else None


def _current_part(facts: CompanyFacts, at: date, noncurrent: Sequence[Figure]) -> tuple[Figure | None, bool]:
    """The current part of long-term debt, and whether leases are in it as they are, or are not, in what is not current.

    Where they are in one of the two alone, their sum is no total, unless the whole without leases is that sum.
    """
    same, other = CURRENT_PART, CURRENT_PART_AND_LEASES
    if _at(facts, LONG_TERM_DEBT, at) is None and _at(facts, LONG_TERM_DEBT_AND_LEASES, at) is not None:
        same, other = other, same
    if (part := _at(facts, same, at)) is not None or (part := _at(facts, other, at)) is None or not part.value:
        return part, True
    whole = _at(facts, WHOLE_LONG_TERM_DEBT, at)
    total = part.value + sum(line.value for line in noncurrent)
    return part, whole is not None and is_rounding(whole.value, total)


def _holds(facts: CompanyFacts, at: date, noncurrent: Sequence[Figure], part: Figure) -> bool:
    """Whether the whole of long-term debt is its lines and this current part, so that no kind stands beside them."""
    whole = _at(facts, WHOLE_LONG_TERM_DEBT, at)
    return whole is not None and whole.value * (1 - _NEAR) <= part.value + sum(line.value for line in noncurrent)


def _without_double(
    facts: CompanyFacts, at: date, noncurrent: Sequence[Figure], part: Figure, short: Sequence[Figure]
) -> list[Figure] | None:
    """Short-term borrowings and the current part of long-term debt, which some companies count in."""
    if any(is_rounding(figure.value, part.value) for figure in short):
        return list(short)
    borrowings = _at(facts, SHORT_TERM_BORROWINGS, at)
    if borrowings is None or borrowings.value < part.value:
        return [part, *short]
    if at in facts[PRINCIPAL].unread:
        return None
    principal, without = _at(facts, PRINCIPAL, at), _sum(at, [*noncurrent, *short]).value
    held = principal is not None and _is_near(principal.value, without)
    if principal is not None and held and not _is_near(principal.value, without + part.value):
        return list(short)
    return [part, *short]


def _borrowed_short(facts: CompanyFacts, at: date, noncurrent: Sequence[Figure] = ()) -> list[Figure] | None:
    """Short-term borrowings include commercial paper; without them, the paper and the rest. None: paper unknown."""
    if (borrowings := _at(facts, SHORT_TERM_BORROWINGS, at)) is not None:
        return [borrowings]
    if (notes := _at(facts, NOTES_AND_LOANS, at)) is not None and notes.value and noncurrent:
        return [notes] if notes.value < max(line.value for line in noncurrent) else None
    if _at(facts, COMMERCIAL_PAPER, at) is None and facts[COMMERCIAL_PAPER_ISSUED].tells(at):
        return None
    return _all_at(facts, KINDS_OF_SHORT_TERM_BORROWINGS, at)


def _one_kind_alone(facts: CompanyFacts, at: date) -> Figure | None:
    """Notes of one kind, where the company has told of no other debt for a long time before and after."""
    looked_at = (*LINES, *ONE_KIND_OF_DEBT, *OTHER_KINDS_OF_DEBT)
    if any(at in facts[concept].unread for concept in (*looked_at, PRINCIPAL)):
        return None
    owed = [c for c in looked_at if c not in _NO_DEBT and facts[c].tells(at, within=_LATELY)]
    found = _at(facts, owed[0], at) if len(owed) == 1 and owed[0] in ONE_KIND_OF_DEBT else None
    principal = _at(facts, PRINCIPAL, at)
    if found is None or (principal is not None and principal.value * (1 - _NEAR) > found.value):
        return None
    return found


def _borrowings_in_parts(facts: CompanyFacts, at: date) -> Figure | None:
    """Of an IFRS filer that does not state the total."""
    current = _all_at(facts, (CURRENT_BORROWINGS,), at) or _all_at(facts, KINDS_OF_CURRENT_BORROWINGS, at)
    noncurrent = _noncurrent_borrowings(facts, at)
    if noncurrent is not None:
        return _sum(at, [*noncurrent, *current]) if noncurrent and current else None
    return None


def _noncurrent_borrowings(facts: CompanyFacts, at: date) -> list[Figure] | None:
    """What adds up to them; None where it is not certain what the figures hold."""
    total, kinds = _at(facts, NONCURRENT_BORROWINGS, at), _all_at(facts, KINDS_OF_NONCURRENT_BORROWINGS, at)
    bonds = _at(facts, BONDS_ISSUED, at)
    if not kinds and bonds is not None and bonds.value:
        # Whether a current part is the bonds', too, is not said.
        if any(figure.value for figure in _all_at(facts, (CURRENT_BORROWINGS, *KINDS_OF_CURRENT_BORROWINGS[1:]), at)):
            return None
        kinds = [bonds]
    if total is None:
        return kinds
    if not _is_noncurrent(facts, at, total):
        return None
    owed = [figure for figure in kinds if figure.value]
    if not owed or is_rounding(total.value, sum((figure.value for figure in owed), Decimal())):
        return [total]
    # By the taxonomy it holds the others, but some companies mean bank loans alone; it does where it is less than each.
    return [total, *owed] if all(total.value < figure.value for figure in owed) else None


def _is_noncurrent(facts: CompanyFacts, at: date, borrowings: Figure) -> bool:
    """Whether they leave room for the rest of the non-current liabilities; some companies count a current part in."""
    liabilities = _at(facts, NONCURRENT_LIABILITIES, at)
    others = _all_at(facts, OTHER_NONCURRENT_LIABILITIES, at)
    return liabilities is None or borrowings.value + sum(figure.value for figure in others) <= liabilities.value


def _sum(at: date, figures: Sequence[Figure]) -> Figure:
    total = sum((f.value for f in figures), Decimal())
    return Figure(None, at, total, tuple(part for f in figures for part in f.parts), derived=len(figures) > 1)
