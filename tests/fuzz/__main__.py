"""``python -m fuzz [--seconds N] [PARSER …]``: each parser under atheris for so long, in a process of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["wattle_jupyter", "yaml", "tomllib", "shlex", "json"]):
    from fuzz.parsers import PARSERS, Parser


def main() -> int:
    """Exit code 1 if a parser broke a promise; what broke it is printed and kept."""
    if sys.argv[1:2] == ["alone"]:
        return alone(PARSERS[sys.argv[2]], sys.argv[3:])
    asked = argparse.ArgumentParser(prog="dev.py fuzz", description="Look for input that a parser does not stand.")
    asked.add_argument("--seconds", type=int, default=60, help="for each parser (%(default)s)")
    asked.add_argument("parsers", nargs="*", choices=[*PARSERS, []], metavar="PARSER", help=", ".join(PARSERS))
    given = asked.parse_args()
    broken = [name for name in given.parsers or PARSERS if not hunt(PARSERS[name], given.seconds)]
    print("\nnothing uncaught" if not broken else f"\nBROKEN: {', '.join(broken)}")
    return bool(broken)


def hunt(parser: Parser, seconds: int) -> bool:
    """Did it hold? Prints one line, and what libFuzzer and Python said if it did not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus").mkdir()
        for n, seed in enumerate(parser.seeds()):
            (folder / "corpus" / str(n)).write_bytes(seed)
        (folder / "words").write_text("".join(f'"{_escaped(word)}"\n' for word in parser.words))
        found = Path(tempfile.gettempdir()) / f"wattle-fuzz-{parser.name}-"
        options = [f"-max_total_time={seconds}", f"-dict={folder / 'words'}", f"-artifact_prefix={found}"]
        options += [
            "-timeout=20",
            "-rss_limit_mb=4096",
            "-max_len=2048",
            "-print_final_stats=1",
            str(folder / "corpus"),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "fuzz", "alone", parser.name, *options], capture_output=True, text=True,
            errors="replace", check=False,
        )  # fmt: skip
    said = done.stdout + done.stderr
    units = next((line.split()[-1] for line in said.splitlines() if "number_of_executed_units" in line), "?")
    print(f"{parser.name:<12}{units:>10} inputs  {'ok' if done.returncode == 0 else 'BROKEN'}", flush=True)
    if done.returncode:
        print("\n".join(line for line in said.splitlines() if not line.startswith(("#", "INFO"))))
    return done.returncode == 0


def _escaped(word: str) -> str:
    """As libFuzzer's dictionaries want it."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in word.encode())


def alone(parser: Parser, options: list[str]) -> int:
    atheris.Setup([parser.name, *options], parser.feed)
    atheris.Fuzz()  # ends the process
    return 0


if __name__ == "__main__":
    sys.exit(main())
