"""A store lies on a disk of this machine, or it is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import ServerProcess, until

from wattle_jupyter import filesystem, owner, places
from wattle_jupyter.errors import ServerNotFound

Make = Callable[..., Any]

MOUNTS = r"""22 1 0:21 / / rw,relatime - ext4 /dev/sda rw
23 22 0:22 / /home rw,relatime shared:2 - nfs4 server:/home rw
24 23 0:23 / /home/my\040disk rw - xfs /dev/sdb rw
25 22 0:24 / /srv rw - ext4 /dev/sdc rw
26 25 0:25 / /srv rw - fuse.new none rw
"""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What this test process believes to be mounted."""
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    monkeypatch.setattr(filesystem, "MOUNTS", path)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/ann/store", "nfs4"),
        ("/home/my disk/a", "xfs"),
        ("/opt", "ext4"),
        ("/home/my", "nfs4"),
        ("/srv/a", "fuse.new"),
    ],
)
def test_a_folder_is_where_the_last_and_longest_mount_says(mounts: Path, path: str, kind: str) -> None:
    assert filesystem.kind(Path(path)) == kind


def test_where_nobody_tells_nothing_is_refused(tmp_path: Path) -> None:
    assert filesystem.kind(Path("/"), tmp_path / "none") == ""


def test_a_shared_or_unknown_file_system_is_refused_with_the_cure_unless_the_user_vouches(mounts: Path) -> None:
    assert filesystem.refusal(Path("/opt/s")) == ""
    said = filesystem.refusal(Path("/home/ann/s"))
    assert said.startswith("the store /home/ann/s lies on nfs4, which other machines may use as well: locks may not")
    assert "set WATTLE_STORE__DIR to a folder on a disk of this machine" in said
    assert "which is not known to be a local disk" in filesystem.refusal(Path("/srv/s"))
    assert filesystem.refusal(Path("/srv/s"), places.vouched({"WATTLE_STORE__LOCAL_TYPES": "x, fuse.new"})) == ""


def test_the_default_store_moves_to_a_local_disk_and_says_so(mounts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = {"HOME": "/home/ann"}
    choice = places.configured(home)
    assert choice.folder.parent == Path("/var/tmp")
    assert choice.folder == places.configured(home).folder
    assert choice.folder != places.configured({"HOME": "/home/bob"}).folder
    assert "on this machine alone, because /home/ann/.local/share/jupyter/wattle lies on nfs4" in choice.note
    assert places.configured({"HOME": "/opt/ann"}).note == ""
    assert places.configured({**home, "WATTLE_STORE__DIR": "/home/x"}).folder == Path("/home/x")
    monkeypatch.setattr(filesystem, "_PLACES", (Path("/srv"),))
    assert str(places.configured(home).folder).startswith("/home/ann"), "refused by whoever opens it"


def test_a_folder_of_somebody_else_where_all_may_write_is_not_taken(mounts: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert filesystem._can_be_ours(tmp_path / "one")
    assert filesystem._can_be_ours(tmp_path / "none")
    assert not filesystem._can_be_ours(tmp_path / "two")
    (tmp_path / "one").chmod(0o777)
    assert not filesystem._can_be_ours(tmp_path / "one")
    assert not filesystem._can_be_ours(mounts)


def test_a_kernel_starts_no_engine_on_a_store_that_is_refused(mounts: Path) -> None:
    with pytest.raises(ServerNotFound, match=r"^The store /home/ann/s lies on nfs4"):
        owner.find(Path("/home/ann/s"))


PRETEND = """
import pathlib
from wattle_jupyter import filesystem
filesystem.MOUNTS = pathlib.Path({mounts!r})
"""


def pretend(folder: Path, place: Path) -> dict[str, str]:
    """An environment in which a server believes that ``place`` is mounted by NFS."""
    (folder / "mounts").write_text(f"22 1 0:21 / / rw - ext4 /dev/sda rw\n23 22 0:22 / {place} rw - nfs4 a:/ rw\n")
    (folder / "sitecustomize.py").write_text(PRETEND.format(mounts=str(folder / "mounts")))
    return {"PYTHONPATH": str(folder)}


def test_a_server_refuses_a_store_that_was_asked_for_on_nfs(make_server: Make, tmp_path: Path) -> None:
    server: ServerProcess = make_server()
    server.launch(wait=False, **pretend(tmp_path, server.store.parent))
    until(server.listening)
    message = until(lambda: "nfs4" in (m := server.request("POST", "runs", {"workflow": "w"})[1]["message"]) and m)
    assert message.startswith(f"the store {server.store} lies on nfs4, which other machines may use as well")
    assert not server.store.exists()


def test_a_server_without_a_wish_keeps_its_store_on_a_local_disk(
    make_server: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: ServerProcess = make_server()
    server.home.mkdir()
    environ = pretend(tmp_path, server.home)
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "mounts")
    chosen = places.configured({"HOME": str(server.home), "JUPYTER_DATA_DIR": str(server.home / "data")}).folder
    server.store = chosen  # what is left in it is ended with the test
    server.launch(config='c.WattleApp.store_dir = ""', **environ)
    try:
        assert (chosen / "wattle.db").exists()
        assert f"the store is {chosen}, on this machine alone" in server.said()
        assert server.end() == 0
    finally:
        shutil.rmtree(chosen)
