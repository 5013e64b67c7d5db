"""Shell completion, made from the parser itself so that it cannot be out of date."""

import argparse
from collections.abc import Iterator

from daemon.cli.words import Commands

BASH = """\
# nightdesk completion for bash; in ~/.bashrc: eval "$(nightdesk completion bash)"
_nightdesk() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" path="${{COMP_WORDS[1]:-}}" words=""
    (( COMP_CWORD > 2 )) && path="$path ${{COMP_WORDS[2]}}"
    (( COMP_CWORD == 1 )) && path=""
    case "$path" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [[ ${{#COMPREPLY[@]}} -eq 0 ]] && COMPREPLY=($(compgen -f -- "$current"))
}}
complete -o filenames -F _nightdesk nightdesk
"""

ZSH = """\
# nightdesk completion for zsh; in ~/.zshrc: eval "$(nightdesk completion zsh)"
autoload -Uz +X compinit && compinit
autoload -Uz +X bashcompinit && bashcompinit
"""


def register(commands: Commands) -> None:
    """Add the command."""
    completion = commands.add_parser(
        "completion",
        help="print a script that completes commands and options",
        description='Prints a script for your shell: eval "$(nightdesk completion bash)".',
    )
    completion.add_argument("shell", choices=("bash", "zsh"))
    completion.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    from daemon.cli import parser  # noqa: PLC0415 - the parser is made of all groups, this one included

    cases = "\n".join(f'        "{path}"*) words="{" ".join(words)}" ;;' for path, words in _words(parser(), ""))
    print((ZSH if arguments.shell == "zsh" else "") + BASH.format(cases=cases), end="")
    return 0


def _words(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, list[str]]]:
    """What may follow each command, the longest paths first."""
    words: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse shows its actions in no other way
        words += action.option_strings
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for name, inner in action.choices.items():
                yield from _words(inner, f"{path} {name}".strip())
        if action.choices is not None:
            words += [str(choice) for choice in action.choices]
    yield path, words
