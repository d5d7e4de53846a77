"""Backup and restore of a data folder: one file, every database as of one instant.

All writers pause for the time of pinning a snapshot in each database (microseconds), then go on while the pinned
snapshots are copied. Files beside the databases (keys, mail) are those of the same instant; they never change once
they have their name, so that they can be copied afterwards. Traces are copied as they are a moment later. A folder
that says of itself that it is a cache, by a file CACHEDIR.TAG, is left out: what is in it can be made again, and may be
gone before it is copied. The backup holds the signing keys: guard it as the folder.
"""

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from archstone import disk, world
from archstone.data import Database, Pin
from archstone.errors import ConfigError
from archstone.runtime.folder import FORMAT, LOG, owner_of, refuse_strange

__all__ = ["BackupError", "BackupInfo", "back_up", "restore"]

LEFT_OUT: Final = frozenset({"owner", "control.sock", LOG, f"{LOG}.1"})
UNFINISHED: Final = ("-wal", "-shm", ".lock", ".tmp", disk.ASIDE)
"""Ends of names of files that belong to another, or are not whole yet."""
MANIFEST: Final = "manifest.json"
CACHE_TAG: Final = "CACHEDIR.TAG"
CACHE_SIGNATURE: Final = b"Signature: 8a477f597d28d172789f06886806bc55"
"""How the file begins, by which programs that back up know a cache. Source: bford.info/cachedir."""


class BackupError(ConfigError, code="runtime.backup"):
    """A backup cannot be written, or a file is no sound backup. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """What a backup holds."""

    system: str
    taken_at_us: int
    files: Mapping[str, str]
    """Name inside the folder -> SHA-256 of the content, in hex."""
    size_bytes: int


async def back_up(folder: Path, system: str, databases: Mapping[str, Database], target: Path) -> BackupInfo:
    """Write everything in `folder` to the new file `target`, the databases as of one instant.

    Cancelled or crashed midway it leaves no `target`. Writers wait only while the snapshots are pinned.

    Raises:
        BackupError: the target exists, lies in the data folder, or cannot be written; or a database is on a server.
    """
    shared = next((database.label for database in databases.values() if database.shared), None)
    if shared is not None:
        how = "pg_dump for the database, and a copy of the folder, while the system is stopped"
        raise BackupError(
            f"a part of the data is in {shared}, of which there is no copy of the same instant: take {how}"
        )
    if target.exists():
        raise BackupError(f"backup file {target} exists already: name a new file")
    if not target.parent.is_dir():
        raise BackupError(f"backup file {target}: there is no folder {target.parent}; make it, or name another")
    if target.resolve().is_relative_to(folder.resolve()):
        raise BackupError(f"backup file {target} would lie in the data folder itself: name one elsewhere")
    try:
        with tempfile.TemporaryDirectory(prefix="backup-", dir=target.parent) as aside:
            room = Path(aside)
            taken_at_us, beside = await _copy_databases(folder, databases, room)
            info = await asyncio.to_thread(_pack, folder, room, beside, BackupInfo(system, taken_at_us, {}, 0))
            _publish(room / "packed", target)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"backup file {target} cannot be written: {error}; name one elsewhere") from error
    return info


async def _copy_databases(folder: Path, databases: Mapping[str, Database], room: Path) -> tuple[int, list[Path]]:
    """Copy the databases as of one instant; return that and the names of the other files of that instant."""
    async with AsyncExitStack() as pins:
        pinned: dict[str, Pin] = {}
        async with AsyncExitStack() as pauses:
            for name in sorted(databases):
                await pauses.enter_async_context(databases[name].paused())
            taken_at_us = world.now_us()
            for name, database in databases.items():
                pinned[name] = await database.pin()
                pins.push_async_callback(pinned[name].release)
            # Now and not later: a mail that is written while we copy tells of what the copies do not know.
            beside = _beside(folder, set(databases))
        for name, pin in pinned.items():
            await pin.copy_to(room / f"{name}.db")
    return taken_at_us, beside


def _beside(folder: Path, databases: set[str]) -> list[Path]:
    names: list[Path] = []
    for room, rooms, files in os.walk(folder):
        here = Path(room)
        if here != folder and _is_cache(here):
            rooms.clear()
            continue
        names += [(here / name).relative_to(folder) for name in files if (here / name).is_file()]
    return sorted(name for name in names if not _left_out(str(name), databases))


def _is_cache(folder: Path) -> bool:
    try:
        with (folder / CACHE_TAG).open("rb") as file:
            return file.read(len(CACHE_SIGNATURE)) == CACHE_SIGNATURE
    except OSError:
        return False


def _left_out(name: str, databases: set[str]) -> bool:
    return name in LEFT_OUT or name.removesuffix(".db") in databases or name.endswith(UNFINISHED)


def _pack(folder: Path, room: Path, beside: list[Path], about: BackupInfo) -> BackupInfo:
    for name in beside:
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        if name.suffix == ".db":
            _copy_alive(folder / name, room / name)
        else:
            shutil.copy2(folder / name, room / name)
    names = sorted(str(path.relative_to(room)) for path in room.rglob("*") if path.is_file())
    files = {name: _digest(room / name) for name in names}
    manifest = {"format": FORMAT, "system": about.system, "taken_at_us": about.taken_at_us, "files": files}
    (room / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    packed = room / "packed"
    with tarfile.open(packed, "w:gz", compresslevel=1) as archive:
        for name in [MANIFEST, *names]:
            archive.add(room / name, arcname=name)
    return replace(about, files=files, size_bytes=packed.stat().st_size)


def _copy_alive(source: Path, target: Path) -> None:
    """Copy an SQLite file that is not of the instant (the traces) while somebody writes to it."""
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as reader,
        closing(sqlite3.connect(target)) as copy,
    ):
        reader.backup(copy)


def _publish(packed: Path, target: Path) -> None:
    packed.chmod(0o600)
    disk.sync_file(packed)
    packed.rename(target)
    disk.sync_folder(target.parent)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def restore(source: Path, folder: Path, system: str, *, replace: bool = False) -> BackupInfo:
    """Make `folder` what it was when the backup was taken.

    The folder is built aside, checked against the manifest, synced, and moved into place whole.

    Raises:
        BackupError: the file is no backup of this system, is damaged, or the folder holds data (and not `replace`),
            or a process runs on it.
        FolderFormatError: what is to be replaced is no data folder.
    """
    if not source.exists():
        raise BackupError(f"there is no file {source}: name one that `archstone backup` wrote")
    if (owner := owner_of(folder)) is not None:
        raise BackupError(f"data folder {folder} is in use by process {owner[1]}: stop it before restoring")
    try:
        if folder.exists() and any(folder.iterdir()):
            if not replace:
                what = "name another with --data, or replace it with --fresh"
                raise BackupError(f"data folder {folder} is not empty: {what}")
            refuse_strange(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="restore-", dir=folder.parent) as aside:
            room = Path(aside) / "folder"
            room.mkdir(mode=0o700)
            info = _unpack(source, room, system)
            _swap(room, folder)
    except OSError as error:
        raise BackupError(f"data folder {folder} cannot be written: {error}; name another with --data") from error
    return info


def _swap(room: Path, folder: Path) -> None:
    """Move `room` to where `folder` is, which is deleted last: whatever fails, one of the two is whole and named."""
    if not folder.exists():
        room.rename(folder)
        disk.sync_folder(folder.parent)
        return
    replaced = folder.with_name(f"{folder.name}.replaced-{world.new_id()}")
    folder.rename(replaced)
    try:
        room.rename(folder)
        disk.sync_folder(folder.parent)
    except BaseException:
        if not folder.exists():
            replaced.rename(folder)
        raise
    try:
        shutil.rmtree(replaced)
    except OSError as error:
        raise BackupError(f"{folder} is restored, but what it replaced is still in {replaced} ({error})") from error


def _unpack(source: Path, room: Path, system: str) -> BackupInfo:
    try:
        with tarfile.open(source, "r:gz") as archive:
            manifest = _extract(archive, room)
        info = BackupInfo(manifest["system"], manifest["taken_at_us"], dict(manifest["files"]), source.stat().st_size)
        version = int(manifest["format"])
    except (OSError, tarfile.TarError, zlib.error, ValueError, KeyError, TypeError, EOFError) as error:
        raise BackupError(f"{source} is not a backup that can be read ({error}): name another file") from error
    if info.system != system:
        raise BackupError(f"{source} is a backup of system {info.system!r}, not of {system!r}: name another file")
    if version > FORMAT:
        raise BackupError(f"{source} has format {version}, this release reads up to {FORMAT}: take a newer release")
    damaged = [name for name, digest in info.files.items() if not _sound(room / name, digest)]
    if damaged:
        raise BackupError(f"{source} is damaged: {', '.join(damaged)} do not match the manifest; take another backup")
    for path in [*room.rglob("*"), room]:
        (disk.sync_folder if path.is_dir() else disk.sync_file)(path)
    return info


def _extract(archive: tarfile.TarFile, room: Path) -> Any:
    """Write the files that the manifest names, and return it; ValueError if there is anything else in the archive.

    By hand and not with `extractall`, whose `filter` Python has since 3.11.4.
    """
    manifest: Any = None
    files: set[str] = set()
    for member in archive:
        content = archive.extractfile(member) if member.isreg() else None
        if content is None:
            raise ValueError(f"{member.name!r} is no file")
        if manifest is None:
            if member.name != MANIFEST:
                raise ValueError(f"it begins with {member.name!r} and not with {MANIFEST}")
            manifest = json.load(content)
            files = set(manifest["files"])
        elif member.name in files:
            files.remove(member.name)
            _write(room, member.name, content)
            os.utime(room / member.name, (member.mtime, member.mtime))
        else:
            raise ValueError(f"{member.name!r} is not in its manifest, or twice in the archive")
    if manifest is None:
        raise ValueError("it is empty")
    return manifest


def _write(room: Path, name: str, content: IO[bytes]) -> None:
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name!r} lies outside of the folder")
    (room / path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(room / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        shutil.copyfileobj(content, file)


def _sound(path: Path, digest: str) -> bool:
    return path.is_file() and _digest(path) == digest
