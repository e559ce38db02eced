"""What keeps the keeper from its work for a while: it waits, says why, and goes on by itself."""

from __future__ import annotations

import errno

PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EROFS}
)
"""Errors of the machine, not of a task: the same thing may succeed later."""


def passes(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in PASSING


class Trouble:
    """By what has it. ``text`` is the oldest that is not over, ``""`` if there is none."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._told = ""

    def set(self, of: str, why: str) -> None:
        self._of[of] = why

    def over(self, of: str) -> None:
        self._of.pop(of, None)

    @property
    def text(self) -> str:
        return next(iter(self._of.values()), "")

    def news(self) -> bool:
        """Is it another one than at the last call?"""
        told, self._told = self._told, self.text
        return told != self._told
