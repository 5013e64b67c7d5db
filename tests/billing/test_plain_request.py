"""What is read at a glance is what aiohttp would have read; everything else is left to it."""

import asyncio
from collections.abc import Mapping

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import given
from hypothesis import strategies as st

from actors.billing.plain_request import BODY_MAX, PlainRequest, read

HEAD = b"POST /webhook/acme-token-1 HTTP/1.1\r\nHost: nightdesk\r\n"
FIELDS = b"Stripe-Signature: t=1,v1=ab\r\nContent-Length: 2\r\n"


def read_by_aiohttp(data: bytes) -> tuple[str, Mapping[str, str], bytes] | None:
    """Path, headers and body of the first request, if it is there as a whole."""
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(BaseProtocol(loop), loop, 1 << 16, auto_decompress=False)
        messages, _, _ = parser.feed_data(data)
    except HttpProcessingError:
        return None
    finally:
        loop.close()
    if not messages or not messages[0][1].is_eof():
        return None
    return messages[0][0].path, messages[0][0].headers, messages[0][1].read_nowait()


NAMES = [
    "Content-Length",
    "content-length",
    "Stripe-Signature",
    "Transfer-Encoding",
    "Connection",
    "Expect",
    "X-A",
    "TE",
]
VALUES = [
    "2",
    " 2 ",
    "02",
    "+2",
    "2,2",
    "-1",
    "0",
    "chunked",
    "keep-alive",
    "close",
    "100-continue",
    "t=1,v1=ab",
    "",
    "a\tb",
]
LINES = st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)).map(": ".join)
ENDS = st.sampled_from(["\r\n", "\n", "\r\n ", " \r\n", "\r\r\n"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=6), st.sampled_from([b"", b"{}", b"{}{}", b"2\r\n{}\r\n0\r\n\r\n"]))
def test_whatever_is_taken_is_understood_as_aiohttp_understands_it(lines: list[tuple[str, str]], rest: bytes) -> None:
    """So that no proxy and no parser can see another request in the same bytes."""
    data = HEAD + FIELDS + "".join(line + end for line, end in lines).encode() + b"\r\n" + rest
    for one in (data, data.replace(FIELDS, b"", 1)):
        found = read(one)
        if found is None or found.end > len(one):
            continue
        expected = read_by_aiohttp(one[: found.end])
        assert expected is not None
        path, headers, body = expected
        assert (found.path, found.signature, one[found.start : found.end]) == (path, headers["Stripe-Signature"], body)
        assert int(headers["Content-Length"]) == found.end - found.start


def test_a_plain_request_is_taken_also_before_its_body_is_there() -> None:
    head = HEAD + FIELDS + b"Connection: keep-alive\r\n\r\n"
    assert read(head) == PlainRequest("/webhook/acme-token-1", "t=1,v1=ab", len(head), len(head) + 2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD + FIELDS,
        HEAD + b"Content-Length: 2\r\n\r\n{}",
        HEAD + b"Stripe-Signature: t=1\r\n\r\n",
        HEAD + FIELDS + FIELDS + b"\r\n{}",
        HEAD + FIELDS + b"Content-Length: keep-alive\r\n\r\n{}",
        HEAD + FIELDS + b"Transfer-Encoding: chunked\r\n\r\n{}",
        HEAD + FIELDS + b"Connection: close\r\n\r\n{}",
        HEAD + FIELDS + b"Expect: 100-continue\r\n\r\n{}",
        HEAD + FIELDS + b" folded: yes\r\n\r\n{}",
        HEAD + FIELDS.replace(b"2", b"%d" % (BODY_MAX + 1)) + b"\r\n{}",
        (HEAD + FIELDS + b"\r\n{}").replace(b"POST", b"PUT"),
        (HEAD + FIELDS + b"\r\n{}").replace(b"HTTP/1.1", b"HTTP/1.0"),
        (HEAD + FIELDS + b"\r\n{}").replace(b"\r\n", b"\n"),
        b"GET /healthz HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_quite_plain_is_left_alone(data: bytes) -> None:
    assert read(data) is None
