"""The floors of the house: every import goes down, and wings do not know each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ABOVE = {
    "config": {"daemon", "actors", "strategies"},
    "strategies": {"daemon", "actors"},
    "actors": {"daemon"},
    "daemon": set[str](),
}
WINGS = {"billing", "alerts", "trading", "watch", "web"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("floor", ABOVE)
def test_no_floor_imports_from_above(floor: str) -> None:
    """A lower floor never imports from a higher one."""
    bad = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(floor)
        for name in imports(path)
        if name.split(".")[0] in ABOVE[floor]
    ]
    assert bad == []


def test_wings_do_not_import_each_other() -> None:
    """Wings meet through messages and the store only."""
    bad = [
        f"{path.relative_to(ROOT)} imports {name}"
        for wing in WINGS
        for path in modules(f"actors/{wing}")
        for name in imports(path)
        if name.startswith("actors.") and name.split(".")[1] in WINGS - {wing}
    ]
    assert bad == []


@pytest.mark.parametrize("foundation", ["actors/kernel"])
def test_the_kernel_imports_nothing_of_ours(foundation: str) -> None:
    """The kernel knows nothing of billing, trading or SQL."""
    bad = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(foundation)
        for name in imports(path)
        if name.split(".")[0] in ABOVE and not name.startswith("actors.kernel")
    ]
    assert bad == []
