"""Settings that are secret, as systemd hands them over."""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from config.errors import BadInput
from config.yaml_file import Tree


class Credentials(PydanticBaseSettingsSource):
    """systemd credentials: each file's name is the key's path with `__` between its parts, as in the environment.

    Parts of a list are named by their `name`: `billing__tenants__acme__webhook_secrets` (one secret a line),
    `alerts__channels__ops__url`.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: the tree is built whole in __call__."""
        raise NotImplementedError

    def __init__(self, settings_cls: type[BaseSettings], below: Tree) -> None:
        super().__init__(settings_cls)
        self._below = below

    def __call__(self) -> Tree:
        """The tree of what the credentials say; lists are whole, with what the file says of their other keys."""
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        tree: Tree = {}
        for path in sorted(Path(folder).iterdir()) if folder else ():
            keys = path.name.split("__")
            if keys[0] in self.settings_cls.model_fields and path.is_file():
                self._lay(tree, keys, path.read_text().strip())
        return tree

    def _lay(self, tree: Tree, keys: list[str], value: str) -> None:
        node: Any = tree
        below: Any = self._below
        for key in keys[:-1]:
            below = below.get(key) if isinstance(below, dict) else _named(below, key)
            if isinstance(node, list):
                node = _named(node, key)
                if node is None:
                    raise BadInput(f"credential {'__'.join(keys)}: nothing is named {key!r} there")
            else:
                node = node.setdefault(key, deepcopy(below) if isinstance(below, list) else {})
        node[keys[-1]] = value.splitlines() if keys[-1] == "webhook_secrets" else value


def _named(items: Any, name: str) -> Any:
    if not isinstance(items, list):
        return None
    return next((item for item in items if isinstance(item, dict) and item.get("name") == name), None)
