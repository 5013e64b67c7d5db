"""The demo: the real daemon, a simulated shop that posts to it over HTTP, an exchange, and clocks that run ahead."""

import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio

from actors.kernel.clock import SECOND, ScaledClock, WallClock, chance, io_sleep, monotonic
from actors.simulated.shop import Shop
from config.settings import Settings
from daemon.app import Daemon, run_to_end, sockets
from daemon.cli.tables import show
from daemon.demo_desk import TRADING, DemoDesk, leaderboard
from daemon.logs import Logs

TENANT = "shop"
TOKEN = "demo"  # noqa: S105 - as SECRET
SECRET = "whsec_demo"  # noqa: S105 - of a shop that does not exist
SETTLE_S = 5.0


def run_demo(seconds: float | None, speed: float, seed: int, port: int, *, as_json: bool) -> int:
    """Tell the story for `seconds` (None: until Ctrl-C) and sum it up; the exit code."""
    with tempfile.TemporaryDirectory(prefix="nightdesk-demo-") as folder:
        settings = _settings(Path(folder), port)
        with sockets(settings) as (public, control):
            story = Story(speed, seed, as_json=as_json)

            async def live() -> None:
                await story.tell(settings, public, control, seconds)

            code = run_to_end(live)
        story.show()
        return code


def _settings(folder: Path, port: int) -> Settings:
    return Settings.model_validate(
        {
            "data_dir": folder / "data",
            "control": {"socket": folder / "control.sock"},
            "logging": {"level": "error", "format": "console"},
            "web": {"listen": None},
            "billing": {
                "listen": f"127.0.0.1:{port}",
                "tenants": [{"name": TENANT, "token": TOKEN, "webhook_secrets": [SECRET]}],
            },
            # Without digests everything is told at once: an evening comes every two minutes here.
            "alerts": {"channels": [{"name": "terminal", "type": "console"}], "digest": {"every": None}},
            "trading": TRADING,
        }
    )


def _program() -> str:
    """How to call us where we were started: by name, or in the environment that `make demo` made."""
    return "nightdesk" if shutil.which("nightdesk") else os.path.relpath(Path(sys.executable).with_name("nightdesk"))


class Story:
    """One run of the demo, and what is left of it to tell at the end."""

    def __init__(self, speed: float, seed: int, *, as_json: bool) -> None:
        self._speed, self._seed = speed, seed
        self._as_json = as_json
        self._shopping: anyio.CancelScope | None = None
        self.summary: dict[str, Any] = {}

    async def tell(
        self, settings: Settings, public: list[socket.socket], control: socket.socket, seconds: float | None
    ) -> None:
        """Daemon and shop side by side; the shop closes first, so that what it sent is scored before the sum."""
        clock = ScaledClock(WallClock().now(), self._speed)
        rng = chance(self._seed)
        logs = Logs(settings.logging.level, settings.logging.format, clock)
        desk = DemoDesk(settings.trading, self._seed, self._speed, clock.now())
        daemon = Daemon(settings, public=public, control=control, clock=clock, rng=rng, logs=logs, open_desk=desk.open)
        daemon.gate.tolerance_s *= max(1.0, self._speed)
        host, port = public[0].getsockname()[:2]
        opened = anyio.Event()

        async def trade() -> None:
            await opened.wait()
            await desk.begin()
            tasks.start_soon(desk.pace)
            shop = Shop(f"http://{host}:{port}/webhook/{TOKEN}", SECRET, clock=clock, rng=chance(self._seed))
            began, virtual = monotonic(), clock.now()
            self._say(
                f"nightdesk listens on {host}:{port}; one second here is {self._speed / 60:g} minutes in the shop.\n"
                f"Ten strategies trade made-up prices; a trading day takes at least {desk.day_s:.1f} s.\n"
                "Ask it, in another terminal:\n"
                f"  export NIGHTDESK_CONTROL__SOCKET={settings.control.socket}\n"
                f"  {_program()} status\n"
            )
            with anyio.move_on_after(seconds) as self._shopping:
                await shop.run()
            seconds_told, virtual_told = monotonic() - began, (clock.now() - virtual) / SECOND
            self.summary = await self._sum(daemon, shop, round(seconds_told, 1), round(virtual_told))
            daemon.stop()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trade)
            tasks.start_soon(self._close_on_signal, daemon)
            tasks.start_soon(self._close_without_reader, daemon)
            await daemon.run(ready=opened.set, obey_signals=False)
            tasks.cancel_scope.cancel()

    async def _close_on_signal(self, daemon: Daemon) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self._close(daemon)

    async def _close_without_reader(self, daemon: Daemon) -> None:
        """`demo | head` has seen enough when head has."""
        reader = select.poll()
        reader.register(sys.stdout, select.POLLERR)
        while not reader.poll(0):
            await io_sleep(1.0)
        self._close(daemon)

    def _close(self, daemon: Daemon) -> None:
        if self._shopping is None:
            daemon.stop()
        else:
            self._shopping.cancel()

    async def _sum(self, daemon: Daemon, shop: Shop, seconds: float, virtual_seconds: int) -> dict[str, Any]:
        """As INTERFACES promises for `demo --json`, once all that was sent is scored and told."""
        with anyio.move_on_after(SETTLE_S):
            while True:
                status = await daemon.office.status()
                if status["events"]["lag"] == 0 and status["notifications"]["pending"] == 0:
                    break
                await io_sleep(0.05)
        status = await daemon.office.status()
        incidents = (await daemon.office.incidents(None, None))["incidents"]
        counts = status["events"]
        return {
            "seconds": seconds,
            "virtual_seconds": virtual_seconds,
            "events": {
                "delivered": shop.delivered,
                "stored": counts["stored"],
                "duplicates": counts["duplicates"],
                "rejected": counts["rejected"],
            },
            "incidents": [
                {key: incident[key] for key in ("signal", "severity", "tenant", "opened", "resolved")}
                for incident in incidents
            ],
            "notifications": status["notifications"]["delivered"],
            "strategies": leaderboard((await daemon.desk_office.strategies())["strategies"]),
            "actors": {key: status["actors"][key] for key in ("running", "restarts")},
        }

    def show(self) -> None:
        """The sum, for a person or as the last line."""
        if not self.summary:
            return
        if self._as_json:
            print(json.dumps(self.summary, separators=(",", ":")), flush=True)
            return
        told = self.summary
        hours = told["virtual_seconds"] / 3600
        resolved = sum(incident["resolved"] is not None for incident in told["incidents"])
        self._say(
            f"\n{told['seconds']:.0f} s here were {hours:.1f} h in the shop.\n"
            f"{told['events']['delivered']} webhooks delivered, {told['events']['stored']} stored, "
            f"{told['events']['duplicates']} duplicates, {told['events']['rejected']} rejected.\n"
            f"{len(told['incidents'])} incidents, {resolved} of them resolved; "
            f"{told['notifications']} notifications, {told['actors']['restarts']} actor restarts.\n"
        )
        show(
            ["strategy", "equity", "trades", "verdict", ""],
            (
                [row["name"], f"{row['equity']:,.2f}", row["trades"], row["verdict"], "killed" if row["killed"] else ""]
                for row in told["strategies"]
            ),
            "no strategies",
        )

    def _say(self, text: str) -> None:
        if not self._as_json:
            print(text, flush=True)
