"""The config file as a plain tree: no schema, so that a command that needs one key of it starts at once."""

from pathlib import Path
from typing import Any

import yaml

from config.errors import BadInput

Tree = dict[str, Any]
"""Settings as plain keys and values, before they are checked."""

PATHS = (
    ("data_dir",),
    ("control", "socket"),
    ("trading", "strategies_dir"),
    ("trading", "universe", "membership"),
    ("trading", "universe", "sectors"),
)


def read_yaml(path: Path) -> Tree:
    """The file as a tree, relative paths in it made relative to the file. Raises BadInput with the line."""
    try:
        tree = yaml.load(path.read_bytes(), Loader=_StrictLoader)  # noqa: S506 - a SafeLoader, which also refuses twins
    except OSError as error:
        raise BadInput(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadInput(f"{path}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise BadInput(f"{path}: expected keys and values, not a {type(tree).__name__}")
    for keys in PATHS:
        _anchor(tree, keys, path.parent)
    return tree


def _anchor(tree: Tree, keys: tuple[str, ...], folder: Path) -> None:
    *parents, last = keys
    node: Any = tree
    for key in parents:
        node = node.get(key) if isinstance(node, dict) else None
    if isinstance(node, dict) and isinstance(node.get(last), str):
        node[last] = str(folder / Path(node[last]).expanduser())


class _StrictLoader(yaml.SafeLoader):
    """YAML lets a key stand twice and keeps the last, silently. We do not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                mark = node.value[index][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", mark)
        return super().construct_mapping(node, deep=deep)
