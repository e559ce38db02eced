"""The protocol of server and keeper, driven by Hypothesis through deaths at every call; and broken on purpose."""

from __future__ import annotations

import pytest
from survival import broken
from survival.protocol import Protocol


def test_any_order_of_steps_and_deaths_keeps_the_promises() -> None:
    told = broken.explore(Protocol, 50)
    print(told)
    assert told["killed at a call"] >= 5, "else it proves little"
    assert min(told["completed"], told["lost"], told["failed"] + told["never_started"]) >= 1


@pytest.mark.parametrize("mutant", [m for m in broken.MUTANTS if m.short], ids=lambda mutant: mutant.name)
def test_a_rule_that_is_broken_on_purpose_is_missed(mutant: broken.Mutant) -> None:
    assert broken.hunt(mutant, mutant.examples)


@pytest.mark.long
@pytest.mark.parametrize("mutant", [m for m in broken.MUTANTS if not m.short], ids=lambda mutant: mutant.name)
def test_any_rule_that_is_broken_on_purpose_is_missed(mutant: broken.Mutant) -> None:
    assert broken.hunt(mutant, mutant.examples)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_2000_orders_of_steps_and_deaths_keep_the_promises() -> None:
    assert broken.explore(Protocol, 2_000)["killed at a call"] >= 1_000
