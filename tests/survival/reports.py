"""What the harness found, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from survival.campaign import Played
from survival.invariants import INVARIANTS
from survival.powercut import Cuts
from survival.scene import Tally


def say(text: str) -> None:
    print(text, flush=True)


def progress(tally: Tally, name: str) -> None:
    found = f"{len(tally.violations)} VIOLATIONS" if tally.violations else "ok"
    say(f"{name}: {tally.kills.total()} kills, {tally.attempts.total()} attempts, {tally.seconds:.0f} s: {found}")
    for invariant, what in tally.violations[:12]:
        say(f"    {invariant}: {what}")


def counted(numbers: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.most_common())


def table(total: Tally) -> str:
    """Figures of random kills or hand-overs."""
    kills = total.kills.total()

    def share(number: int) -> str:
        return f"{number} ({100 * number / max(1, kills):.0f} %)"

    lines: Mapping[str, object] = {
        "kills": f"{kills}: {counted(total.kills)}",
        "kills with attempts running": share(total.running),
        "kills between intent and start": share(total.window),
        "looks at the frozen store": total.looks,
        "runs, tasks": f"{total.runs}, {total.tasks}",
        "attempts": f"{total.attempts.total()}: {counted(total.attempts)}",
        "bytes of logs compared": total.log_bytes,
    }
    head = "\n".join(f"{name:<32}{value}" for name, value in lines.items())
    return f"{head}\n\nviolations\n{violations(total)}"


def violations(total: Tally) -> str:
    found = [invariant for invariant, _ in total.violations]
    return "\n".join(f"{found.count(name):>5}  {name:<16}{text}" for name, text in INVARIANTS.items())


def of_points(name: str, result: Played) -> str:
    head = f"{name}: {result.there} crash points, {result.played} played, {result.fired} reached, "
    tail = (
        f"{result.tally.attempts.total()} attempts ({counted(result.tally.attempts)}), {len(result.missed)} violations"
    )
    return "\n".join([head + tail, *(f"    {text}"[:1500] for text in result.missed[:12])])


def of_cuts(result: Cuts) -> str:
    head = f"{result.images.total()} images ({counted(result.images)}) of a store with {result.syncs} syncs; "
    middle = (
        f"{result.shown} events that had been shown had to be there; attempts judged: {counted(result.recovered)}; "
    )
    tail = f"{len(result.violations)} violations"
    return "\n".join([head + middle + tail, *(f"    {name}: {what}" for name, what in result.violations[:12])])


def caught(name: str, how: str) -> bool:
    say(f"  {name:<58}{how or 'NOT CAUGHT'}")
    return bool(how)
