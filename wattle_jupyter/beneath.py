"""Files of the store, opened so that no link leads out of it, whoever exchanges folders meanwhile."""

from __future__ import annotations

import os
import stat

from wattle_jupyter.errors import InvalidRequest

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_beneath(root: str | os.PathLike[str], *names: str) -> int | None:
    """A descriptor to read the file ``names`` below the folder ``root``; None for what is no regular file.

    Each name is looked up in the folder that was opened before it and no link is followed, so a check cannot be
    outrun. InvalidRequest for what is not one plain name; OSError as the system says (ELOOP, ENOTDIR for a link).
    """
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise InvalidRequest(f"{name[:80]!r} is no name of a file")
    folder = os.open(root, _FOLDER)
    try:
        for name in names[:-1]:
            inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        found = os.open(names[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        return None
    return found
