"""The completion script, as a shell runs it; and that each command is found in its group."""

import argparse
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from daemon.cli import GROUPS, main


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["sn"], {"snooze"}),
        (["incidents", "--o"], {"--open"}),
        (["config", "s"], {"show", "schema"}),
        (["config", "show", "--c"], {"--config"}),
        (["dead-letters", "r"], {"replay"}),
        (["completion", "z"], {"zsh"}),
    ],
)
def test_what_may_follow_is_offered(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, typed: list[str], offered: set[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    at = f"COMP_WORDS=(nightdesk {' '.join(typed)}); COMP_CWORD={len(typed)}"
    script = f'{capsys.readouterr().out}\n{at}; _nightdesk; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered


def test_zsh_takes_the_same_script(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    for_bash = capsys.readouterr().out
    main(["completion", "zsh"])
    assert capsys.readouterr().out.endswith(for_bash)


@pytest.mark.parametrize("group", list(GROUPS))
def test_each_group_registers_the_commands_that_its_name_stands_for(group: str) -> None:
    """Only the group of a command is imported for it, so a name that is missing there would be slow, not wrong."""
    alone = argparse.ArgumentParser()
    commands = alone.add_subparsers()
    import_module(f"daemon.cli.{group}").register(commands)
    assert tuple(commands.choices) == GROUPS[group]
