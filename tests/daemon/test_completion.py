"""The completion script, as a shell runs it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from daemon.cli import main


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
