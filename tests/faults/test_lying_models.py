"""A model that states wrong figures, before or after the filings are read: through gates and ledger to disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import HOUR
from scheduler_service.sandbox.faults import Fault, ModelFault
from tests.contract.bench import on_the_bench

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.bench import Bench

IN_THOUSANDS = "a thousandth of the filing's: counted in thousands?"


async def document(bench: Bench, source: str) -> dict[str, Any]:
    bench.source = source
    await bench.fetch("AAPL", force=True)
    found = await bench.on_disk("AAPL")
    assert found is not None
    data: dict[str, Any] = found["data"]
    return data


def figures(data: dict[str, Any]) -> Any:
    """What the document says, without the calls that it was learned by."""
    if "metrics" in data:
        return {name: (m["value"], m["as_of"], m["check"]) for name, m in data["metrics"].items()}
    names = ("kind", "period_end", "revenue", "net_income", "eps_diluted", "total_debt", "equity", "accession")
    return [tuple(report[name] for name in names) for report in data["reports"]]


@pytest.mark.parametrize("domain", ["earnings", "fundamentals"])
@pytest.mark.parametrize("lie", [ModelFault.MISSTATED, ModelFault.IN_THOUSANDS])
@pytest.mark.parametrize("first", ["edgar", "perplexity"])
async def test_what_was_filed_stays_and_the_lie_is_shown_beside_it(
    tmp_path: Path, domain: str, lie: ModelFault, first: str
) -> None:
    async with on_the_bench(tmp_path / "true", domain, "edgar") as bench:
        filed = figures(await document(bench, "edgar"))
    async with on_the_bench(tmp_path / "lied", domain, "edgar") as bench:
        bench.upstream.faults.add(Fault(kind=lie, provider="perplexity"))
        for source in ("edgar", "perplexity") if first == "edgar" else ("perplexity", "edgar"):
            told = await document(bench, source)
    assert figures(told) == filed
    wrong = [check for check in told["checks"] if check["verdict"] == "conflicting"]
    assert wrong
    for check in wrong:
        assert check["difference"] == pytest.approx(check["stated"] - check["filed"])
        assert check["stated"] != check["filed"]
        assert check["filing"]["accession"]
    assert {check["note"] for check in wrong} == {IN_THOUSANDS if lie is ModelFault.IN_THOUSANDS else None}
    assert ({check["verdict"] for check in told["checks"]} == {"conflicting"}) is (lie is ModelFault.MISSTATED)


@pytest.mark.parametrize("domain", ["earnings", "fundamentals"])
async def test_of_an_answer_that_contradicts_itself_nothing_gets_in(tmp_path: Path, domain: str) -> None:
    async with on_the_bench(tmp_path, domain, "perplexity") as bench:
        good = await document(bench, "perplexity")
        bench.clock.advance(2 * HOUR)  # until then the good answer is kept
        bench.upstream.faults.add(Fault(kind=ModelFault.CONTRADICTING, provider="perplexity"))
        assert figures(await document(bench, "perplexity")) == figures(good)
        assert (await bench.state("AAPL")).failures == 1
