"""How values become bytes and bytes become values again: typed, and never by pickle.

    codec_for(Profile)          pydantic models, dataclasses, TypedDicts, unions, list[...]: JSON, checked when read
    codec_for(SomeStruct)       msgspec Structs: MessagePack, if msgspec is installed
    codec_for(bytes)            as they are

A codec of your own has the two methods of `Codec`: `Cache(url, codec=...)` uses it for everything. Stores in memory
keep objects as they are and do not use it, unless they are bounded by bytes.
"""

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, Protocol

from pydantic import PydanticUserError, TypeAdapter
from pydantic_core import PydanticSerializationError

from archstone.cache.errors import CacheConfigError, UncacheableError

__all__ = ["BYTES", "BytesCodec", "Codec", "TypedCodec", "codec_for"]


class Codec(Protocol):
    """Turns values into bytes and back. Both raise whatever they like; what cannot be decoded counts as absent."""

    def encode(self, value: Any, /) -> bytes:
        """Return the bytes of `value`."""
        ...

    def decode(self, encoded: bytes, /) -> Any:
        """Return the value of bytes that `encode` made, maybe in an earlier release of the program."""
        ...


class BytesCodec:
    """Bytes as they are."""

    def encode(self, value: Any, /) -> bytes:
        """Return `value`; anything but bytes raises UncacheableError."""
        if not isinstance(value, bytes):
            raise UncacheableError(f"a value of type {type(value).__name__}", "is no bytes, and the codec takes bytes")
        return value

    def decode(self, encoded: bytes, /) -> bytes:
        """Return `encoded`."""
        return encoded


BYTES: Final = BytesCodec()


class TypedCodec:
    """JSON of one type by pydantic: what does not fit the type any more counts as absent."""

    __slots__ = ("_adapter", "_name")

    def __init__(self, kind: Any) -> None:
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(kind)
        except PydanticUserError as error:
            fault = "pydantic cannot read and write it: give the cache a codec of your own"
            raise CacheConfigError(repr(kind), fault) from error
        self._name = getattr(kind, "__name__", repr(kind))

    def encode(self, value: Any, /) -> bytes:
        """Return JSON. UncacheableError where `value` is not of the type."""
        try:
            return self._adapter.dump_json(value, warnings="error")
        except PydanticSerializationError as error:
            fault = f"does not fit {self._name}, as which it was to be kept: {error}"
            raise UncacheableError(f"a value of type {type(value).__name__}", fault) from error

    def decode(self, encoded: bytes, /) -> Any:
        """Return the value; pydantic's ValidationError if it does not fit."""
        return self._adapter.validate_json(encoded)


class _MsgspecCodec:
    """MessagePack of one msgspec type."""

    __slots__ = ("_decode", "_encode")

    def __init__(self, kind: Any) -> None:
        msgpack: Any = import_module("msgspec.msgpack")  # there if and only if the type is one of its own

        self._encode: Callable[[Any], bytes] = msgpack.Encoder().encode
        self._decode: Callable[[bytes], Any] = msgpack.Decoder(kind).decode

    def encode(self, value: Any, /) -> bytes:
        return self._encode(value)

    def decode(self, encoded: bytes, /) -> Any:
        return self._decode(encoded)


@lru_cache(maxsize=1000)
def codec_for(kind: Any) -> Codec:
    """Return the codec of a type, made once.

    Raises:
        CacheConfigError: Neither pydantic nor msgspec knows the type.
    """
    if kind is bytes:
        return BYTES
    if hasattr(kind, "__struct_fields__"):
        return _MsgspecCodec(kind)
    return TypedCodec(kind)
