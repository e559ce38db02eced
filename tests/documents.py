"""The code blocks of a document, and a shell in which they run in the order in which a reader meets them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
_COMMENT = re.compile(r"<!--\s*((?:(?!-->).)*?)\s*-->\s*\Z", re.DOTALL)
_ELSEWHERE = ("wattle", "jupyter", "python3", "pip", "curl", "TOKEN=", "cd", "#", "eval", "source")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: where it stands, what is in it, and the comment above it, which a reader does not see."""

    page: str
    line: int
    info: str
    body: str
    comment: str
    shown: str | None  # the text block that follows at once: what it is said to print

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def given(self) -> str:
        """Python that stands for what a reader has already: run before the block."""
        return self.comment.removeprefix("given:").strip() if self.comment.startswith("given:") else ""

    @property
    def kind(self) -> str:
        """``cell``, ``terminal``, ``data``, ``text``, ``not run`` or, for what nobody can tell, ``unknown``."""
        lines = [line for line in self.body.replace("\\\n", "").splitlines() if line.strip()]
        if self.info.startswith("{") or self.info in ("text", "diff", "html"):
            return "text"
        if self.comment.startswith("not run:"):
            return "not run"
        if self.info in ("python", "ipython") or (not self.info and lines and re.match(r"(?:[\w.]+ *= *)?%", lines[0])):
            return "cell"
        if self.info in ("sh", "bash", "console") or (
            not self.info and all(line.lstrip().startswith(_ELSEWHERE) for line in lines)
        ):
            return "terminal"
        return "data" if self.info in ("yaml", "toml", "json") else "unknown"


def blocks(page: Path, root: Path) -> list[Block]:
    """The fenced blocks of a Markdown file, in order."""
    text = page.read_text()
    found = list(_FENCE.finditer(text))
    made = []
    for here, after in zip_longest(found, found[1:]):
        comment = _COMMENT.search(text[: here.start()])
        follows = after is not None and after["info"] == "text" and not text[here.end() : after.start()].strip()
        made.append(
            Block(
                page=str(page.relative_to(root)),
                line=text.count("\n", 0, here.start()) + 1,
                info=here["info"].strip(),
                body=_dedent(here["body"], len(here["indent"])),
                comment=comment[1] if comment else "",
                shown=_dedent(after["body"], len(after["indent"])) if after is not None and follows else None,
            )
        )
    return made


def _dedent(text: str, width: int) -> str:
    return "".join(line[width:] if line[:width].isspace() else line for line in text.splitlines(keepends=True))


def kernels(cells: list[Block]) -> Iterator[list[Block]]:
    """The cells, cut where the reader is told to restart the kernel."""
    cuts = [0, *(i for i, cell in enumerate(cells) if cell.comment == "a new kernel"), len(cells)]
    for start, end in pairwise(cuts):
        if cells[start:end]:
            yield cells[start:end]


def run(cells: list[Block], folder: Path, store: Path) -> list[tuple[str, bool]]:
    """What each cell printed, and whether it ended without an error, in one new IPython in ``folder``."""
    env = {**os.environ, "WATTLE_STORE__DIR": str(store), "IPYTHONDIR": str(folder / ".ipython")}
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps([(cell.given, cell.body) for cell in cells]),
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [(text, ok) for text, ok in json.loads(done.stdout.splitlines()[-1])]


def like(shown: str, printed: str) -> bool:
    """Is this what was printed? ``…`` stands for anything on its line; blanks at the ends do not count."""
    want, have = (re.sub(r"[ \t]+$", "", text.strip("\n"), flags=re.M) for text in (shown, printed))
    return re.fullmatch(r"[^\n]*?".join(map(re.escape, want.split("…"))), have) is not None


def main() -> None:
    """In the subprocess: cells as JSON in, texts as JSON out."""
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    shell.displayhook.write_output_prompt = lambda: None
    shell.run_line_magic("load_ext", "wattle_jupyter")
    answers = []
    for given, cell in json.load(sys.stdin):
        shell.run_cell(given).raise_error()
        with capture_output() as caught:
            done = shell.run_cell(cell)
        texts = [caught.stdout, *(output.data.get("text/plain", "") + "\n" for output in caught.outputs)]
        error = done.error_before_exec or done.error_in_exec
        if error:
            texts.append(f"{type(error).__name__}: {error}")
        answers.append(("".join(texts), error is None))
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
