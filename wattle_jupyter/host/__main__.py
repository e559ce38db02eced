"""Entry of the keeper: ``python -I -S .../host/__main__.py STORE``, hence it finds its package by itself."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from wattle_jupyter.host.daemon import main

    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # who waits for this end need not wait until the interpreter is taken apart
