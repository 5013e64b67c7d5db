"""The one shape that nearly every webhook has, read at a glance; whatever is not quite like it is left to aiohttp.

A request, a payload, a writer and a task for every message cost more than all that the gate does. What is read here is
read strictly: one length, no transfer coding, nothing that proxies could understand otherwise.
"""

import re
from typing import Final, NamedTuple

HEAD_MAX: Final = 4 << 10
BODY_MAX: Final = 64 << 10

# Possessive throughout: a head that is not plain is given up at once, in time that grows with its length and no faster.
_OTHERS: Final = rb"""(?:
    (?!(?i: content-length|stripe-signature|connection|transfer-encoding|expect|upgrade|te|trailer ):)
        [A-Za-z0-9-]++:[\t\x20-~]*+\r\n
    | (?i:connection):[\t\x20]*+keep-alive[\t\x20]*+\r\n
)*+"""
_LENGTH: Final = rb"(?i:content-length):[\t\x20]*+([0-9]{1,5})[\t\x20]*+\r\n"
_SIGNATURE: Final = rb"(?i:stripe-signature):([\t\x20-~]++)\r\n"
_HEAD: Final = re.compile(
    rb"POST\x20(/webhook[!-~]*+)\x20HTTP/1\.1\r\n"
    + _OTHERS
    + rb"(?:%b%b%b|%b%b%b)" % (_SIGNATURE, _OTHERS, _LENGTH, _LENGTH, _OTHERS, _SIGNATURE)
    + _OTHERS
    + rb"\r\n",
    re.VERBOSE,
)


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
    path, signature, length, length_first, signature_last = head.groups()
    start, size = head.end(), int(length or length_first)
    if size > BODY_MAX:
        return None
    return PlainRequest(path.decode(), (signature or signature_last).strip().decode(), start, start + size)
