"""A host of pictures on the loopback, with every fault that hosts have. It counts what it is asked for.

It runs in a thread of its own, so that a shop in this process or in another one may ask it.
"""

import gzip
import io
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

Write = Callable[[bytes], object]
SLOW_S = 30.0


def picture(
    format: str = "JPEG", size: tuple[int, int] = (800, 600), colour: str = "#3f8f78", text: str = "", **options: object
) -> bytes:
    """Return a file with something to see in it."""
    image = Image.new("RGB", size, colour)
    draw = ImageDraw.Draw(image)
    width, height = size
    draw.ellipse((width * 0.2, height * 0.15, width * 0.8, height * 0.85), fill="#fffaf1")
    draw.text((width * 0.3, height * 0.4), text, fill="#23211d", font_size=height // 6)
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG that says it has so many pixels, and has them: rows of nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(9)
    row = b"\0" * (1 + width)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def answer(body: bytes, kind: str = "image/jpeg", *, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode() + body


def redirect(to: str, status: str = "302 Found") -> bytes:
    return f"HTTP/1.1 {status}\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@dataclass
class ImageHost:
    """Answers by path; every path without a fault is a picture that shows its name."""

    sock: socket.socket
    asked: Counter[str] = field(default_factory=Counter)
    heads: list[str] = field(default_factory=list)
    dead: bool = False
    """Whether it hangs up at once."""
    delay_s: float = 0.0
    most_at_once: int = 0
    tls: ssl.SSLContext | None = None
    _inside: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http{'s' if self.tls else ''}://{self.authority}{path}"

    def serve(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def _one(self, connection: socket.socket) -> None:
        connection.settimeout(SLOW_S)
        with suppress(OSError), connection:
            if self.tls is None:
                self._serve(connection)
            else:
                with self.tls.wrap_socket(connection, server_side=True) as secured:
                    self._serve(secured)

    def _serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := connection.recv(4096)):
                return
            head += data
        text = head.decode("latin-1")
        path = text.split(" ")[1]
        with self._lock:
            self.asked[path] += 1
            self.heads.append(text)
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)
        try:
            if not self.dead:
                self._ended.wait(self.delay_s)
                self._tell(path, connection)
        finally:
            with self._lock:
                self._inside -= 1

    def _tell(self, path: str, connection: socket.socket) -> None:  # noqa: C901, PLR0912, PLR0915 - a table of faults
        write = connection.sendall
        body = picture(text=path.strip("/"))
        match path.strip("/").partition("/"):
            case "slow", _, _:
                self._ended.wait(SLOW_S)
            case "trickle", _, _:
                write(answer(b"", length=100_000))
                for byte in body:
                    write(bytes([byte]))
                    if self._ended.wait(0.05):
                        return
            case "endless", _, _:
                write(b"HTTP/1.1 200 OK\r\n\r\n" + body[:100])
                while not self._ended.is_set():
                    write(b"\0" * 65_536)
            case "endless-head", _, _:
                write(b"HTTP/1.1 200 OK\r\n")
                while not self._ended.is_set():
                    write(b"X-More: " + b"x" * 1000 + b"\r\n")
            case "endless-chunks", _, _:
                write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while not self._ended.is_set():
                    write(b"1;" + b"x" * 10_000 + b"\r\n\0\r\n")
            case "claims-much", _, _:
                write(answer(body, length=10_000_000_000))
            case "claims-little", _, _:
                write(answer(body, length=len(body) // 2))
            case "cut", _, _:
                write(answer(body[: len(body) // 2], length=len(body)))
            case "reset", _, _:
                write(answer(body[:50], length=len(body)))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "until-end", _, _:
                write(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + body)
            case "chunked", _, _:
                write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for start in range(0, len(body), 1000):
                    part = body[start : start + 1000]
                    write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                write(b"0\r\n\r\n")
            case "gzip", _, _:
                packed = gzip.compress(body)
                write(answer(packed).replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1))
            case "to", _, rest:
                write(redirect(rest))
            case "loop", _, _:
                write(redirect("/loop"))
            case "hops", _, left:
                write(redirect(f"/hops/{int(left) - 1}") if int(left) else answer(body))
            case "missing", _, _:
                write(answer(body, status="404 Not Found"))
            case "nonsense", _, _:
                write(b"SSH-2.0-OpenSSH_9.2\r\n" * 10)
            case "html", _, _:
                write(answer(b"<!doctype html><title>no</title>", kind="image/png"))
            case "svg", _, _:
                write(answer(b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', kind="image/svg+xml"))
            case "jpeg-as-text", _, _:
                write(answer(body, kind="text/plain"))
            case "truncated", _, _:
                write(answer(body[: len(body) // 2]))
            case "bomb", _, _:
                write(answer(bomb(8_000, 8_000), kind="image/png"))
            case _:
                write(answer(body))


@contextmanager
def image_host(*, tls: ssl.SSLContext | None = None) -> Iterator[ImageHost]:
    """Run a host for the block."""
    sock = socket.create_server(("127.0.0.1", 0))
    host = ImageHost(sock, tls=tls)
    thread = threading.Thread(target=host.serve, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.close()
        thread.join(5)


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until it is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
