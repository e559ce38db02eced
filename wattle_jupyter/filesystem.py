"""Which file system holds a folder, and is it known to be on a disk of this machine? Stdlib only: kernels import this.

Elsewhere locks may not hold, and two machines could open one database: SQLite is not safe there, nor is "started once".
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection
from pathlib import Path

LOCAL = frozenset(
    {
        "apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "fuse.fuse-overlayfs", "hfs", "jfs", "nilfs2",
        "overlay", "ramfs", "reiserfs", "tmpfs", "ufs", "xfs", "zfs",
    }
)  # fmt: skip
"""File systems that are known to be local."""

MOUNTS = Path("/proc/self/mountinfo")

_SHARED = {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
_SHARED |= {"fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.ceph", "virtiofs"}
_PLACES = (Path("/var/tmp"), Path("/tmp"))  # noqa: S108  whose they are is looked at
_ESCAPED = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def kind(path: Path, mounts: Path | None = None) -> str:
    """Kind of the file system that holds ``path``; empty if this platform does not tell."""
    try:
        lines = [line.split() for line in (mounts or MOUNTS).read_text(errors="replace").splitlines()]
        inside = path.resolve()
    except (OSError, RuntimeError):
        return ""
    points = {Path(_plain(words[4])): words[words.index("-") + 1] for words in lines}  # what was mounted last counts
    return next((points[folder] for folder in (inside, *inside.parents) if folder in points), "")


def _plain(text: str) -> str:
    for code, character in _ESCAPED.items():
        text = text.replace(code, character)
    return text


def is_local(path: Path, vouched: Collection[str] = ()) -> bool:
    """Also where nobody can tell, and where the user vouches for that kind of file system."""
    found = kind(path)
    return not found or found in LOCAL or found in vouched


def about(found: str) -> str:
    """In words, why a file system is not to be trusted with a store."""
    shared = "which other machines may use as well" if found in _SHARED else "which is not known to be a local disk"
    return f"{found}, {shared}: locks may not hold there, and a task could run twice"


def refusal(path: Path, vouched: Collection[str] = ()) -> str:
    """Why no store may be at ``path``, with the cure; empty if it may."""
    if is_local(path, vouched):
        return ""
    found = kind(path)
    cure = "set WATTLE_STORE__DIR to a folder on a disk of this machine"
    vouch = f'or, if it is on such a disk, say so: [store] local_types = "{found}" (WATTLE_STORE__LOCAL_TYPES)'
    return f"the store {path} lies on {about(found)}; {cure}, {vouch}"


def local_folder(instead_of: Path) -> Path | None:
    """A folder on a disk of this machine for what cannot be at this path, always the same one. None if there is none.

    It is private or it is not taken: everybody may write where it lies.
    """
    name = f"wattle-{os.getuid()}-{hashlib.blake2b(os.fsencode(instead_of), digest_size=4).hexdigest()}"
    return next((place / name for place in _PLACES if is_local(place) and _can_be_ours(place / name)), None)


def _can_be_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return os.access(path.parent, os.W_OK | os.X_OK)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
