"""What a machine does to a server: the short form of each fault. `python3 dev.py faults` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.__main__ import lines
from faults.catalog import FAULTS
from processes import scratch


@pytest.mark.survival
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_nothing_hangs_when(name: str) -> None:
    fault = FAULTS[name]
    if reason := fault.cannot():
        pytest.skip(reason)
    with scratch() as folder:
        figures = fault.short(Path(folder))
    print(fault.says, *lines(figures), sep="\n")
    assert not figures.wrong, figures.wrong


@pytest.mark.survival
@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", FAULTS)
def test_at_length_nothing_is_lost_and_nothing_hangs_when(name: str) -> None:
    fault = FAULTS[name]
    if reason := fault.cannot():
        pytest.skip(reason)
    with scratch() as folder:
        figures = fault.long(Path(folder))
    print(fault.says, *lines(figures), sep="\n")
    assert not figures.wrong, figures.wrong
