"""``python -m survival``: prints the tables; exit code 1 if anything did not hold."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from survival import broken, campaign, points, reports
from survival.protocol import Protocol


@dataclass(frozen=True)
class Amounts:
    """How much of each part. ``points`` None: all there are; ``seconds`` is when no further point is begun."""

    kills: int = 300
    points: int | None = None
    hand_overs: int = 200
    cuts: int = 100_000
    examples: int = 2_000
    seconds: float = 1e9

    @classmethod
    def within(cls, minutes: float) -> Amounts:
        """About as much as two quiet cores do in that time."""
        least = 3
        return cls(
            kills=max(least, round(7 * minutes)),
            points=max(least, round(5 * minutes)),
            hand_overs=max(least, round(1.5 * minutes)),
            cuts=max(least, round(8 * minutes)),
            examples=max(20, round(30 * minutes)),
            seconds=60 * minutes * 0.4,
        )


SHORT = Amounts(kills=40, points=4, hand_overs=4, cuts=12, examples=50)


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py chaos", description="Kill servers and keepers; count what broke.")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all but mutants if absent")
    parser.add_argument("--short", action="store_true", help="as in the suite: some two minutes")
    parser.add_argument(
        "--minutes", type=float, help="about so long; without it: all points, 300 kills, 200 hand-overs"
    )
    parser.add_argument("--kills", type=int, help="how many kills at random")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--mutants", action="store_true", help="also break the protocol on purpose")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    amounts = SHORT if arguments.short else Amounts.within(arguments.minutes) if arguments.minutes else Amounts()
    if arguments.kills is not None:
        amounts = Amounts(**{**vars(amounts), "kills": arguments.kills})
    chosen = [name for name in PARTS if name in arguments.parts] or [name for name in PARTS if name != "mutants"]
    chosen += ["mutants"] if arguments.mutants and "mutants" not in chosen else []
    print(f"seed {arguments.seed}", flush=True)
    ok = True
    for name in chosen:
        began = time.monotonic()
        print(f"\n===== {name}", flush=True)
        ok &= PARTS[name](amounts, arguments.seed)
        print(f"\n{time.monotonic() - began:.0f} s", flush=True)
    print("\nall promises held" if ok else "\nVIOLATIONS")
    return int(not ok)


def _kills(amounts: Amounts, seed: int) -> bool:
    if not amounts.kills:
        return True
    total = campaign.play(amounts.kills, seed, told=reports.progress)
    print(f"\n{reports.table(total)}")
    return not total.violations


def _points(amounts: Amounts, seed: int) -> bool:
    if why := points.missing():
        print(f"NOT RUN: {why}")
        return False
    ok = True
    for victim in points.VICTIMS:
        for jupyter in (False, True):
            most = amounts.points if not jupyter else (amounts.points or 100) // 4
            result = campaign.crash_everywhere(
                victim, most, seed, jupyter=jupyter, told=reports.say, hurry=amounts.seconds / 4
            )
            print(reports.of_points(f"{victim}, {'jupyter server' if jupyter else 'wattle serve'}", result))
            ok &= not result.missed
    return ok


def _hands(amounts: Amounts, seed: int) -> bool:
    total = campaign.hand_over(amounts.hand_overs, seed, told=reports.progress)
    print(f"\n{reports.table(total)}")
    return not total.violations


def _power(amounts: Amounts, seed: int) -> bool:
    if why := points.missing():
        print(f"NOT RUN: {why}")
        return False
    result = campaign.cut_power(amounts.cuts, seed)
    print(reports.of_cuts(result))
    return not result.violations


def _model(amounts: Amounts, seed: int) -> bool:
    del seed  # Hypothesis has its own; what it finds it prints as a program
    print(reports.counted(broken.explore(Protocol, amounts.examples)))
    return True


def _mutants(amounts: Amounts, seed: int) -> bool:
    del amounts
    from survival import mutants  # noqa: PLC0415  (its patches must fit only when they are used)

    ok = True
    for mutant in broken.MUTANTS:
        ok &= reports.caught(f"{mutant.name} (state machine)", broken.hunt(mutant, mutant.examples))
    for name, how in mutants.play(seed):
        ok &= reports.caught(f"{name} (random kills)", how)
    if why := points.missing():
        print(f"NOT RUN: {why}")
        return False
    for name, how in (*mutants.play_points(seed), mutants.play_power(seed)):
        ok &= reports.caught(name, how)
    return ok


PARTS: Mapping[str, Callable[[Amounts, int], bool]] = {
    "kills": _kills,
    "points": _points,
    "hands": _hands,
    "power": _power,
    "model": _model,
    "mutants": _mutants,
}


if __name__ == "__main__":
    sys.exit(main())
