"""Disks that are small, and full when they are wanted to be: file systems in memory, where one may mount them."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def disk_full(folder: Path) -> Iterator[None]:
    """The disk of a folder holds not a byte more; for small disks."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (64 << 20, 1 << 20, 4096, 1):
                _grow(file.fileno(), size)
        yield
    finally:
        filler.unlink(missing_ok=True)


def _grow(descriptor: int, step: int) -> None:
    while True:
        try:
            os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, step)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A folder's content moves to a file system in memory of its own, and back afterwards; needs root."""
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.mkdir(mode=0o700)
    subprocess.run(
        [_tool("mount"), "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder)], check=True
    )
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield
    finally:
        shutil.rmtree(aside)
        shutil.copytree(folder, aside)
        subprocess.run([_tool("umount"), "--lazy", str(folder)], check=True)
        folder.rmdir()
        aside.rename(folder)


def _tool(name: str) -> str:
    return shutil.which(name) or name


def can_mount() -> bool:
    """Whether this user may mount file systems."""
    return os.geteuid() == 0 and shutil.which("mount") is not None and _mounts()


def _mounts() -> bool:
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    )
