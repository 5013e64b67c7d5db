"""What a strategy is: parameters with ranges, indicators set up once, and one step from bars to signals.

One step serves everything: long blocks or one bar at a time, one parameter set or many side by side. However a series
is cut into blocks, the signals are the same to the bit.
"""

import hashlib
import inspect
import json
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from opcode import opmap
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from config.errors import BadInput
from config.redaction import redacted
from strategies.bars import Bars, Block, Bools, Floats, Ints
from strategies.lanes import Shape, State, Stateful

__all__ = [
    "Decisions",
    "Overlay",
    "Param",
    "Parametrised",
    "Shape",
    "Signals",
    "Strategy",
    "StrategyError",
    "Value",
    "in_one_line",
    "param",
]

Value = int | float | str
PROBES = (-1e30, 1e30)
PerSet = npt.ArrayLike | None


class StrategyError(BadInput):
    """A strategy's own code is at fault; the line names its file and line, and the run has stopped."""


def in_one_line(error: BaseException) -> str:
    """Its type and what it says, which in a user's code may be nothing, many lines, a call to exit, or a secret."""
    return redacted(f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": "))


def is_ctrl_c(error: BaseException) -> bool:
    """Whether somebody interrupts the process; what a `raise` of a user's code says is no more than its exception."""
    if not isinstance(error, KeyboardInterrupt) or (last := error.__traceback__) is None:
        return False
    while last.tb_next is not None:
        last = last.tb_next
    return last.tb_frame.f_code.co_code[last.tb_lasti] != opmap["RAISE_VARARGS"]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter's default and the closed range that is allowed, and searched; a text has no range."""

    default: Value
    low: float
    high: float

    def check(self, where: str, value: Value) -> Value:
        """The value, as the default's type. Raises BadInput naming `where` and the range."""
        if isinstance(self.default, str):
            return str(value)
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan
        whole = isinstance(self.default, int)
        in_range = self.low <= number <= self.high  # False for NaN
        if not in_range or (whole and not number.is_integer()):
            kind = "a whole number" if whole else "a number"
            raise BadInput(f"{where}: {value} is not {kind} from {self.low} to {self.high}")
        return int(number) if whole else number


def param(default: Value, *, low: float | None = None, high: float | None = None) -> Any:
    """Declare a default and its allowed range on an annotated class attribute; a text has no range.

    In `setup` and `step` a number has shape (sets, 1), one row for each parameter set, ready to broadcast over
    (time, sets, symbols).
    """
    if isinstance(default, str):
        return Param(default, np.nan, np.nan)
    if low is None or high is None or not low <= default <= high:
        raise TypeError(f"the parameter's default {default} needs a range: low and high around it")
    return Param(default, low, high)


@dataclass(frozen=True, slots=True)
class Signals:
    """What a strategy wants at the close of each bar; the engine, not the strategy, knows positions.

    `enter`, `leave` (bool) and `score` (float; the highest is entered first) are blocks (time, sets, symbols), where
    sets or symbols may be 1: the same for all of them. `leave` and `score` may also be single values. The exits are
    fractions of the fill price and bars, numbers or arrays (sets, 1): None switches one off. With `session_end` nothing
    is held beyond the open of a session's last bar.
    """

    enter: Bools
    leave: Bools | bool
    score: Floats | float
    stop_loss: PerSet = None
    take_profit: PerSet = None
    trailing_stop: PerSet = None
    max_holding: PerSet = None
    session_end: bool = False


@dataclass(frozen=True, slots=True)
class Decisions:
    """Signals after the checks, as an engine reads them: (time, sets, symbols) views and exits of shape (sets, 1).

    False where the bar is missing; `enter` also outside the universe; `score` is defined wherever `enter` is True.
    """

    enter: Bools
    leave: Bools
    score: Floats
    stop_loss: Floats | None
    take_profit: Floats | None
    trailing_stop: Floats | None
    max_holding: Ints | None
    session_end: bool


class Parametrised(Stateful):
    """Parameters as arrays (sets, 1), a shape, and the indicators that `setup` makes."""

    parameters: ClassVar[dict[str, Param]] = {}
    name: ClassVar[str]
    _code_hash: ClassVar[str]

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Param)}
        cls.parameters = cls.parameters | own
        cls.name = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", "_", cls.__name__).lower()

    def __init__(self, symbols: Sequence[str], sets: Sequence[Mapping[str, Value]] = ({},)) -> None:
        self.shape = Shape(len(sets), symbols)
        self.anchor = -1
        """Time of the first bar ever seen, microseconds UTC; -1 before it."""
        checked = [self.check(values) for values in sets]
        self.values = tuple(checked)
        for name, declared in self.parameters.items():
            column = [values[name] for values in checked]
            is_text = isinstance(declared.default, str)
            setattr(self, name, column[0] if is_text else np.array(column)[:, None])
        try:
            self.setup(self.shape)
        except BadInput:
            raise
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            raise self._blame(error) from error

    @classmethod
    def check(cls, values: Mapping[str, Value]) -> dict[str, Value]:
        """All parameters of one set, defaults filled in. Raises BadInput for a name or a value that does not exist."""
        for name in values.keys() - cls.parameters.keys():
            known = ", ".join(cls.parameters) or "none"
            raise BadInput(f"{cls.name}: no parameter is called {name!r}; there are: {known}")
        return {
            name: declared.check(f"{cls.name}: {name}", values.get(name, declared.default))
            for name, declared in cls.parameters.items()
        }

    @classmethod
    def code_hash(cls) -> str:
        """A hash of the sources that decide what this class says, as they were when first asked for."""
        if "_code_hash" not in vars(cls):
            here = Path(__file__).parent
            shared = [here / f"{name}.py" for name in ("base", "bars", "lanes", "sessions")]
            sources = [*shared, *sorted(here.glob("indicators/*.py")), Path(inspect.getfile(cls))]
            cls._code_hash = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
        return cls._code_hash

    def setup(self, shape: Shape) -> None:
        """Make the indicators; parameters are ready as (sets, 1) arrays."""

    def step(self, bars: Block) -> Any:
        """What the subclass decides on a block."""
        raise NotImplementedError

    @property
    def warmup(self) -> int:
        """Own bars a symbol needs until every indicator of every set is defined."""
        return int(self.shape.warmup.max())

    def _guarded(self, bars: Block) -> Any:
        """One step of the subclass. Undefined values are no warnings here; an exception names the user's own line."""
        made_in_setup = self.state().keys() if self.anchor < 0 else None
        if made_in_setup is not None:
            self.anchor = int(bars.times[0])
        self.shape.begin(bars.present)
        try:
            with np.errstate(all="ignore"):
                wanted = self.step(bars)
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            raise self._blame(error) from error
        if made_in_setup is not None and (late := sorted(self.state().keys() - made_in_setup)):
            raise StrategyError(f"{self._line()}: step begins to remember self.{late[0]}; make it in setup")
        return wanted

    def remembered(self, prefix: str = "") -> Iterator[tuple[str, object, str]]:
        """The lanes' progress too."""
        yield f"{prefix}shape.seen", self.shape, "seen"
        yield from super().remembered(prefix)

    def _blame(self, error: BaseException) -> StrategyError:
        return StrategyError(f"{self._line(error)}: {in_one_line(error)}")

    def _line(self, error: BaseException | None = None) -> str:
        """file:line of the deepest own line of the error, else of `step`."""
        code = type(self).step.__code__
        frames = traceback.extract_tb(error.__traceback__) if error else []
        own = [frame.lineno for frame in frames if frame.filename == code.co_filename]
        return f"{code.co_filename}:{own[-1] if own else code.co_firstlineno}"


class Overlay(Parametrised):
    """Says which symbols may be entered, whatever the strategy; it never touches exits."""

    def step(self, bars: Block) -> Bools:
        """Where entries are allowed, broadcast to (time, sets, symbols)."""
        raise NotImplementedError

    def allowed(self, bars: Block) -> Bools:
        """The mask for the next block."""
        mask: Bools = self._guarded(bars)
        self.shape.end()
        return mask


class Strategy(Parametrised):
    """Subclass with a docstring a trader understands, a timeframe, parameters, `setup` and `step`."""

    timeframe: ClassVar[str] = "1d"

    def __init__(
        self,
        symbols: Sequence[str],
        sets: Sequence[Mapping[str, Value]] = ({},),
        overlays: Sequence[Overlay] = (),
    ) -> None:
        super().__init__(symbols, sets)
        self.overlays = tuple(overlays)

    @property
    def warmup(self) -> int:
        """Own bars a symbol needs until every indicator is defined, those of the overlays included."""
        return max(super().warmup, *(overlay.warmup for overlay in self.overlays), 1)

    def step(self, bars: Block) -> Signals:
        """Decide on a block of closed bars, columns (time, 1, symbols); live the block is one bar long."""
        raise NotImplementedError

    def advance(self, bars: Block) -> Decisions:
        """The next block's signals, checked. Raises StrategyError."""
        before = self.state() if self.shape.warming_up else None
        raw = self._guarded(bars)
        if not isinstance(raw, Signals):
            raise StrategyError(f"{self._line()}: step returned {type(raw).__name__}, not Signals")
        size = (len(bars.times), self.shape.sets, len(self.shape.symbols))
        enter = self._fitting("enter", raw.enter, size, np.bool_) & bars.members
        leave = self._fitting("leave", raw.leave, size, np.bool_) & bars.present
        score = self._fitting("score", raw.score, size, np.float64)
        self._refuse_undefined(bars, enter, _broadcast(score, size), before)
        for overlay in self.overlays:
            enter = enter & overlay.allowed(bars)
        self.shape.end()
        return Decisions(
            _broadcast(enter, size),
            _broadcast(leave, size),
            _broadcast(score, size),
            stop_loss=self._exit("stop_loss", raw.stop_loss),
            take_profit=self._exit("take_profit", raw.take_profit),
            trailing_stop=self._exit("trailing_stop", raw.trailing_stop),
            max_holding=self._exit("max_holding", raw.max_holding, np.int64),
            session_end=raw.session_end,
        )

    def fingerprint(self, bars: Bars, place: int = 0) -> str:
        """One hash for all that the signals of the set at `place` depend on.

        Code, parameters, feed, adjustment and anchor; the same for a set alone and beside others.
        """
        parts: tuple[Parametrised, ...] = (self, *self.overlays)
        code = [part.code_hash() for part in parts]
        values = [part.values[place if len(part.values) > 1 else 0] for part in parts]
        depends = json.dumps([code, values, bars.feed, bars.adjustment, self.anchor], sort_keys=True)
        return hashlib.sha256(depends.encode()).hexdigest()

    def _fitting(self, name: str, value: npt.ArrayLike, size: tuple[int, int, int], kind: type) -> npt.NDArray[Any]:
        array = np.asarray(value)
        time, sets, symbols = size
        fits = array.shape in product((time,), (1, sets), (1, symbols)) or (array.ndim == 0 and name != "enter")
        if not fits:
            raise StrategyError(f"{self._line()}: {name} has shape {array.shape}, not (time, sets, symbols) = {size}")
        if kind is np.bool_ and array.dtype != np.bool_:
            raise StrategyError(f"{self._line()}: {name} is {array.dtype}, not the True or False of a comparison")
        return self._numbers(name, array).astype(kind, copy=False)

    def _numbers(self, name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.dtype.kind not in "biuf":
            raise StrategyError(f"{self._line()}: {name} is {array.dtype}, not numbers")
        return array

    def _refuse_undefined(self, bars: Block, enter: Bools, score: Floats, before: State | None) -> None:
        """Stop a strategy that enters on what it cannot know: its author's mistake, such as `~(close > average)`."""
        if before is not None:
            early = enter & ~self.shape.ready(bars.present)
            if early.any():
                hanging = early & ~self._enters_anyway(bars, before)
                self._accuse(bars, hanging, f"because of a value that is undefined until bar {super().warmup}")
        if enter.any():
            unscored = _broadcast(enter, score.shape) & ~np.isfinite(score)
            self._accuse(bars, unscored, "with a score that is undefined or infinite")

    def _enters_anyway(self, bars: Block, before: State) -> Bools:
        """Where the block is entered whether undefined values are very low or very high."""
        after = self.state()
        enters = np.ones((1, 1, 1), np.bool_)
        for probe in PROBES:
            self.restore(before)
            self.shape.probe = probe
            enters = enters & self._guarded(bars).enter
        self.shape.probe = None
        self.restore(after)
        return enters

    def _accuse(self, bars: Block, where: Bools, what: str) -> None:
        if not where.any():
            return
        time, _, symbol = (int(index[0]) for index in np.nonzero(where))
        at = np.datetime_as_string(bars.times[time].astype("datetime64[us]"), unit="s")
        raise StrategyError(f"{self._line()}: {self.name} enters {self.shape.symbols[symbol]} at {at}Z {what}")

    def _exit(self, name: str, value: PerSet, kind: type = np.float64) -> npt.NDArray[Any] | None:
        if value is None:
            return None
        array = self._numbers(name, np.asarray(value))
        if array.ndim and array.shape not in {(self.shape.sets, 1), (1, 1)}:
            raise StrategyError(f"{self._line()}: {name} has shape {array.shape}, not (sets, 1)")
        if not np.all(array > 0):
            raise StrategyError(f"{self._line()}: {name} is {value}, not above 0")
        if kind is np.int64 and not np.all(array % 1 == 0):
            raise StrategyError(f"{self._line()}: {name} is {value}, not a whole number of bars")
        return _broadcast(array.astype(kind), (self.shape.sets, 1))


def _broadcast(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """As numpy's, which takes longer than many a strategy's step: mostly there is nothing to do."""
    return array if array.shape == shape else np.broadcast_to(array, shape)
