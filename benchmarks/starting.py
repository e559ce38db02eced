"""What wattle adds to the start of a kernel and of a Jupyter server."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import pairing, workshop
from benchmarks.filling import filled
from benchmarks.jupyter import Server
from benchmarks.pairing import Row
from benchmarks.workshop import Options

TITLE = "Start of a kernel and of a Jupyter server"
NOTE = (
    "*Kernel*: a process that imports what `ipykernel` imports, with and without `import wattle_jupyter` after "
    "it. *Server*: from the start of `jupyter server` until it answers `api/status`, with the extension (and "
    "10,000 runs in its store) and without. The differences are what counts."
)
BARE = "import ipykernel.kernelapp, ipykernel.ipkernel"


def run(options: Options) -> list[Row]:
    found = [*imports(options), *servers(options)]
    for row in found:
        pairing.say(row)
    return found


def imports(options: Options) -> list[Row]:
    def start(code: str) -> float:
        return workshop.timed([sys.executable, "-c", code], cwd=workshop.ROOT)

    candidates = {
        "bare kernel": lambda: start(BARE),
        "wattle imported": lambda: start(f"{BARE}; import wattle_jupyter"),
        "wattle loaded": lambda: start(f"{BARE}; import wattle_jupyter.magic"),
    }
    samples = pairing.alternate(candidates, rounds=3 * options.rounds, seconds=60)
    return added("kernel", samples, "bare kernel", {"wattle imported": 60.0})


def servers(options: Options) -> list[Row]:
    full = filled(options, 1000 if options.quick else 10_000)
    full.stop()
    bare = options.fresh("jupyter")

    def start(folder: object, **more: str) -> float:
        began = time.perf_counter()
        server = Server(folder, 2, **more)  # type: ignore[arg-type]
        try:
            server.wait("api/status", pause=0.005)
            return time.perf_counter() - began
        finally:
            server.stop()

    candidates = {
        "without the extension": lambda: start(bare, JUPYTER_CONFIG_PATH=str(disabled(options))),
        "wattle, 10,000 runs": lambda: start(full.folder),
    }
    samples = pairing.alternate(candidates, rounds=options.rounds, seconds=90)
    return added("server", samples, "without the extension", {"wattle, 10,000 runs": 300.0})


def disabled(options: Options) -> Path:
    """A folder for JUPYTER_CONFIG_PATH with which a server starts without the extension."""
    folder = options.folder / "disabled"
    folder.mkdir(exist_ok=True)
    (folder / "jupyter_server_config.json").write_text(
        '{"ServerApp": {"jpserver_extensions": {"wattle_jupyter": false}}}'
    )
    return folder


def added(work: str, samples: dict[str, list[float]], beside: str, targets: dict[str, float]) -> list[Row]:
    """Rows in milliseconds; ``added ms`` is the median of the differences of the same turn."""
    found = []
    for who, taken in samples.items():
        rows = pairing.rows(
            work, {who: taken, beside: samples[beside]}, scale=1e3, unit="ms", beside=beside, targets=[]
        )
        row = rows[0]
        if who != beside:
            more = sorted(a - b for a, b in zip(taken, samples[beside], strict=True))[len(taken) // 2] * 1e3
            most = targets.get(who)
            row = replace(row, more={"added ms": more}, target="" if most is None else f"≤ {most:g} ms more",
                                  met=None if most is None else more <= most)  # fmt: skip
        found.append(row)
    return found
