"""The page on the command line says what the verbs say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_page_on_the_command_line_is_as_the_verbs_are() -> None:
    code = "import runpy; print(runpy.run_path('docs/_ext/commandline.py')['page'](), end='')"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    written = (ROOT / "docs" / "command-line.md").read_text()
    assert made == written, "run `python docs/_ext/commandline.py`"
