"""The daemon's own troubles reach the log, and from there the incidents."""

from pathlib import Path

import anyio
import pytest

from actors.kernel import tree as kernel
from actors.kernel.clock import ScaledClock
from actors.store.alarm import Alarm
from actors.store.driver import InlineDriver
from actors.store.protocol import StoreUnavailable
from actors.store.records import Kind, Severity
from daemon.alarms import Alarms, alarm_box, of_store, of_supervision
from tests.simulation.loop import run_virtual
from tests.store.running import NOON, running


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (kernel.Crashed("billing.scorer", OSError(), 2, 1.0), None),
        (kernel.Crashed("billing.scorer", OSError(), 3, 1.0), Severity.WARNING),
        (kernel.Failed("billing.scorer", OSError()), Severity.CRITICAL),
        (kernel.Quarantined("billing.scorer"), Severity.CRITICAL),
        (kernel.Started("billing.scorer", 0), None),
    ],
)
def test_only_what_does_not_heal_is_told(event: kernel.SupervisionEvent, severity: Severity | None) -> None:
    alarm = of_supervision(event)
    assert (alarm and alarm.severity) == severity
    assert alarm is None or (alarm.signal, alarm.scope) == ("actor_restarting", "billing.scorer")


@pytest.mark.parametrize(
    "event",
    [
        kernel.Quarantined("trading.strategy:mine", "ma.py:20, mine.py:7, base.py:195"),
        kernel.Failed("trading.strategy:mine", ValueError("3 A sold of 0 held at mine.py:7")),
    ],
)
def test_a_strategy_that_hung_or_was_given_up_is_told_under_its_name_with_the_place(
    event: kernel.SupervisionEvent,
) -> None:
    alarm = of_supervision(event)
    assert alarm is not None
    assert (alarm.signal, alarm.scope, alarm.severity) == ("strategy_failed", "mine", Severity.CRITICAL)
    assert (alarm.title or "").endswith("at mine.py:7")


async def _trouble_that_comes_and_goes(folder: Path) -> None:
    failing = True

    def faults(when: str) -> None:
        if failing and when == "before":
            raise StoreUnavailable("the disk is full")

    clock, box = ScaledClock(NOON), alarm_box()
    async with running(folder, driver=InlineDriver(faults)) as store:
        alarms = Alarms(store, clock)
        alarms.name, alarms.mailbox = "alarms", box
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alarms.run)
            box.offer(of_store("the disk is full"))
            await clock.sleep(60)
            assert await store.read_log(0, 10) == []
            failing = False
            await clock.sleep(60)
            box.offer(of_store(None))
            await clock.sleep(1)
            tasks.cancel_scope.cancel()
        opened, closed = await store.read_log(0, 10)
        assert opened.kind is Kind.ALARM
        assert opened.data["title"] == "Webhooks are answered 503: the disk is full"
        assert closed.data == {"signal": "store_trouble", "scope": "account", "resolved": True}


def test_an_alarm_waits_until_the_store_can_write(tmp_path: Path) -> None:
    run_virtual(lambda: _trouble_that_comes_and_goes(tmp_path))


def test_what_passed_before_it_could_be_told_is_not_told() -> None:
    box = alarm_box()
    box.offer(of_store("the database is locked"))
    box.offer(Alarm("actor_restarting", "alerts.ops", "…"))
    box.offer(of_store(None))
    assert box.depth == 2
