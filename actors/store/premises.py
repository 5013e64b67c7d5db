"""What stands beside the database: the lock that makes this the only daemon, room for bad times, and copies."""

import errno
import fcntl
import os
import sqlite3
from contextlib import suppress
from functools import partial
from pathlib import Path

from config.errors import UserError

DATABASE = "nightdesk.db"
LOCK = "nightdesk.lock"
BALLAST = "ballast"

_HARDLY_ANY = 1 << 20

_SHARE_OF_FREE = 4
"""On a small disk the ballast takes at most this part (1/n) of what is free."""


class DataDirLock:
    """Held by the one process that may write here; the system releases it when that process ends, however it ends."""

    def __init__(self, data_dir: Path) -> None:
        """Raises UserError if the directory cannot be used, or another process holds it."""
        try:
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UserError(f"{data_dir}: the data directory cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise UserError(f"{data_dir}: in use by another nightdesk (pid {holder}); stop it first") from None
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            # A full disk must not keep the daemon from starting: the lock holds without the name of its holder.
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise

    def release(self) -> None:
        """Let others in. The file stays: removing it would let two processes lock two files of one name."""
        os.close(self._file)


class Ballast:
    """Room on the disk, given up when the disk is full: SQLite cannot even delete rows without some."""

    def __init__(self, data_dir: Path, wanted: int) -> None:
        self._path = data_dir / BALLAST
        self._wanted = wanted
        self._held = self._path.stat().st_size if self._path.exists() else 0
        self._lost = 0

    @property
    def missing(self) -> bool:
        """It was given up and there is not yet room for it again."""
        return self._lost > 0

    def fill(self) -> None:
        """Take as much room as is wanted, on a small disk less; nothing while it is missing."""
        if self._lost:
            return
        size = min(self._wanted, (self._free() + self._held) // _SHARE_OF_FREE)
        if size > self._held and self._allocate(size):
            self._held = size

    def give_up(self) -> None:
        """Make its room free."""
        self._path.unlink(missing_ok=True)
        self._lost, self._held = self._lost or self._held, 0

    def relieve(self) -> None:
        """Give it up if there is hardly any other room: without some, SQLite cannot even open a database."""
        if self._held and self._free() < _HARDLY_ANY:
            self.give_up()

    def recover(self) -> bool:
        """False as long as there is not room for it and as much again beside it; then `fill` takes it."""
        if self._lost and self._free() >= 2 * self._lost:
            self._lost = 0
        return not self._lost

    def _free(self) -> int:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize

    def _allocate(self, size: int) -> bool:
        try:
            with open(self._path, "ab", opener=partial(os.open, mode=0o600)) as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError:
            return False
        return True


def files_of(database: Path) -> list[tuple[int, int] | None]:
    """Which files bear the names of a database and its WAL: device and inode, or None."""
    found: list[tuple[int, int] | None] = []
    for path in (database, database.with_name(f"{database.name}-wal")):
        try:
            file = path.stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((file.st_dev, file.st_ino))
    return found


def copy_into(connection: sqlite3.Connection, target: Path) -> int:
    """Write a consistent, durable copy; returns its size in bytes. `target` appears whole or not at all."""
    unfinished = target.with_name(f".{target.name}.partial")
    try:
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection.execute("PRAGMA query_only = OFF")  # only the copy is written, but SQLite does not look that closely
        connection.execute("VACUUM INTO ?", (str(unfinished),))
        sync(unfinished)
        unfinished.rename(target)
        sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        what = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{target}: the backup could not be written: {what}") from error
    return target.stat().st_size


def sync(path: Path) -> None:
    """Return when a file or directory is on the disk."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
