"""What systemd and a service say to each other: readiness, the watchdog, and sockets that outlive a restart."""

import os
import socket
import sys
import time
from contextlib import suppress


def notify(state: str) -> None:
    """Tell the service manager, e.g. `READY=1`; nothing where there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A manager that has gone away cannot be told, and is no reason to fail.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as peer:
        # A leading @ stands for the NUL byte of Linux's abstract socket names.
        peer.connect("\0" + address[1:] if address.startswith("@") else address)
        peer.sendall(state.encode())


def reloading() -> None:
    """The config is being read again; READY follows."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval() -> float | None:
    """Seconds between signs of life: half of what systemd waits for; None where no watchdog is set for this process."""
    timeout_us = os.environ.get("WATCHDOG_USEC")
    if not timeout_us or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(timeout_us) / 2_000_000


def start_anew() -> None:
    """In place of systemd's watchdog: this process ends as at a kill, and the same command begins."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line


def inherited_sockets(first: int = 3) -> list[socket.socket]:
    """Listening sockets handed over by the service manager (LISTEN_FDS), or none. They stay open between our lives."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    sockets = []
    for number in range(first, first + int(os.environ.get("LISTEN_FDS", "0"))):
        os.set_inheritable(number, False)
        sockets.append(socket.socket(fileno=number))
    # Children of ours must not take these for their own.
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    return sockets
