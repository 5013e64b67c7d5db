"""What README.md and the docs show is there: commands, make's targets, other pages."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.cli import parser
from tests.conftest import ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
NUMBER = re.compile(r"\b[A-Z]\b|\bID\b")
"""A placeholder that stands for a number, or for anything."""


def words(command: str) -> tuple[str, ...]:
    """What follows `nightdesk`; nothing for another command. What is shown as optional is given."""
    if "nightdesk" not in command:
        return ()
    tokens = shlex.split(re.sub(r"[][]", " ", command))
    while tokens and (tokens[0] == "sudo" or re.fullmatch(r"[A-Z_]+=.*", tokens[0])):
        tokens = tokens[1:]
    if not tokens or Path(tokens[0]).name != "nightdesk":
        return ()
    return tuple(NUMBER.sub("1", token) for token in tokens[1:])


def shown(page: Path) -> Iterator[tuple[str, ...]]:
    """Commands in blocks for the shell; and those in running text, where a name alone is a mention."""
    text = page.read_text()
    for language, block in BLOCK.findall(text):
        prompt = {"sh": "", "console": "$ "}.get(language)
        for line in block.replace("\\\n", " ").splitlines():
            if prompt is not None and line.startswith(prompt):
                yield from map(words, re.split(r" (?:&&|[|>;]) ", re.sub(r"\s#.*", "", line.removeprefix(prompt))))
    for code in CODE.findall(BLOCK.sub("", text)):
        if re.match(r"(\S*/)?nightdesk |sudo ", code):
            said = words(code)
            yield (*said, "--help") if len(said) == 1 else said


SHOWN = sorted({(str(page.relative_to(ROOT)), *said) for page in PAGES for said in shown(page) if said})


def test_there_are_commands_to_be_checked() -> None:
    assert {"README.md", "docs/operating.md", "docs/channels.md"} <= {page for page, *_ in SHOWN}
    assert len(SHOWN) > 30


@pytest.mark.parametrize("command", SHOWN, ids=" ".join)
def test_the_command_is_understood(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    page, *said = command
    complaint = None
    try:
        parser().parse_args(said)
    except SystemExit as end:
        complaint = end.code and capsys.readouterr().err
    assert not complaint, f"{page}: {complaint}"


def test_the_targets_of_make_exist() -> None:
    shown = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)}
    assert {"demo", "test"} <= shown
    assert shown <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_links_lead_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)#:]+)[)#]", page.read_text())]
    assert len(links) > 10
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []
