"""One daemon for the tests that only ask it things."""

from collections.abc import Iterator

import pytest

from tests.process.harness import RunningDaemon, running


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon of the module's own."""
    with running(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon
