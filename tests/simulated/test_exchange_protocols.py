"""The simulated exchange answers as Alpaca does: handshakes, error codes, subscriptions, pages, limits."""

from typing import Any

import aiohttp
import msgpack  # type: ignore[import-untyped]
import pytest

from actors.simulated.exchange import data_stream, wire
from actors.simulated.exchange.server import KEY_ID, SECRET_KEY
from strategies.sessions import DAY, MINUTE
from tests.simulated.exchange_rig import HEADERS, OPEN, Floor, Stream, exchange_floor

AUTH = {"action": "auth", "key": KEY_ID, "secret": SECRET_KEY}
HISTORY = {"symbols": "MSFT,AAPL", "timeframe": "1Min", "start": "2026-11-17T00:00:00Z", "end": "2026-11-20T00:00:00Z"}


async def code_of(stream: Stream, **said: Any) -> int:
    await stream.say(**said)
    answer = await stream.until(lambda message: message["T"] != "success")
    assert answer["T"] == "error", answer
    return int(answer["code"])


# --- market data stream ----------------------------------------------------------------------------------------------


async def test_a_client_is_greeted_known_and_told_its_whole_subscription() -> None:
    async with exchange_floor() as floor, floor.connected("/v2/iex") as stream:
        assert await stream.next() == {"T": "success", "msg": "connected"}
        await stream.say(**AUTH)
        assert await stream.next() == {"T": "success", "msg": "authenticated"}
        await stream.say(action="subscribe", bars=["MSFT"], quotes=["AAPL"])
        await stream.say(action="subscribe", bars=["AAPL"])
        await stream.say(action="unsubscribe", quotes=["AAPL"])
        told = [await stream.until(lambda message: message["T"] == "subscription") for _ in range(3)]
        assert [(one["bars"], one["quotes"]) for one in told] == [
            (["MSFT"], ["AAPL"]),
            (["AAPL", "MSFT"], ["AAPL"]),
            (["AAPL", "MSFT"], []),
        ]


async def test_bars_quotes_and_trades_come_as_they_happen_and_agree_with_the_history() -> None:
    async with exchange_floor() as floor, floor.data(bars=["AAPL"], quotes=["AAPL"], trades=["AAPL"]) as stream:
        seen: dict[str, dict[str, Any]] = {}
        while seen.keys() < {"b", "q", "t"}:
            message = await stream.next()
            seen[message["T"]] = message
        bar = seen["b"]
        assert bar["l"] <= bar["o"] <= bar["h"]
        assert seen["q"]["bp"] < seen["q"]["ap"]
        past = await floor.get("/stocks/bars", symbols="AAPL", timeframe="1Min", start=bar["t"], end=bar["t"])
        assert past.body["bars"]["AAPL"] == [{key: value for key, value in bar.items() if key not in {"T", "S"}}]


async def test_nothing_comes_for_what_was_not_subscribed() -> None:
    async with exchange_floor() as floor, floor.data(bars=["MSFT"]) as stream:
        assert {(await stream.next())["S"] for _ in range(3)} == {"MSFT"}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"action": "subscribe", "bars": ["AAPL"]}, 401),
        ({"action": "auth", "key": KEY_ID, "secret": "wrong"}, 402),
        ({"action": "auth", "key": "AKLIVE", "secret": SECRET_KEY}, 402),
        ({"action": "auth", "key": "AKLIVE"}, 402),
        ({"action": "auth"}, 402),
    ],
)
async def test_a_stranger_is_refused_by_its_code(said: dict[str, Any], code: int) -> None:
    async with exchange_floor() as floor, floor.connected("/v2/iex") as stream:
        assert await code_of(stream, **said) == code


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (AUTH, 403),
        ({"action": "subscribe", "quotes": [f"S{n}" for n in range(31)]}, 405),
        ({"action": "dance"}, 410),
        ({"action": "subscribe", "bars": "AAPL"}, 400),
    ],
)
async def test_a_mistake_of_a_known_client_is_told_and_its_subscription_kept(said: dict[str, Any], code: int) -> None:
    async with exchange_floor() as floor, floor.data(bars=["AAPL"]) as stream:
        await stream.say(**said)
        answer = await stream.until(lambda message: message["T"] == "error")
        assert answer["code"] == code
        assert (await stream.until(lambda message: message["T"] == "b"))["S"] == "AAPL"


async def test_what_is_no_json_is_400() -> None:
    async with exchange_floor() as floor, floor.connected("/v2/iex") as stream:
        await stream.socket.send_str("hello")
        assert (await stream.until(lambda message: message["T"] == "error"))["code"] == 400


async def test_a_second_connection_is_406_until_the_first_is_gone() -> None:
    async with exchange_floor() as floor:
        async with floor.data(bars=["AAPL"]), floor.connected("/v2/iex") as second:
            assert await code_of(second, **AUTH) == 406
            with pytest.raises(ConnectionError):
                await second.next()
        async with floor.data(bars=["AAPL"]) as third:
            assert (await third.next())["T"] == "b"


async def test_a_feed_the_account_has_not_is_409() -> None:
    async with exchange_floor() as floor, floor.connected("/v2/sip") as stream:
        assert await code_of(stream, **AUTH) == 409


async def test_who_says_nothing_is_404(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_stream, "AUTH_S", 0.05)
    async with exchange_floor() as floor, floor.connected("/v2/iex") as stream:
        assert (await stream.until(lambda message: message["T"] == "error"))["code"] == 404


async def test_who_asks_for_msgpack_gets_it_with_its_own_times() -> None:
    headers = {"Content-Type": "application/msgpack"}
    async with exchange_floor() as floor, floor.connected("/v2/iex", headers=headers) as stream:
        websocket = stream.socket
        assert msgpack.unpackb(await websocket.receive_bytes()) == [{"T": "success", "msg": "connected"}]
        await websocket.send_bytes(msgpack.packb(AUTH))
        await websocket.receive_bytes()
        await websocket.send_bytes(msgpack.packb({"action": "subscribe", "bars": ["AAPL"]}))
        await websocket.receive_bytes()
        (bar,) = msgpack.unpackb(await websocket.receive_bytes())
        assert bar["T"] == "b"
        assert bar["t"].to_unix_nano() % (60 * 10**9) == 0


async def test_keys_may_also_come_in_headers() -> None:
    async with exchange_floor() as floor:
        async with floor.connected("/v2/iex", headers=HEADERS) as stream:
            assert [(await stream.next())["msg"] for _ in range(2)] == ["connected", "authenticated"]
        async with floor.connected("/v2/iex", headers=HEADERS | {"APCA-API-SECRET-KEY": "wrong"}) as stream:
            assert (await stream.until(lambda message: message["T"] == "error"))["code"] == 402


async def test_the_bar_of_the_day_grows_with_every_minute() -> None:
    async with exchange_floor() as floor, floor.data(bars=["AAPL"], dailyBars=["AAPL"]) as stream:
        minutes: list[dict[str, Any]] = []
        while len(minutes) < 3:
            minutes.append(await stream.until(lambda message: message["T"] == "b"))
            day = await stream.next()
            assert (day["T"], day["t"]) == ("d", "2026-11-20T05:00:00Z")
            assert day["c"] == minutes[-1]["c"]
            assert day["h"] >= max(minute["h"] for minute in minutes)
            assert day["v"] >= sum(minute["v"] for minute in minutes)


# --- order updates ---------------------------------------------------------------------------------------------------


async def test_an_order_is_told_as_new_and_filled_in_binary_frames() -> None:
    async with exchange_floor() as floor, floor.updates() as stream:
        await floor.order("one")
        frame = await stream.socket.receive()
        assert frame.type is aiohttp.WSMsgType.BINARY
        assert frame.json()["data"]["event"] == "new"
        fill = (await stream.next())["data"]
        assert fill["event"] == "fill"
        assert fill["order"]["client_order_id"] == "one"
        assert fill["order"]["status"] == "filled"
        assert fill["qty"] == fill["position_qty"] == fill["order"]["filled_qty"]


@pytest.mark.parametrize("keys", [{"key_id": KEY_ID, "secret_key": "wrong"}, {"key_id": "AKLIVE"}, {}])
async def test_updates_are_for_those_who_are_known(keys: dict[str, str]) -> None:
    async with exchange_floor() as floor, floor.connected("/stream") as stream:
        await stream.say(action="authenticate", data=keys)
        assert (await stream.next())["data"]["status"] == "unauthorized"
        with pytest.raises(ConnectionError):
            await stream.next()


STRANGE = [
    '"text"',
    "[]",
    "[1, 2]",
    "{}",
    '{"action": []}',
    '{"action": "auth", "key": [], "secret": {}}',
    '{"action": "authenticate", "data": 5}',
    '{"action": "authenticate", "data": {"key_id": {}, "secret_key": null}}',
    '{"action": "subscribe", "bars": [1, null], "quotes": {"a": 1}}',
    '{"action": "listen", "data": {"streams": "trade_updates"}}',
    "\\u0000",
]


@pytest.mark.parametrize("said", STRANGE)
@pytest.mark.parametrize("path", ["/v2/iex", "/stream"])
async def test_strange_words_are_answered_and_disturb_nobody(path: str, said: str) -> None:
    async with exchange_floor() as floor:
        async with floor.connected(path) as stream:
            await stream.socket.send_str(said)
            await stream.until(lambda message: message.get("T", "") == "error" or "stream" in message)
        async with floor.data(bars=["AAPL"]) as stream:
            await stream.socket.send_str(said)
            await stream.until(lambda message: message["T"] == "b")


# --- trading ---------------------------------------------------------------------------------------------------------


async def test_money_shares_and_fills_add_up() -> None:
    async with exchange_floor() as floor:
        bought = (await floor.order("in", notional="1000.50")).body
        assert bought["status"] == "filled"
        (held,) = (await floor.get("/positions")).body
        assert held["qty"] == bought["filled_qty"]
        sold = (await floor.order("out", side="sell", qty=held["qty"])).body
        assert sold["status"] == "filled"
        assert (await floor.get("/positions")).body == []
        fills = (await floor.get("/account/activities/FILL", direction="asc")).body
        assert [(one["side"], one["order_id"]) for one in fills] == [("buy", bought["id"]), ("sell", sold["id"])]
        earned = float(fills[1]["qty"]) * float(fills[1]["price"]) - float(fills[0]["qty"]) * float(fills[0]["price"])
        account = (await floor.get("/account")).body
        assert float(account["cash"]) == pytest.approx(100_000 + earned, abs=1e-5)
        assert account["cash"] == account["equity"]


async def test_a_client_order_id_is_used_once_for_ever() -> None:
    async with exchange_floor() as floor:
        first = await floor.order("one")
        again = await floor.order("one")
        assert (again.status, again.body["message"]) == (422, "client_order_id must be unique")
        found = await floor.get("/orders:by_client_order_id", client_order_id="one")
        assert found.body["id"] == first.body["id"]
        assert (await floor.get("/orders:by_client_order_id", client_order_id="two")).status == 404


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"symbol": "XYZ", "notional": "10"}, 422, "asset XYZ not found"),
        ({"side": "sell", "qty": "1"}, 403, "insufficient qty available"),
        ({"notional": "0.99"}, 403, "minimal amount of order 1"),
        ({"notional": "200000"}, 403, "insufficient buying power"),
        ({"notional": "10.001"}, 422, "2 decimal places"),
        ({"qty": "1", "notional": "10"}, 422, "not both"),
        ({"qty": "nan"}, 422, "greater than zero"),
        ({"side": "short", "qty": "1"}, 422, "side must be"),
        ({"qty": "1", "type": "limit"}, 422, "market orders only"),
        ({"qty": [], "side": {}, "order_class": []}, 422, "side must be"),
        ({"qty": {}}, 422, "greater than zero"),
        ({"qty": True, "symbol": 7}, 422, "symbol is required"),
        ({"qty": "1", "order_class": {}}, 422, "market orders only"),
        ({"qty": "1", "client_order_id": ["x"]}, 422, "client_order_id"),
    ],
)
async def test_what_the_exchange_does_not_take_is_declined_in_words(
    asked: dict[str, Any], status: int, words: str
) -> None:
    async with exchange_floor() as floor:
        answer = await floor.ask("POST", "/orders", json={"symbol": "AAPL", "side": "buy"} | asked)
        assert answer.status == status
        assert words in answer.body["message"]
        assert (await floor.get("/orders", status="all")).body == []


async def test_orders_are_listed_newest_first_fifty_at_a_time_and_open_ones_by_default() -> None:
    async with exchange_floor() as floor:
        for n in range(60):
            await floor.order(f"o{n}", notional="10")
        assert (await floor.get("/orders")).body == []
        names = [one["client_order_id"] for one in (await floor.get("/orders", status="closed")).body]
        assert names == [f"o{n}" for n in range(59, 9, -1)]
        rest = await floor.get("/orders", status="all", limit=500, direction="asc")
        assert len(rest.body) == 60


async def test_before_the_open_an_order_waits_and_can_be_canceled() -> None:
    async with exchange_floor(start=OPEN - 20 * MINUTE) as floor, floor.updates() as stream:
        one, two = (await floor.order("one")).body, (await floor.order("two")).body
        assert (one["status"], two["status"]) == ("new", "new")
        assert len((await floor.get("/orders")).body) == 2
        assert (await floor.ask("DELETE", f"/orders/{two['id']}")).status == 204
        assert (await floor.ask("DELETE", f"/orders/{two['id']}")).status == 422
        assert (await floor.get("/clock")).body["is_open"] is False
        await stream.until(lambda update: update["data"]["event"] == "fill")
        assert (await floor.get(f"/orders/{one['id']}")).body["status"] == "filled"
        assert (await floor.get(f"/orders/{two['id']}")).body["status"] == "canceled"


async def test_the_calendar_knows_thanksgiving_and_its_half_day() -> None:
    async with exchange_floor() as floor:
        days = (await floor.get("/calendar", start="2026-11-25", end="2026-11-30")).body
        assert [(day["date"], day["close"]) for day in days] == [
            ("2026-11-25", "16:00"),
            ("2026-11-27", "13:00"),
            ("2026-11-30", "16:00"),
        ]
        clock = (await floor.get("/clock")).body
        assert clock["is_open"] is True
        assert clock["next_close"] == "2026-11-20T16:00:00-05:00"
        assert clock["next_open"] == "2026-11-23T09:30:00-05:00"


async def test_keys_that_are_wrong_are_401_for_trading_and_403_for_data() -> None:
    wrong = {"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": "x"}
    async with exchange_floor() as floor:
        assert (await floor.ask("GET", "/account", headers=wrong)).status == 401
        assert (await floor.ask("GET", "/stocks/bars", headers=wrong)).status == 403
        assert (await floor.ask("GET", "/stocks/bars", headers={})).status == 401


async def test_every_answer_says_what_is_left_of_the_rate_limit_and_beyond_it_is_429() -> None:
    async with exchange_floor(per_minute=3) as floor:
        left = [(await floor.get("/clock")).headers["X-RateLimit-Remaining"] for _ in range(3)]
        assert left == ["2", "1", "0"]
        over = await floor.get("/clock")
        assert over.status == 429
        assert int(over.headers["Retry-After"]) > 0


# --- history ---------------------------------------------------------------------------------------------------------


async def pages(floor: Floor, **params: Any) -> list[list[tuple[str, str]]]:
    """(symbol, time) of each bar, page by page."""
    found, token = [], None
    while True:
        answer = await floor.get("/stocks/bars", **HISTORY | params | ({"page_token": token} if token else {}))
        assert answer.status == 200, answer.body
        found.append([(symbol, bar["t"]) for symbol, bars in answer.body["bars"].items() for bar in bars])
        token = answer.body["next_page_token"]
        if token is None:
            return found


async def test_pages_put_together_are_everything_once_by_symbol_then_time() -> None:
    async with exchange_floor() as floor:
        [whole] = await pages(floor, limit=10_000)
        parts = await pages(floor, limit=500)
        assert all(len(part) == 500 for part in parts[:-1])
        assert [bar for part in parts for bar in part] == whole == sorted(whole)
        assert len(whole) > 2_200


async def test_a_day_of_minutes_is_one_daily_bar_stamped_at_midnight_in_new_york() -> None:
    async with exchange_floor() as floor:
        params = HISTORY | {"symbols": "AAPL", "limit": 10_000}
        minutes = (await floor.get("/stocks/bars", **params)).body["bars"]["AAPL"]
        days = (await floor.get("/stocks/bars", **params | {"timeframe": "1Day"})).body["bars"]["AAPL"]
        assert [day["t"] for day in days] == [f"2026-11-{n}T05:00:00Z" for n in (17, 18, 19)]
        assert sum(day["v"] for day in days) == sum(minute["v"] for minute in minutes)
        assert max(day["h"] for day in days) == max(minute["h"] for minute in minutes)
        hours = (await floor.get("/stocks/bars", **params | {"timeframe": "1Hour"})).body["bars"]["AAPL"]
        assert [hour["t"][11:16] for hour in hours[:7]] == [f"{hour}:00" for hour in range(14, 21)]


async def test_the_history_ends_with_the_last_complete_bar() -> None:
    async with exchange_floor(start=OPEN + 10 * MINUTE + 1, speed=1) as floor:
        params = {"symbols": "AAPL", "timeframe": "1Min", "start": wire.stamp(OPEN), "end": wire.stamp(OPEN + DAY)}
        bars = (await floor.get("/stocks/bars", **params)).body["bars"]["AAPL"]
        assert bars[-1]["t"] == wire.stamp(OPEN + 9 * MINUTE)


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"feed": "sip", "end": "2026-11-20T23:00:00Z"}, 403),
        ({"feed": "sip"}, 200),
        ({"feed": "moon"}, 400),
        ({"adjustment": "split,dividend"}, 200),
        ({"adjustment": "spin"}, 400),
        ({"timeframe": "7Weeks"}, 400),
        ({"symbols": "not a symbol"}, 400),
        ({"symbols": "ZZZZ"}, 200),
        ({"limit": "10001"}, 400),
        ({"page_token": "!"}, 400),
        ({"start": "yesterday"}, 400),
    ],
)
async def test_feeds_adjustments_and_parameters_are_checked(params: dict[str, str], status: int) -> None:
    async with exchange_floor() as floor:
        assert (await floor.get("/stocks/bars", **HISTORY | params)).status == status
