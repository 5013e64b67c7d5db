"""Appending and reading: every event once, in the order of its commit, for ever."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.kernel.clock import io_sleep
from actors.kernel.mailbox import Mailbox, conflate, drop_oldest
from actors.store.codec import DICTIONARY, pack, unpack, unpack_body
from actors.store.driver import InlineDriver
from actors.store.records import Appended, Committed, Kind, NewEntry
from tests.store.running import NOON, event, running, tick

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(batches=st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), max_size=12), max_size=6))
@settings(max_examples=30)
def test_an_event_is_stored_once_however_its_copies_fall_into_batches(batches: list[list[tuple[str, int]]]) -> None:
    """Duplicates within a batch, between batches and between tenants: the first seq is everyone's answer."""

    async def scene(data_dir: Path) -> None:
        first: dict[tuple[str, int], int] = {}
        async with running(data_dir, driver=InlineDriver()) as store:
            for batch in batches:
                appended = await asyncio.gather(
                    *(store.append(event(f"evt_{number}", tenant)) for tenant, number in batch)
                )
                for key, result in zip(batch, appended, strict=True):
                    assert result.duplicate == (key in first)
                    assert first.setdefault(key, result.seq) == result.seq
            entries = await store.read_log(0, 1_000)
            status = await store.status()
        assert [entry.seq for entry in entries] == list(range(1, len(first) + 1))
        assert {(entry.tenant, entry.data["id"]) for entry in entries} == {(t, f"evt_{n}") for t, n in first}
        assert (status.stored, status.duplicates) == (len(first), sum(map(len, batches)) - len(first))

    with TemporaryDirectory() as folder:
        asyncio.run(scene(Path(folder)))


async def test_a_duplicate_is_known_after_a_restart_and_seqs_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        assert await store.append(event("evt_1")) == Appended(1)
    async with running(tmp_path) as store:
        assert await store.append(event("evt_1")) == Appended(1, duplicate=True)
        assert await store.append(event("evt_2")) == Appended(2)


async def test_followers_are_given_what_the_log_holds_in_its_order(tmp_path: Path) -> None:
    """Also entries that are not events and hold tuples: a live reader and a later one see the same."""
    async with running(tmp_path) as store:
        reader: Mailbox[Committed] = drop_oldest(100)
        store.follow(reader)
        store.follow(reader)
        config = NewEntry(Kind.CONFIG, "acme", NOON, {"disabled": ("refund_spike",), "failure_rate": 0.15})
        await asyncio.gather(*(store.append(entry) for entry in (event("evt_1"), config, event("evt_1"), tick())))
        offered = [entry for one in await reader.take() if isinstance(one, Committed) for entry in one.entries]
        assert offered == await store.read_log(0, 10)
        assert [entry.kind for entry in offered] == [Kind.EVENT, Kind.CONFIG, Kind.TICK]
        store.unfollow(reader)
        await store.append(tick())
        assert reader.depth == 0


async def test_a_follower_that_falls_behind_finds_the_rest_in_the_log(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        reader = conflate(1)
        store.follow(reader)
        for number in range(5):
            await store.append(event(f"evt_{number}"))
        (newest,) = await reader.take()
        assert isinstance(newest, Committed)
        assert newest.last == 5
        assert [entry.seq for entry in await store.read_log(2, 2)] == [3, 4]


async def test_what_is_asked_for_one_turn_of_the_loop_after_the_other_shares_one_sync(tmp_path: Path) -> None:
    writes: list[str] = []
    async with running(tmp_path, driver=InlineDriver(writes.append)) as store:
        appended = []
        for number in range(20):
            appended.append(store.append(event(f"evt_{number}")))
            await io_sleep(0)
        assert writes == []
        assert await asyncio.gather(*appended) == [Appended(seq) for seq in range(1, 21)]
        assert writes == ["before", "after"]


async def test_a_batch_with_one_entry_that_is_not_json_loses_only_that_one(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        wrong = event("evt_2", amount=object())
        results = await asyncio.gather(
            *(store.append(entry) for entry in (event("evt_1"), wrong, event("evt_3"))), return_exceptions=True
        )
        assert isinstance(results[1], TypeError)
        assert [one.data["id"] for one in await store.read_log(0, 9)] == ["evt_1", "evt_3"]


async def test_an_event_without_an_id_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        with pytest.raises(ValueError, match="without an id"):
            await store.append(NewEntry(Kind.EVENT, "acme", NOON, {}))


async def test_events_are_listed_by_tenant_time_and_place(tmp_path: Path) -> None:
    """Over more rows than one query looks at."""
    async with running(tmp_path, driver=InlineDriver()) as store:
        count = 4_500
        entries = [event(f"evt_{n}", "rare" if n % 1_500 == 7 else "acme", NOON + n * 1_000_000) for n in range(count)]
        for start in range(0, count, 500):
            await asyncio.gather(*(store.append(entry) for entry in entries[start : start + 500]))

        async def ids(
            tenant: str | None = None, since: int | None = None, after: int = 0, limit: int = 9_999
        ) -> list[str]:
            return [row.id for row in await store.events(tenant=tenant, since=since, after=after, limit=limit)]

        assert await ids("rare") == ["evt_7", "evt_1507", "evt_3007"]
        assert await ids("rare", since=NOON + 1_507 * 1_000_000) == ["evt_1507", "evt_3007"]
        assert await ids(since=NOON + 4_498 * 1_000_000) == ["evt_4498", "evt_4499"]
        assert await ids(after=4_499) == ["evt_4499"]
        assert await ids("nobody") == []
        newest = await store.events(tenant="rare", since=None, after=0, limit=2, newest=True)
        assert [row.id for row in newest] == ["evt_1507", "evt_3007"]
        (row,) = await store.events(tenant=None, since=None, after=9, limit=1)
        assert (row.seq, row.type, row.created, row.received) == (
            10,
            "charge.succeeded",
            NOON + 9_000_000,
            NOON + 9_000_000,
        )


@settings(max_examples=50)
@given(data=st.dictionaries(st.text(), JSON, max_size=6), body=st.none() | st.binary(max_size=5_000))
def test_what_is_packed_is_what_is_unpacked(data: dict[str, object], body: bytes | None) -> None:
    packed, packed_body = pack(data, body)
    assert unpack(packed, DICTIONARY) == data
    assert (packed_body is None) == (body is None)
    if packed_body is not None:
        assert unpack_body(packed, packed_body, DICTIONARY) == body


async def test_a_log_entry_is_readable_without_its_archived_body(tmp_path: Path) -> None:
    """Retention drops the bodies first."""
    body = b'{"id":"evt_1","more":"' + b"x" * 3_000 + b'"}'
    async with running(tmp_path) as store:
        await store.append(event("evt_1", body=body))
        await store.append(tick())
        assert await store.prune(bodies_before=NOON + 1, log_before=NOON + 1, limit=1) == 1
        (entry, _) = await store.read_log(0, 9)
        assert entry.data["id"] == "evt_1"
