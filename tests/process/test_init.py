"""`nightdesk init` on a terminal: it asks for what is not given."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from config.load import load
from tests.conftest import ROOT
from tests.patience import PATIENCE_S

CTRL_D = "\x04"


class Terminal:
    """Somebody who answers when asked."""

    def __init__(self, master: int) -> None:
        self._master = master
        self.shown = ""

    def answer(self, question: str, text: str) -> None:
        """Wait until this is asked, and say that."""
        read = ""
        while question not in read:
            read += os.read(self._master, 4096).decode()
        self.shown += read
        os.write(self._master, text.encode())

    def rest(self) -> str:
        with suppress(OSError):  # how a terminal says that nobody is there any more
            while part := os.read(self._master, 4096):
                self.shown += part.decode()
        return self.shown


@contextmanager
def asked(path: Path, *, code: int) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon", "init", str(path)],
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(master)
        assert process.wait(PATIENCE_S) == code
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_it_asks_for_account_secret_and_where_to_tell(tmp_path: Path) -> None:
    path = tmp_path / "nightdesk.yaml"
    with asked(path, code=0) as terminal:
        terminal.answer("short name", "acme\n")
        terminal.answer("signing secret", "whsec_typed\n")
        address = terminal.shown.partition("/webhook/")[2].partition(".")[0]  # Stripe makes a secret for an address
        terminal.answer("Where to tell incidents", "https://hooks.slack.com/services/T/B/x\n")
        shown = terminal.rest()
    assert "whsec_typed" not in shown
    settings = load(path)
    token = settings.billing.tenants[0].token
    assert token is not None
    assert token.get_secret_value() == address
    assert settings.billing.tenants[0].webhook_secrets[0].get_secret_value() == "whsec_typed"
    assert [(channel.name, channel.type) for channel in settings.alerts.channels] == [("slack", "slack")]


def test_whoever_leaves_without_an_answer_leaves_nothing_behind(tmp_path: Path) -> None:
    with asked(tmp_path / "nightdesk.yaml", code=130) as terminal:
        terminal.answer("short name", "acme\n")
        terminal.answer("signing secret", CTRL_D)
        assert terminal.rest().strip().endswith("nightdesk: interrupted")
    assert list(tmp_path.iterdir()) == []
