"""Slow, silent, greedy and broken clients on real sockets, and a listener that ends without losing a request."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import orjson
import pytest

from actors.billing import listener
from actors.billing.listener import Listener, bind
from actors.billing.signature import sign
from actors.billing.webhook import Gate
from config.errors import UserError
from tests.billing.gatehouse import ACME, SECRET, Gatehouse, charge, gatehouse

HEAD = b"POST /webhook/acme-token-1 HTTP/1.1\r\nHost: nightdesk\r\n"


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gatehouse]:
    monkeypatch.setattr(listener, "DRAIN_S", 0.1)  # clients here leave things half sent: each end would take that long
    async with gatehouse(tmp_path) as house:
        yield house


def signed(house: Gatehouse, body: bytes) -> bytes:
    signature = sign(body, SECRET, house.clock.now()).encode()
    return HEAD + b"Stripe-Signature: %b\r\nContent-Length: %d\r\n\r\n" % (signature, len(body))


async def status_of(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head[9:12])


async def test_a_client_that_never_ends_its_headers_is_cut_off(
    house: Gatehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it sends another header now and then; and nobody else notices."""
    monkeypatch.setattr(listener, "REQUEST_S", 0.5)
    dribblers = [await house.connect() for _ in range(50)]
    for _, writer in dribblers:
        writer.write(HEAD)

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = asyncio.get_running_loop().create_task(reader.read())
        while not ended.done():
            writer.write(b"X-Slow: 1\r\n")
            await asyncio.wait({ended}, timeout=0.05)
        with suppress(ConnectionError):
            assert ended.result() == b""

    all_ended = asyncio.gather(*(dribble(*one) for one in dribblers))
    while not all_ended.done():
        assert (await house.post(charge())).status == 200
        await asyncio.wait({all_ended}, timeout=0.1)
    await all_ended


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(
    house: Gatehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "BODY_S", 0.2)
    reader, writer = await house.connect()
    writer.write(signed(house, orjson.dumps(charge())) + b'{"id"')
    assert await status_of(reader) == 408
    assert await house.stored() == []


async def test_a_body_in_pieces_is_taken(house: Gatehouse) -> None:
    body = orjson.dumps(charge())
    reader, writer = await house.connect()
    head = signed(house, body)
    for piece in (head[:20], head[20:], body[:10], body[10:]):
        writer.write(piece)
        await writer.drain()
        await asyncio.wait({asyncio.get_running_loop().create_task(house.stored())})
    assert await status_of(reader) == 200


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(house: Gatehouse) -> None:
    body = orjson.dumps(charge())
    reader, writer = await house.connect()
    writer.write(signed(house, body).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(body)
    assert await status_of(reader) == 200


async def test_a_body_whose_length_is_not_told_is_measured_as_it_comes(house: Gatehouse) -> None:
    body = orjson.dumps(charge())
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n"
    reader, writer = await house.connect()
    signature = sign(body, SECRET, house.clock.now()).encode()
    writer.write(chunked + b"Stripe-Signature: %b\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (signature, len(body), body))
    assert await status_of(reader) == 200
    reader, writer = await house.connect()
    writer.write(chunked + b"\r\n")
    for _ in range(17):
        writer.write(b"10000\r\n%b\r\n" % (b"x" * 0x10000))
    assert await status_of(reader) == 413


async def test_bodies_that_are_still_arriving_are_limited_together(
    house: Gatehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "ARRIVING_MAX", 300_000)
    greedy = [await house.connect() for _ in range(4)]
    for _, writer in greedy:
        writer.write(HEAD + b"Content-Length: 900000\r\n\r\n" + b"x" * 100_000)
    first, _ = await asyncio.wait(
        {asyncio.get_running_loop().create_task(status_of(reader)) for reader, _ in greedy},
        return_when=asyncio.FIRST_COMPLETED,
    )
    assert {task.result() for task in first} == {503}
    assert (await house.post(charge())).status == 200


async def test_when_there_are_too_many_connections_the_longest_silent_make_room(
    house: Gatehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CONNECTIONS_MAX", 32)
    silent = [await house.connect() for _ in range(150)]
    assert (await house.post(charge())).status == 200
    assert await silent[0][0].read() == b""
    assert not silent[-1][0].at_eof()


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"POST / HTTP/9\r\n\r\n", b"\x00" * 99]
)
async def test_what_is_not_http_is_refused_without_a_line_in_the_log(
    house: Gatehouse, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await house.connect()
    writer.write(garbage + b"\r\n\r\n")
    assert b" 400 " in await reader.read()
    assert (await house.post(charge())).status == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_headers_without_end_are_refused(house: Gatehouse) -> None:
    reader, writer = await house.connect()
    writer.write(HEAD + b"X-Long: " + b"x" * 20_000 + b"\r\n\r\n")
    assert await status_of(reader) == 400


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(
    house: Gatehouse, caplog: pytest.LogCaptureFixture
) -> None:
    for cut in (30, 200, 330):
        _, writer = await house.connect()
        body = orjson.dumps(charge())
        writer.write((signed(house, body) + body)[:cut])
        await writer.drain()
        writer.transport.abort()
    assert (await house.post(charge("evt_2"))).status == 200
    assert [row.id for row in await house.stored()] == ["evt_2"]
    assert caplog.records == []


async def test_requests_sent_ahead_are_answered_in_order(house: Gatehouse) -> None:
    reader, writer = await house.connect()
    for n in range(5):
        body = orjson.dumps(charge(f"evt_{n}"))
        writer.write(signed(house, body) + body)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: nightdesk\r\nConnection: close\r\n\r\n")
    assert [await status_of(reader) for _ in range(6)] == [200] * 6
    assert await reader.read() == b""
    assert [row.id for row in await house.stored()] == [f"evt_{n}" for n in range(5)]


async def test_any_number_of_requests_may_be_sent_ahead_and_refused(house: Gatehouse) -> None:
    reader, writer = await house.connect()
    body = orjson.dumps(charge())
    refused = signed(house, body).replace(b"v1=", b"v1=0") + body
    writer.write(refused * 3_000 + signed(house, body) + body)
    assert [await status_of(reader) for _ in range(3_001)] == [400] * 3_000 + [200]


async def test_a_connection_of_plain_requests_takes_others_too(house: Gatehouse) -> None:
    reader, writer = await house.connect()
    for n, other in enumerate([b"", b"X-Odd: caf\xc3\xa9\r\n", b"", b"Expect: 100-continue\r\n"]):
        body = orjson.dumps(charge(f"evt_{n}"))
        writer.write(signed(house, body).replace(b"\r\n\r\n", b"\r\n" + other + b"\r\n") + body)
    assert [await status_of(reader) for _ in range(4)] == [200] * 4
    assert len(await house.stored()) == 4


async def test_a_client_that_is_idle_for_long_is_let_go(house: Gatehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "IDLE_S", 0.1)
    reader, writer = await house.connect()
    body = orjson.dumps(charge())
    writer.write(signed(house, body) + body)
    assert await status_of(reader) == 200
    assert await reader.read() == b""


async def test_keep_alive_clients_lose_nothing_when_one_listener_follows_another(
    house: Gatehouse, caplog: pytest.LogCaptureFixture
) -> None:
    """On one inherited socket, as after a restart under systemd."""
    sent = 0
    done = asyncio.Event()

    async def client() -> None:
        nonlocal sent
        async with aiohttp.ClientSession() as session:
            while not done.is_set():
                sent += 1
                body = orjson.dumps(charge(f"evt_{sent}"))
                signature = sign(body, SECRET, house.clock.now())
                async with session.post(url, data=body, headers={"Stripe-Signature": signature}) as response:
                    assert response.status == 200

    with bind("127.0.0.1", 0) as inherited:
        url = f"http://127.0.0.1:{inherited.getsockname()[1]}/webhook/acme-token-1"
        first, second = (Listener(Gate(house.store, house.clock, [ACME], archive="none"), [inherited]) for _ in "ab")
        await first.start()
        clients = asyncio.gather(*(client() for _ in range(8)))
        while sent < 100:
            await house.stored()
        await first.stop()
        before = sent
        await second.start()
        while sent < before + 100:
            await house.stored()
        done.set()
        await clients
        await second.stop()
    assert len(await house.stored()) == sent
    assert caplog.records == []


async def test_a_port_that_is_taken_is_one_line_that_says_what_to_do(house: Gatehouse) -> None:
    expected = f"billing.listen: 127.0.0.1:{house.port}: address already in use; end the program that listens there"
    with pytest.raises(UserError, match=expected) as raised:
        bind("127.0.0.1", house.port)
    assert "\n" not in str(raised.value)


def test_an_address_of_another_machine_is_one_line() -> None:
    with pytest.raises(UserError, match=r"192\.0\.2\.1:8787: .*; choose an address this machine has"):
        bind("192.0.2.1", 8787)
