"""Which file a URL names, and whether a database may lie there."""

from pathlib import Path
from typing import Final

from archstone.data.errors import NetworkFileSystemError, UnknownEngineError

__all__ = ["path_of", "refuse_network_disk"]

_NETWORK: Final = frozenset(
    {"afs", "autofs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"orangefs", "smb3", "smbfs", "fuse.ceph", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone"}
    | {"fuse.s3fs", "fuse.sshfs"}
)


def path_of(url: str) -> Path:
    """Return the file of `sqlite:///relative` or `sqlite:////absolute`.

    Raises:
        UnknownEngineError: The URL has a host, a query, or no path.
    """
    prefix = "sqlite:///"
    if not url.startswith(prefix) or len(url) == len(prefix):
        raise UnknownEngineError(url, "a file is sqlite:///name.db (relative) or sqlite:////folder/name.db (absolute)")
    if "?" in url:
        raise UnknownEngineError(url, "takes no query; settings are arguments of Database")
    return Path(url[len(prefix) :])


def refuse_network_disk(file: Path, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Raise NetworkFileSystemError if `file` lies on one, as far as the system tells (Linux: mountinfo).

    SQLite's log needs shared memory and honest locks; neither holds between machines.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return  # not Linux: nothing to ask
    kind = _kind_of(file.resolve(), lines)
    if kind in _NETWORK:
        raise NetworkFileSystemError(str(file), kind)


def _kind_of(file: Path, lines: list[str]) -> str:
    best, kind, name = -1, "", f"{file}/"
    for line in lines:
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5 or not right:
            continue
        point = fields[4].replace("\\040", " ")
        # Later lines cover earlier ones on the same point, so >= and not >.
        if name.startswith(f"{point.rstrip('/')}/") and len(point) >= best:
            best, kind = len(point), right.split(" ")[0]
    return kind
