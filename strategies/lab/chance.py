"""Chance without state: every draw is a hash of what it is for, so the order of evaluation never matters.

A draw depends on (seed, strategy, parameters, symbol, bar time, purpose) and on nothing else. One parameter set or a
hundred, one process or many, live or after a restart: the same question gets the same answer, bit for bit.
The mixer is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom
number generators", 2014).
"""

from collections.abc import Mapping
from enum import IntEnum
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_TO_UNIT = 2.0**-53


class Purpose(IntEnum):
    """What a draw decides; an order at the open and one inside the bar are different orders."""

    REJECT_ENTRY = 1
    WORSE_ENTRY = 2
    REJECT_EXIT = 3
    WORSE_EXIT = 4


def run_key(seed: int, strategy: str, parameters: Mapping[str, object]) -> int:
    """64 bits that stand for one parameter set of one strategy under one seed."""
    words = [str(seed), strategy, *(f"{name}={parameters[name]!r}" for name in sorted(parameters))]
    return _digest("\0".join(words))


def symbol_key(symbol: str) -> int:
    """64 bits that stand for a symbol, whatever its place among others."""
    return _digest(symbol)


def uniform(run: int, symbol: int, time: int, purpose: Purpose) -> float:
    """A number in [0, 1) for the bar of `symbol` that starts at `time` (microseconds UTC)."""
    mixed = _mixed(_mixed(_mixed(run ^ symbol) + purpose) + time)
    return (mixed >> 11) * _TO_UNIT


def uniforms(
    run: NDArray[np.uint64], symbol: NDArray[np.uint64], time: NDArray[np.int64] | np.int64, purpose: Purpose
) -> NDArray[np.float64]:
    """`uniform` of many at once, to the bit; the arguments broadcast."""
    with np.errstate(over="ignore"):  # wrapping around is what the mixer wants
        lanes = _mixed_all(_mixed_all(run ^ symbol) + np.uint64(purpose))
        mixed = _mixed_all(lanes + np.asarray(time).astype(np.uint64))
    return (mixed >> np.uint64(11)).astype(np.float64) * _TO_UNIT


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _mixed(value: int) -> int:
    value = (value + _STEP) & _MASK
    value = ((value ^ (value >> 30)) * _MIX_1) & _MASK
    value = ((value ^ (value >> 27)) * _MIX_2) & _MASK
    return value ^ (value >> 31)


def _mixed_all(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(_STEP)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(_MIX_1)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(_MIX_2)
    return value ^ (value >> np.uint64(31))
