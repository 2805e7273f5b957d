"""Files are on the disk, whole and under their names, when a write returns."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pharmonia.base.errors import InputError
from pharmonia.run.files import make_durably, write_private, write_whole


class Disk:
    """What is synced, in order: inode, and what the path held at that moment."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[tuple[int, bytes | None]] = []
        self.refuses: dict[int, int] = {}  # error number by inode

        def watched(descriptor: int) -> None:
            inode = os.fstat(descriptor).st_ino
            if inode in self.refuses:
                raise OSError(self.refuses[inode], os.strerror(self.refuses[inode]))
            self.synced.append((inode, path.read_bytes() if path.exists() else None))

        monkeypatch.setattr(os, "fsync", watched)


@pytest.mark.parametrize("write", [write_whole, write_private])
def test_a_file_is_synced_before_it_takes_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    disk = Disk(path, monkeypatch)
    write(path, b"new")
    assert disk.synced == [(path.stat().st_ino, b"old"), (tmp_path.stat().st_ino, b"new")]


def test_folders_that_are_made_on_the_way_are_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one" / "two" / "file"
    disk = Disk(path, monkeypatch)
    write_whole(path, b"new")
    assert {tmp_path.stat().st_ino, (tmp_path / "one").stat().st_ino} <= {inode for inode, _ in disk.synced[:2]}
    assert disk.synced[-1] == (path.parent.stat().st_ino, b"new")


def test_an_empty_file_is_made_with_every_folder_on_its_way_whoever_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one" / "two" / "file"
    path.parent.mkdir(parents=True)
    disk = Disk(path, monkeypatch)
    make_durably(path)
    assert {folder.stat().st_ino for folder in path.parents} == {inode for inode, _ in disk.synced}
    assert {content for _, content in disk.synced} == {b""}
    path.write_bytes(b"kept")
    make_durably(path)
    assert path.read_bytes() == b"kept"


def test_a_folder_whose_names_cannot_be_synced_on_its_file_system_is_no_error_but_a_failing_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    disk = Disk(path, monkeypatch)
    disk.refuses[tmp_path.stat().st_ino] = errno.EINVAL
    write_whole(path, b"new")
    make_durably(path)
    disk.refuses[tmp_path.stat().st_ino] = errno.EIO
    with pytest.raises(InputError, match="cannot write"):
        write_whole(path, b"newer")
    with pytest.raises(InputError, match="cannot write"):
        make_durably(path)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
