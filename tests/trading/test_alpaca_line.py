"""A stream is connected again: soon when it was well, slower and slower when it is not, never in a storm."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import anyio
import pytest

from actors.kernel.clock import chance, io_sleep, monotonic
from actors.trading.alpaca.line import Line, Patience
from actors.trading.alpaca.sdk import DataSocket, Hear, Keys, StreamError
from actors.trading.ports import Link, Refused
from tests.simulation.loop import run_virtual

HOUR = 3600.0


class Peer:
    """Each connection does what the next scene says; `opened` are the times at which one was tried."""

    def __init__(self, *scenes: Callable[["Scene"], Coroutine[Any, Any, None]]) -> None:
        self.scenes = list(scenes)
        self.opened: list[float] = []
        self.open_now = 0
        self.heard: list[Any] = []
        self.links: list[Link] = []

    def make(self, hear: Hear) -> "Scene":
        return Scene(self, hear)

    async def watched(self, seconds: float, deaf: Callable[[], Coroutine[Any, Any, bool]] | None = None) -> None:
        """A line to this peer, for so long."""

        def confirmed(message: Mapping[str, Any]) -> bool:
            return message.get("T") == "subscription"

        line = Line("test", self.make, confirmed, chance(1), Patience(), deaf)
        with anyio.move_on_after(seconds):
            await line.run(self.heard.append, self.links.append)

    @property
    def waits(self) -> list[float]:
        """Seconds from one attempt to the next."""
        return [later - earlier for earlier, later in zip(self.opened, self.opened[1:], strict=False)]


class Scene:
    """One connection."""

    def __init__(self, peer: Peer, hear: Hear) -> None:
        self._peer, self.hear = peer, hear
        self._ws = None
        self._play = peer.scenes.pop(0) if len(peer.scenes) > 1 else peer.scenes[0]

    async def open(self) -> None:
        self._peer.opened.append(monotonic())
        self._peer.open_now += 1
        assert self._peer.open_now == 1, "two connections at once"
        if self._play in {refused, crowded, mute}:
            await self._play(self)

    async def listen(self) -> None:
        await self._play(self)

    async def close(self) -> None:
        self._peer.open_now -= 1

    def confirm(self) -> None:
        self.hear({"T": "subscription"})


async def refused(_: Scene) -> None:
    raise ConnectionRefusedError


async def crowded(_: Scene) -> None:
    raise StreamError(406, "connection limit exceeded")


async def mute(_: Scene) -> None:
    await asyncio.Event().wait()


async def unconfirmed(_: Scene) -> None:
    await asyncio.Event().wait()


async def well_for_an_hour(scene: Scene) -> None:
    scene.confirm()
    scene.hear({"T": "b"})
    await io_sleep(HOUR)
    raise ConnectionResetError


async def quiet_for_ever(scene: Scene) -> None:
    scene.confirm()
    await asyncio.Event().wait()


async def up_and_down(scene: Scene) -> None:
    scene.confirm()
    raise ConnectionResetError


def slow_client(code: int) -> Callable[[Scene], Coroutine[Any, Any, None]]:
    async def ended(scene: Scene) -> None:
        scene.confirm()
        raise StreamError(code, "words")

    return ended


def test_after_a_healthy_hour_the_first_attempt_comes_within_a_second() -> None:
    peer = Peer(refused, refused, refused, well_for_an_hour, quiet_for_ever)
    run_virtual(lambda: peer.watched(2 * HOUR))
    assert HOUR < peer.waits[3] <= HOUR + 1
    assert [link.up for link in peer.links] == [True, False, True]


def test_attempts_that_fail_come_slower_and_slower_but_at_least_once_a_minute() -> None:
    peer = Peer(refused)
    run_virtual(lambda: peer.watched(HOUR))
    assert 0.7 <= peer.waits[0] <= 1
    assert all(later > earlier for earlier, later in zip(peer.waits[:5], peer.waits[1:6], strict=True))
    assert 45 <= min(peer.waits[7:]) <= max(peer.waits) <= 60
    assert peer.links == []


def test_a_connection_that_comes_up_and_falls_at_once_is_no_health() -> None:
    peer = Peer(up_and_down)
    run_virtual(lambda: peer.watched(HOUR))
    assert len(peer.opened) < 90


def test_a_crowded_connection_is_given_a_quarter_of_a_minute_at_least() -> None:
    peer = Peer(crowded, crowded, crowded, quiet_for_ever)
    run_virtual(lambda: peer.watched(HOUR))
    assert min(peer.waits) >= 0.75 * 15
    assert peer.links == [Link(up=True)]


@pytest.mark.parametrize("scene", [mute, unconfirmed])
def test_a_handshake_that_does_not_end_is_given_up(scene: Any) -> None:
    peer = Peer(scene, quiet_for_ever)
    run_virtual(lambda: peer.watched(HOUR))
    assert 15 < peer.waits[0] < 17
    assert peer.links == [Link(up=True)]


def test_a_stream_of_orders_on_which_nothing_happens_stays_connected() -> None:
    peer = Peer(quiet_for_ever)
    run_virtual(lambda: peer.watched(24 * HOUR))
    assert len(peer.opened) == 1


def test_a_deaf_stream_is_left_within_seconds_of_being_known() -> None:
    began: list[float] = []

    async def deaf() -> bool:
        began.append(monotonic())
        return monotonic() > 100 and len(peer.opened) == 1

    peer = Peer(quiet_for_ever)
    run_virtual(lambda: peer.watched(HOUR, deaf))
    assert len(peer.opened) == 2
    assert peer.opened[1] < 110
    assert peer.links[1].reason == "nothing came although the exchange is open"


@pytest.mark.parametrize("code", [400, 401, 404, 407, 410, 500, 599])
def test_what_may_pass_is_tried_again_and_told_with_its_code(code: int) -> None:
    peer = Peer(slow_client(code), quiet_for_ever)
    run_virtual(lambda: peer.watched(HOUR))
    assert [link.up for link in peer.links] == [True, False, True]
    assert f"({code})" in peer.links[1].reason


@pytest.mark.parametrize("code", [402, 405, 409, 411])
def test_what_no_waiting_changes_is_refused_at_the_start_and_waited_out_later(code: int) -> None:
    async def at_once(_: Scene) -> None:
        raise StreamError(code, "words")

    peer = Peer(at_once)
    with pytest.raises(Refused, match=f"words \\({code}\\): "):
        run_virtual(lambda: peer.watched(HOUR))
    peer = Peer(quiet_then(code), at_once, quiet_for_ever)
    run_virtual(lambda: peer.watched(HOUR))
    assert [link.up for link in peer.links] == [True, False, True]
    assert min(peer.waits[1:]) >= 0.75 * 15


def quiet_then(code: int) -> Callable[[Scene], Coroutine[Any, Any, None]]:
    async def scene(one: Scene) -> None:
        one.confirm()
        await io_sleep(120)
        raise StreamError(code, "words")

    return scene


def test_whatever_the_client_trips_over_the_remedy_is_a_new_connection_and_no_text_of_it_is_told() -> None:
    async def trips(scene: Scene) -> None:
        scene.confirm()
        raise KeyError("a secret address")

    peer = Peer(trips, quiet_for_ever)
    run_virtual(lambda: peer.watched(HOUR))
    assert peer.links[1] == Link(up=False, reason="connection broke: KeyError")


async def test_to_be_authenticated_already_is_no_error() -> None:
    heard: list[Any] = []
    socket = DataSocket("ws://127.0.0.1:9", Keys("PK", "hush"), {"bars": ["AAPL"]}, heard.append)
    await socket._dispatch({"T": "error", "code": 403, "msg": "already authenticated"})
    await socket._dispatch({"T": "b", "S": "AAPL"})
    assert heard == [{"T": "b", "S": "AAPL"}]
