"""The kernel is tested in virtual time."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.simulation.loop import virtual_loops


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001 - the signature is the hook's
    item: pytest.Item,  # noqa: ARG001 - as above
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return virtual_loops()
