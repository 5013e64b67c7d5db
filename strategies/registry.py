"""Strategies by name, or by the path of a user's own file."""

import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType

from config.errors import BadInput
from strategies.bars import parse_timeframe
from strategies.base import Parametrised, Strategy, Value, in_one_line, is_ctrl_c

NAMES = (
    "bollinger_reversion",
    "rsi_macd_confluence",
    "breakout_20d",
    "vwap_reversion",
    "rsi_divergence",
    "earnings_momentum",
    "relative_strength",
    "momentum_basic",
    "mean_reversion_rsi",
    "bollinger_squeeze",
)


def load(name_or_path: str) -> type[Strategy]:
    """One of the ten by name, or the one strategy of a Python file, which is called as its file. Raises BadInput."""
    if name_or_path in NAMES:
        return _only_strategy(import_module(f"strategies.{name_or_path}"), name_or_path)
    if not name_or_path.endswith(".py"):
        raise BadInput(
            f"no strategy is called {name_or_path!r}; there are {', '.join(NAMES)}, or a path to your own .py"
        )
    path = Path(name_or_path)
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    strategy = _only_strategy(_run_file(path), str(path))
    strategy.name = path.stem
    strategy.code_hash()  # of the file as it was loaded: it may be edited while this one is at work
    return strategy


def parse_params(strategy: type[Parametrised], assignments: Iterable[str]) -> dict[str, Value]:
    """All parameters of a strategy or overlay, from `name=value` texts and defaults. Raises BadInput with its range."""
    values: dict[str, Value] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise BadInput(f"{strategy.name}: parameter {assignment!r} is not of the form name=value")
        if name in values:
            raise BadInput(f"{strategy.name}: parameter {name!r} is given twice")
        declared = strategy.parameters.get(name)
        values[name] = text if declared is None or isinstance(declared.default, str) else _number(text)
    return strategy.check(values)


def _number(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _only_strategy(module: ModuleType, where: str) -> type[Strategy]:
    """The module's one strategy class."""
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(strategy.__name__ for strategy in found) or "none"
        raise BadInput(f"{where}: a strategy file defines one subclass of Strategy; here: {names}")
    if found[0].step is Strategy.step:
        raise BadInput(f"{where}: {found[0].__name__} has no step method")
    try:
        parse_timeframe(str(found[0].timeframe))
    except BadInput as error:
        raise BadInput(f"{where}: {found[0].__name__}: {error}") from error
    return found[0]


class _Fresh(SourceFileLoader):
    """Reads the source each time: bytecode caches would litter the user's folder, and hide an edit within a second."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.get_filename(fullname)), self.path)
        return code


def _run_file(path: Path) -> ModuleType:
    name = f"user_strategy_{path.stem}"
    spec = spec_from_loader(name, _Fresh(name, str(path)))
    if spec is None:
        raise BadInput(f"{path}: cannot be loaded")
    module = module_from_spec(spec)
    sys.modules[name] = module  # so that a class can be traced to its file
    try:
        _Fresh(name, str(path)).exec_module(module)
    except SyntaxError as error:
        line = error.lineno or path.read_bytes().partition(b"\0")[0].count(b"\n") + 1
        raise BadInput(f"{error.filename or path}:{line}: {error.msg}") from error
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        raise BadInput(f"{path}:{lines[-1] if lines else 1}: {in_one_line(error)}") from error
    return module
