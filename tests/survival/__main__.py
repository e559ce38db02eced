"""``python -m survival``: prints the table; exit code 1 if anything did not hold."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping

from survival import campaign
from survival.invariants import INVARIANTS
from survival.scene import Tally


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py chaos", description="Kill servers and keepers; count what broke.")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--mutants", action="store_true", help="also break the protocol on purpose")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    ok = True
    if arguments.kills:
        began = time.monotonic()
        total = campaign.play(arguments.kills, arguments.seed, told=progress)
        print(f"\n{table(total)}\n\n{time.monotonic() - began:.0f} s")
        ok = not total.violations
    if arguments.mutants:
        ok &= _mutants(arguments.seed)
    print("\nall promises held" if ok else "\nVIOLATIONS")
    return int(not ok)


def progress(tally: Tally, name: str) -> None:
    found = f"{len(tally.violations)} VIOLATIONS" if tally.violations else "ok"
    print(f"{name}: {tally.kills.total()} kills, {tally.attempts.total()} attempts, {tally.seconds:.0f} s: {found}")
    for invariant, what in tally.violations[:12]:
        print(f"    {invariant}: {what}")
    sys.stdout.flush()


def table(total: Tally) -> str:
    kills = total.kills.total()

    def share(number: int) -> str:
        return f"{number} ({100 * number / max(1, kills):.0f} %)"

    lines: Mapping[str, object] = {
        "kills": f"{kills}: " + ", ".join(f"{number} {name}" for name, number in total.kills.most_common()),
        "kills with attempts running": share(total.running),
        "kills between intent and start": share(total.window),
        "looks at the frozen store": total.looks,
        "runs, tasks": f"{total.runs}, {total.tasks}",
        "attempts": f"{total.attempts.total()}: "
        + ", ".join(f"{number} {name}" for name, number in total.attempts.most_common()),
        "bytes of logs compared": total.log_bytes,
    }
    head = "\n".join(f"{name:<32}{value}" for name, value in lines.items())
    found = [invariant for invariant, _ in total.violations]
    body = "\n".join(f"{found.count(name):>5}  {name:<16}{text}" for name, text in INVARIANTS.items())
    return f"{head}\n\nviolations\n{body}"


def _mutants(seed: int) -> bool:
    from survival import mutants  # noqa: PLC0415  (its patches must fit only when they are used)

    print("\nmutants")
    ok = True
    for name, how in mutants.play(seed):
        print(f"  {name:<26}{how or 'NOT CAUGHT'}", flush=True)
        ok &= bool(how)
    return ok


if __name__ == "__main__":
    sys.exit(main())
