"""Server and keeper are killed at random; what is promised must hold. `python3 dev.py chaos` is the long form."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from survival import campaign, mutants, points, reports
from survival.invariants import at_any_time
from survival.machine import Picture
from survival.scene import Tally
from survival.workload import Workload, read_ledger

survival = pytest.mark.survival
needs_strace = pytest.mark.skipif(bool(points.missing()), reason=points.missing() or "strace is there")


def killed(kills: int, seed: int, **more: int) -> Tally:
    print(f"seed {seed}")
    total = campaign.play(kills, seed, told=reports.progress, **more)
    print(reports.table(total))
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
    assert len(found) >= 3
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


def sampled(victim: str, most: int | None, **more: bool) -> campaign.Played:
    result = campaign.crash_everywhere(victim, most, random.randrange(10**6), told=reports.say, **more)
    print(reports.of_points(victim, result))
    assert not result.missed, result.missed
    assert result.fired >= result.played / 2, "some points are of polls, and are not reached again"
    return result


@needs_strace
@survival
@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", points.VICTIMS)
def test_nothing_is_lost_or_done_twice_when_it_is_killed_at_a_call_that_changes_the_world(victim: str) -> None:
    assert sampled(victim, 4).there > 100


@needs_strace
@survival
@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("victim", points.VICTIMS)
def test_nothing_is_lost_or_done_twice_at_any_crash_point(victim: str) -> None:
    sampled(victim, None)
    sampled(victim, 25, jupyter=True)


@needs_strace
@survival
@pytest.mark.timeout(600)
def test_what_was_shown_survives_a_power_cut_at_any_write() -> None:
    result = campaign.cut_power(12, random.randrange(10**6))
    print(reports.of_cuts(result))
    assert not result.violations, result.violations
    assert result.shown > 0
    assert result.recovered["lost"] > 0


@needs_strace
@survival
@pytest.mark.long
@pytest.mark.timeout(7200)
def test_what_was_shown_survives_a_power_cut_after_every_call() -> None:
    assert not campaign.cut_power(10**6, 0).violations


@survival
@pytest.mark.timeout(600)
def test_a_store_goes_from_server_to_server_and_nothing_starts_twice() -> None:
    total = campaign.hand_over(4, random.randrange(10**6), told=reports.progress)
    assert not total.violations, total.violations
    assert total.attempts["completed"] > 0


@survival
@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_store_goes_200_times_from_server_to_server_and_nothing_starts_twice() -> None:
    assert not campaign.hand_over(200, random.randrange(10**6), told=reports.progress).violations


@needs_strace
@survival
@pytest.mark.long
@pytest.mark.timeout(7200)
def test_crash_points_and_power_cuts_catch_broken_protocols() -> None:
    seed = random.randrange(10**6)
    found = dict([*mutants.play_points(seed), mutants.play_power(seed)])
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
