"""The one shape that nearly every webhook has, read at a glance; whatever is not quite like it is left to aiohttp.

A request, a payload, a writer and a task for every message cost more than all that the gate does. What is read here is
read strictly: one length, no transfer coding, nothing that proxies could understand otherwise.
"""

import re
from typing import Final, NamedTuple

HEAD_MAX: Final = 4 << 10
BODY_MAX: Final = 64 << 10

_HEAD: Final = re.compile(rb"POST (/webhook[!-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[\t -~]*\r\n)*)\r\n")
_TELLING: Final = re.compile(
    rb"^(content-length|stripe-signature|transfer-encoding|connection|expect|upgrade|te|trailer):[\t ]*(.*?)[\t ]*\r$",
    re.IGNORECASE | re.MULTILINE,
)
_USUAL: Final = (b"connection", b"keep-alive")
_NEEDED: Final = {b"content-length", b"stripe-signature"}


class PlainRequest(NamedTuple):
    """A POST to a webhook; its body is `data[start:end]` of the bytes it was read from, once all are there."""

    path: str
    signature: str
    start: int
    end: int


def read(data: bytes) -> PlainRequest | None:
    """The request that `data` begins with; None where it is of any other shape, or its head is not all there."""
    head = _HEAD.match(data, 0, HEAD_MAX)
    if head is None:
        return None
    path, lines = head.groups()
    told = [(name.lower(), value) for name, value in _TELLING.findall(lines)]
    told = [one for one in told if one != _USUAL]
    fields = dict(told)
    length = fields.get(b"content-length", b"")
    if len(told) != len(_NEEDED) or fields.keys() != _NEEDED or not length.isdigit() or int(length) > BODY_MAX:
        return None
    start = head.end()
    return PlainRequest(path.decode(), fields[b"stripe-signature"].decode(), start, start + int(length))
