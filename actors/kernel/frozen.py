"""Values: slotted dataclasses that nobody sets a field of. mypy sees to it, not every single construction."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def frozen(cls: type[T]) -> type[T]:
    """For what is made with every event: `dataclass(frozen=True)` costs ten times as much to make, 0.2 µs a field."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
