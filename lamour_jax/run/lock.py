"""A run's folder has one owner at a time: a lock that ends with the process that holds it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path

from lamour_jax.errors import UserError

NAME = ".lock"
# Of a file system without locks: the folder is used without.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)

# Open files by the folders that this process holds.
_held: dict[Path, int] = {}


def take(folder: Path) -> None:
    """Takes a folder for this process until `release`, or until the process ends in any way.

    Raises:
        UserError: another process has it.
        OSError: nothing can be written there.
    """
    folder = folder.resolve()
    if folder in _held:
        return
    file = folder / NAME
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                os.close(descriptor)
                return
            owner = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            raise UserError(
                f"the folder {folder} is in use by {owner or 'another process'}; wait for it, or "
                "give --out a new folder (nothing was changed)"
            ) from None
        # Its last owner may have deleted the file just before it was locked.
        if file.exists() and os.fstat(descriptor).st_ino == file.stat().st_ino:
            break
        os.close(descriptor)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    _held[folder] = descriptor


def release(folder: Path) -> None:
    """Gives up a folder; nothing happens if this process does not have it."""
    descriptor = _held.pop(folder.resolve(), None)
    if descriptor is not None:
        (folder / NAME).unlink(missing_ok=True)
        os.close(descriptor)
