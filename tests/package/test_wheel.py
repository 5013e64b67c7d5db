"""What is shipped, and that it runs from where pip puts it."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from actors.store.schema import migrations
from daemon import __version__
from tests.conftest import ROOT
from tests.patience import PATIENCE_S

PACKAGES = ("actors", "config", "daemon", "strategies")
READ_AT_RUN_TIME = (
    "actors/store/migrations/*.sql",
    "actors/store/dictionaries/*.jsonl",
    "config/*.yaml",
    "systemd/nightdesk.*",
    "systemd/nightdesk.service.d/*.conf",
)
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that pip has installed the wheel into."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    # The dependencies, and pip itself, are those of the environment the tests run in: nothing is downloaded.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # The checkout is installed there too; pip is not to take it for what was asked of it.
    install = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--ignore-installed")
    done = run(folder / "bin/python", *install, wheel)
    assert done.returncode == 0, done.stderr
    return folder


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Where nothing leads back to the checkout."""
    return subprocess.run(
        [str(word) for word in command],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_the_wheel_holds_every_module(names: set[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert modules <= names


def test_the_wheel_holds_what_is_read_at_run_time(names: set[str]) -> None:
    files = {str(path.relative_to(ROOT)) for kind in READ_AT_RUN_TIME for path in ROOT.glob(kind) if path.is_file()}
    assert len(files) >= 8
    assert {name.replace("systemd/", "daemon/units/", 1) for name in files} <= names


def test_the_wheel_holds_nothing_else(names: set[str]) -> None:
    """No tests, no benchmarks, no leftovers."""
    own = f"nightdesk-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {*PACKAGES, own}
    assert {Path(name).suffix for name in names if not name.startswith(own)} <= {
        *(".py", ".sql", ".jsonl", ".yaml"),
        *(".service", ".socket", ".sysusers", ".conf"),
    }


def test_the_sdist_can_be_tested(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"Makefile", "constraints.txt", "LICENSE", "README.md", "tests/test_house.py"} <= inside
    assert not [name for name in inside if "__pycache__" in name or name.startswith((".venv", "data/"))]


def test_the_changelog_tells_of_this_version_and_its_schema() -> None:
    section = (ROOT / "CHANGELOG.md").read_text().split(f"## [{__version__}]", 1)[1].split("\n## ", 1)[0]
    assert f"Database schema {max(migrations())}." in section


def test_it_runs_from_where_pip_put_it(environment: Path) -> None:
    assert run(environment / "bin/nightdesk", "--version").stdout == f"nightdesk {__version__}\n"
    where = "import actors, config, daemon, strategies; print(actors, config, daemon, strategies)"
    assert run(environment / "bin/python", "-c", where).stdout.count(str(environment)) == len(PACKAGES)


@pytest.mark.skipif(UV is None, reason="uv is not installed")
def test_uv_installs_it_as_a_tool(wheel: Path, tmp_path: Path) -> None:
    """Offline: what it needs is taken for nothing, and the command starts without it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(name).decode()
    needs = re.findall(r"^Requires-Dist: ([\w.-]+)[^;\n]*$", metadata, re.MULTILINE)
    assert "aiohttp" in needs
    (tmp_path / "overrides.txt").write_text("".join(f"{need} ; sys_platform == 'never'\n" for need in needs))
    folders = {f"UV_{what}_DIR": str(tmp_path / what) for what in ("TOOL", "TOOL_BIN", "CACHE")}
    command = [str(UV), "tool", "install", "--offline", "--no-index", "--overrides", "overrides.txt", str(wheel)]
    environment = {**os.environ, **folders}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert run(tmp_path / "TOOL_BIN/nightdesk", "--version").stdout == f"nightdesk {__version__}\n"


def test_the_demo_runs_from_there(environment: Path) -> None:
    done = run(environment / "bin/nightdesk", "demo", "--seconds", "3", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["events"]["stored"] > 0
    assert summary["events"]["rejected"] == 0


def test_the_units_are_found_there(environment: Path) -> None:
    """And a service that could not see its own program, as in a temporary directory, is refused."""
    done = run(environment / "bin/nightdesk", "install-service", "--dry-run")
    assert "a service cannot see that directory" in done.stderr or f"ExecStart={environment}" in done.stdout
    there = run(environment / "bin/python", "-c", "from daemon.cli.service import units; print(units())")
    assert (Path(there.stdout.strip()) / "nightdesk.service").is_file()


def test_pip_compiles_for_a_tree_that_will_be_read_only(environment: Path) -> None:
    """The service cannot write there; compiling at every start would cost it more than a second."""
    (site,) = environment.glob("lib/python*/site-packages")
    tag = sys.implementation.cache_tag
    missing = [
        path
        for package in PACKAGES
        for path in (site / package).rglob("*.py")
        if not (path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc").is_file()
    ]
    assert missing == []
