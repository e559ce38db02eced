"""``python -m wattle_jupyter`` is ``wattle``."""

from __future__ import annotations

import sys

from wattle_jupyter.cli import main

if __name__ == "__main__":
    sys.exit(main())
