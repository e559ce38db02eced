"""Server and keeper are killed at random; what is promised must hold. `python3 dev.py chaos` is the long form."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from survival import __main__ as report
from survival import campaign, mutants
from survival.invariants import at_any_time
from survival.machine import Picture
from survival.scene import Tally
from survival.workload import Workload, read_ledger

survival = pytest.mark.survival


def killed(kills: int, seed: int, **more: int) -> Tally:
    print(f"seed {seed}")
    total = campaign.play(kills, seed, told=report.progress, **more)
    print(report.table(total))
    assert not total.violations, total.violations
    return total


def at_work(total: Tally, running: float = 0.8) -> bool:
    """Did the kills hit where it hurts: this share of them with attempts running, a tenth between intent and start?"""
    kills = total.kills.total()
    return total.running >= running * kills and total.window >= 0.1 * kills


@survival
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_done_twice_when_server_and_keeper_are_killed_40_times() -> None:
    total = killed(40, random.randrange(10**6), per_round=10)
    assert total.kills.total() >= 40
    assert at_work(total, 0.6), "on a busy machine 40 kills miss more often than 300 do"
    assert total.attempts["completed"] > 100


@survival
@pytest.mark.timeout(600)
def test_protocols_that_are_broken_on_purpose_are_caught() -> None:
    chosen = [mutant for mutant in mutants.MUTANTS if mutant.short]
    found = dict(mutants.play(random.randrange(10**6), chosen))
    missed = [mutant for mutant in chosen if not found[mutant.name]]
    if missed:  # chance decides which moments a round hits
        found |= dict(mutants.play(random.randrange(10**6), missed))
    print(found)
    assert len(found) >= 5
    assert all(found.values()), [name for name, how in found.items() if not how]


@survival
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_is_lost_or_done_twice_when_server_and_keeper_are_killed_300_times() -> None:
    assert at_work(killed(300, random.randrange(10**6)))


@survival
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_mutant_is_caught() -> None:
    found = dict(mutants.play(random.randrange(10**6)))
    assert all(found.values()), [name for name, how in found.items() if not how]


# ------------------------------------------------------------------------------------- the harness itself, no kills


def test_every_mutant_still_fits_the_code(tmp_path: Path) -> None:
    for number, mutant in enumerate(mutants.MUTANTS):
        copy = campaign.copy_package(tmp_path / str(number))
        mutants.apply(mutant, copy)
        for name, _, new in mutant.patches:
            compile((copy / "wattle_jupyter" / name).read_text(), name, "exec")
            assert new in (copy / "wattle_jupyter" / name).read_text()


def test_a_mutant_whose_lines_are_gone_is_refused(tmp_path: Path) -> None:
    copy = campaign.copy_package(tmp_path)
    gone = mutants.Mutant("gone", [("store.py", "no such line", "")], {"server": 1})
    with pytest.raises(LookupError, match=r"'gone'.*0 times"):
        mutants.apply(gone, copy)


def test_the_same_seed_makes_the_same_workflows(tmp_path: Path) -> None:
    one, two = (Workload(tmp_path / name, random.Random("7")) for name in ("a", "b"))
    for _ in range(5):
        shown, again = one.next(), two.next()
        assert shown["tasks"].keys() == again["tasks"].keys()
        assert one.jobs == two.jobs
        assert [t["needs"] for t in shown["tasks"].values()] == [t["needs"] for t in again["tasks"].values()]


def test_every_kind_of_task_comes_up(tmp_path: Path) -> None:
    work = Workload(tmp_path / "w", random.Random("1"))
    for _ in range(20):
        work.next()
    kinds = {job.kind for jobs in work.jobs.values() for job in jobs.values()}
    assert kinds == {"plain", "instant", "chatty", "flaky", "daemon", "hopeless", "stubborn"}


def test_the_ledger_tells_starts_from_ends_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_text("S task one 12 up1 up2\nE task one 7\nS task two 13  \n")
    lines = read_ledger(path)
    assert [(line.attempt, line.code) for line in lines] == [("one", None), ("one", 7), ("two", None)]
    assert lines[0].inputs == ("up1", "up2")


def test_a_process_without_a_row_an_early_event_and_a_contradiction_are_seen_at_once() -> None:
    sound = Picture(seq=5, rows={"a": "running"}, folders={"a"}, started={"a"})
    assert list(at_any_time(sound, 5)) == []
    assert [name for name, _ in at_any_time(Picture(seq=5, rows={"a": "running"}, folders={"b"}), 5)] == ["recorded"]
    assert [name for name, _ in at_any_time(Picture(seq=5, rows={"a": "running"}, started={"b"}), 5)] == ["recorded"]
    assert [name for name, _ in at_any_time(sound, 6)] == ["committed"]
    assert [name for name, _ in at_any_time(Picture(twice={"a"}), 0)] == ["started once"]
    assert [name for name, _ in at_any_time(Picture(broken=["two live attempts"]), 0)] == ["consistent"]
