"""A regular expression over a big log, beside ripgrep on the same file."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from benchmarks import pairing, workshop
from benchmarks.jupyter import Server
from benchmarks.pairing import Row, Target
from benchmarks.workshop import CannotRun, Options

TITLE = "Regular expressions over 1 GB of log"
NOTE = (
    "The log of a finished task: lines of 40 to 120 characters, some with colours, one in 100,000 with an error. "
    "Ours is the request `GET …/logs/search` to a Jupyter server, which counts all lines that match and says "
    "where the first thousand are; ripgrep counts (`rg -c`) on the same file, which is in the page cache for "
    "both."
)
PATTERNS = {
    "a word": "Traceback",
    "a word of each line": "loss",
    "a class": r"loss=0\.000[0-9]{3} ",
    "alternatives": "(ERROR|FATAL): [a-z]+ failed",
    "any case": "(?i)error: [a-z]+",
}
WRITER = r"""
import random, sys
random.seed(1)
out, size, left = sys.stdout.buffer, 0, int(sys.argv[1])
lines = []
for n in range(200_000):
    text = f"step {n % 997} loss={random.random():.6f} " + "x" * random.randrange(10, 80)
    if n % 1000 == 0: text = "\x1b[32m" + text + "\x1b[0m"
    if n % 100_000 == 7: text = "ERROR: disk failed\nTraceback (most recent call last):"
    lines.append(text + "\n")
block = "".join(lines).encode()
while left > 0:
    out.write(block); left -= len(block)
"""


def run(options: Options) -> list[Row]:
    size = 50_000_000 if options.quick else 1_000_000_000
    server = Server(options.fresh("jupyter"), 2)
    try:
        server.wait()
        script = options.folder / "writer.py"
        script.write_text(WRITER)
        spec = {"name": "big", "tasks": {"write": {"run": ["python3", str(script), str(size)]}}}
        made = server.call("wattle/api/runs", {"spec": spec})["data"]["id"]
        if server.finish(made, 300) != "completed":
            raise CannotRun("the task that writes the log failed")
        attempt = server.call(f"wattle/api/runs/{made}/tasks/write")["data"]["attempt"]
        log = server.folder / "store" / "attempts" / attempt / "log"
        found = [
            row for name, pattern in PATTERNS.items() for row in compare(options, server, made, log, name, pattern)
        ]
    finally:
        server.stop()
    for row in found:
        pairing.say(row)
    return found


def compare(options: Options, server: Server, run: str, log: Path, name: str, pattern: str) -> list[Row]:
    counts: dict[str, int] = {}
    rg = workshop.need("rg", "ripgrep")

    def ours() -> float:
        began = time.perf_counter()
        path = f"wattle/api/runs/{run}/tasks/write/logs/search?regex=1&case=1&pattern={quote(pattern)}"
        counts["wattle"] = server.call(path)["data"]["count"]
        return time.perf_counter() - began

    def theirs() -> float:
        began = time.perf_counter()
        done = subprocess.run(
            [rg, "-c", "-a", "--no-messages", pattern, str(log)], capture_output=True, text=True, check=False
        )
        counts["ripgrep"] = int(done.stdout or 0)
        return time.perf_counter() - began

    theirs()  # the file into the page cache
    samples = pairing.alternate({"wattle": ours, "ripgrep": theirs}, rounds=options.rounds, seconds=60)
    if len(set(counts.values())) != 1:
        raise CannotRun(f"they do not agree on {pattern!r}: {counts}")
    work = f"{name}: {log.stat().st_size / 1e9:.2g} GB, {counts['wattle']:,} lines match"
    return pairing.rows(
        work, samples, scale=1.0, unit="s", beside="ripgrep", targets=[Target("wattle", "ripgrep", most=2.0)]
    )
