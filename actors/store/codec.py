"""How an event is written down: its projection and its body as one raw deflate stream, primed with a dictionary.

The body continues the stream of the projection, so what both say is kept once: both together cost hardly more bytes
and time than the body alone. A projection can be read without its body, a body only after its projection.
"""

import zlib
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from actors.store.records import Json

DICTIONARY = 1
"""The version new entries are written with. Files of older versions stay: old entries are read with them."""

_WINDOW_BITS = -13  # raw, 8 KB: its state is copied for every entry, and a larger one saves less than the copy costs
_WINDOW_BITS_MAX = -14  # what has been written with, ever
_MEMORY_LEVEL = 4
_LEVEL = 2  # smaller than 1 and no slower on texts as short as these


@cache
def _dictionary(version: int) -> bytes:
    return files("actors.store").joinpath("dictionaries", f"{version}.jsonl").read_bytes()


@cache
def _primed() -> Any:
    """Copied for every entry: five times cheaper than priming a new compressor."""
    return zlib.compressobj(
        _LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, _dictionary(DICTIONARY)
    )


def pack(data: Json, body: bytes | None) -> tuple[bytes, bytes | None]:
    """Projection and body as they are stored. Raises TypeError if `data` is not JSON."""
    stream = _primed().copy()
    projection = stream.compress(orjson.dumps(data))
    if body is None:
        return projection + stream.flush(), None
    projection += stream.flush(zlib.Z_SYNC_FLUSH)
    return projection, stream.compress(body) + stream.flush()


class Damaged(Exception):
    """What is on disk is not what was written there."""


def unpack(packed: bytes, dictionary: int) -> dict[str, Any]:
    """The projection. Raises Damaged."""
    try:
        data = orjson.loads(_reader(dictionary).decompress(packed))
    except (ValueError, TypeError, OSError, zlib.error) as error:
        raise Damaged(f"its data cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise Damaged(f"its data is a {type(data).__name__}")
    return data


def unpack_body(packed: bytes, body: bytes, dictionary: int) -> bytes:
    """The archived body that belongs to the projection `packed`."""
    stream = _reader(dictionary)
    stream.decompress(packed)
    text: bytes = stream.decompress(body)
    return text


def _reader(dictionary: int) -> Any:
    return zlib.decompressobj(_WINDOW_BITS_MAX, _dictionary(dictionary))
