"""Entry of the keeper: ``python -I -S .../host/__main__.py STORE``, hence it finds its package by itself."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from wattle_jupyter.host.daemon import main

    sys.exit(main(sys.argv[1:]))
