"""Backup and restore of a data folder: one file, every database as of one instant.

All writers pause for the time of pinning a snapshot in each database (microseconds), then go on while the pinned
snapshots are copied. Files beside the databases (keys, mail) are copied afterwards: they are only ever added, and
whatever they hold too much is recognised again by its name. The backup holds the signing keys: guard it as the folder.
"""

import asyncio
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from archstone import world
from archstone.data import Database, Pin
from archstone.errors import ConfigError
from archstone.runtime.folder import FORMAT, owner_of

__all__ = ["BackupError", "BackupInfo", "back_up", "restore"]

LEFT_OUT: Final = frozenset({"owner", "control.sock"})
MANIFEST: Final = "manifest.json"


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
        BackupError: the target exists or its folder does not.
    """
    if target.exists() or not target.parent.is_dir():
        raise BackupError(f"backup file {target}: it exists already or its folder does not; name a new file")
    with tempfile.TemporaryDirectory(prefix="backup-", dir=target.parent) as aside:
        room = Path(aside)
        taken_at_us = await _copy_databases(databases, room)
        info = await asyncio.to_thread(_pack, folder, room, system, taken_at_us, {f"{n}.db" for n in databases})
        _publish(room / "packed", target)
    return info


async def _copy_databases(databases: Mapping[str, Database], room: Path) -> int:
    async with AsyncExitStack() as pins:
        pinned: dict[str, Pin] = {}
        async with AsyncExitStack() as pauses:
            for name in sorted(databases):
                await pauses.enter_async_context(databases[name].paused())
            taken_at_us = world.now_us()
            for name, database in databases.items():
                pinned[name] = await database.pin()
                pins.push_async_callback(pinned[name].release)
        for name, pin in pinned.items():
            await pin.copy_to(room / f"{name}.db")
    return taken_at_us


def _pack(folder: Path, room: Path, system: str, taken_at_us: int, databases: set[str]) -> BackupInfo:
    for source in sorted(folder.rglob("*")):
        name = source.relative_to(folder)
        if source.is_file() and not _belongs_to_a_database(str(name), databases):
            (room / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, room / name)
    names = sorted(str(path.relative_to(room)) for path in room.rglob("*") if path.is_file())
    files = {name: _digest(room / name) for name in names}
    manifest = {"format": FORMAT, "system": system, "taken_at_us": taken_at_us, "files": files}
    (room / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    packed = room / "packed"
    with tarfile.open(packed, "w:gz", compresslevel=1) as archive:
        for name in [MANIFEST, *names]:
            archive.add(room / name, arcname=name)
    return BackupInfo(system, taken_at_us, files, packed.stat().st_size)


def _belongs_to_a_database(name: str, databases: set[str]) -> bool:
    stem = name.removesuffix("-wal").removesuffix("-shm").removesuffix(".lock")
    return name in LEFT_OUT or stem in databases or name.endswith(("-wal", "-shm", ".lock", ".new"))


def _publish(packed: Path, target: Path) -> None:
    fd = os.open(packed, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(fd, 0o600)
        os.fsync(fd)
    finally:
        os.close(fd)
    packed.rename(target)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def restore(source: Path, folder: Path, system: str, *, replace: bool = False) -> BackupInfo:
    """Make `folder` what it was when the backup was taken.

    The folder is built aside, checked against the manifest and moved into place whole.

    Raises:
        BackupError: the file is no backup of this system, is damaged, or the folder holds data (and not `replace`),
            or a process runs on it.
    """
    if (owner := owner_of(folder)) is not None:
        raise BackupError(f"data folder {folder} is in use by process {owner[1]}: stop it before restoring")
    if not replace and folder.exists() and any(folder.iterdir()):
        raise BackupError(f"data folder {folder} is not empty: name another with --data, or replace it with --fresh")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="restore-", dir=folder.parent) as aside:
        room = Path(aside) / "folder"
        info = _unpack(source, room, system)
        if folder.exists():
            folder.rename(Path(aside) / "replaced")
        room.rename(folder)
    return info


def _unpack(source: Path, room: Path, system: str) -> BackupInfo:
    try:
        with tarfile.open(source, "r:gz") as archive:
            archive.extractall(room, filter="data")
        manifest = json.loads((room / MANIFEST).read_text(encoding="utf-8"))
        info = BackupInfo(manifest["system"], manifest["taken_at_us"], dict(manifest["files"]), source.stat().st_size)
    except (OSError, tarfile.TarError, ValueError, KeyError, EOFError) as error:
        raise BackupError(f"{source} is not a backup that can be read: {error}") from error
    if info.system != system:
        raise BackupError(f"{source} is a backup of system {info.system!r}, not of {system!r}")
    damaged = [name for name, digest in info.files.items() if not _sound(room / name, digest)]
    if damaged:
        raise BackupError(f"{source} is damaged: {', '.join(damaged)} do not match the manifest")
    (room / MANIFEST).unlink()
    return info


def _sound(path: Path, digest: str) -> bool:
    return path.is_file() and _digest(path) == digest
