"""The supervision tree as values: what to start, what its end means, and what is told about it."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from enum import Enum, StrEnum, auto
from typing import Any, TypeAlias

from actors.kernel.actor import Actor
from actors.kernel.mailbox import Mailbox


class Restart(Enum):
    """What the end of an actor means."""

    PERMANENT = auto()  # it is started again
    TRANSIENT = auto()  # it is started again if it failed; returning from `run` is success
    TEMPORARY = auto()  # nothing
    NEVER = auto()  # the end of the whole tree


class Strategy(Enum):
    """Who is restarted together with a child that failed."""

    ONE_FOR_ONE = auto()  # nobody
    REST_FOR_ONE = auto()  # the children after it, because they stand on it


class State(StrEnum):
    """Where an actor is in its life."""

    STARTING = auto()
    RUNNING = auto()
    BACKING_OFF = auto()
    STOPPED = auto()
    FAILED = auto()
    QUARANTINED = auto()


class Fatal(Exception):
    """The tree cannot go on: raised by an actor to say so, and by `Supervisor.run`, with what is behind it as cause."""


class ActorFailed(Exception):
    """An actor was stuck, ended unasked, would not end, or is a branch of which a child failed for good."""


@dataclass(frozen=True, slots=True)
class Child:
    """How to make one actor, and what to do when it ends."""

    name: str
    factory: Callable[[], Actor[Any]]
    _: KW_ONLY
    mailbox: Mailbox[Any] | None = None  # it receives nothing
    restart: Restart = Restart.PERMANENT
    stop_s: float = 2.0
    stuck_s: float = 30.0
    critical: bool = False  # without it the process is not healthy
    intensity: int = 5  # failures within `period_s` after which it is not started again
    period_s: float = 60.0


class Branch:
    """Children under one strategy. When one has failed for good the others go on, or (escalate) the branch fails."""

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        *children: "Child | Branch",
        escalate: bool = False,
        intensity: int = 5,
        period_s: float = 60.0,
    ) -> None:
        self.name = name
        self.strategy = strategy
        self.children = children
        self.escalate = escalate
        self.intensity = intensity
        self.period_s = period_s

    @property
    def stop_s(self) -> float:
        """The longest that stopping may take."""
        return sum(spec.stop_s for spec in self.children)


child = Child
supervisor = Branch


@dataclass(frozen=True, slots=True)
class Started:
    """The actor is ready."""

    name: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Crashed:
    """The actor failed and is started again in `delay_s` seconds."""

    name: str
    error: BaseException
    restarts: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Stuck:
    """One turn has lasted `busy_s` seconds: the actor is cancelled and counts as crashed."""

    name: str
    busy_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The actor failed too often, or would not end: it rests until the operator restarts it."""

    name: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class Quarantined:
    """The actor blocked the loop in an earlier life of the process: it is not started until the operator says so.

    `place`: files and lines where it was, from the inside out.
    """

    name: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The actor has ended, leaving `left` messages in its mailbox."""

    name: str
    left: int


@dataclass(frozen=True, slots=True)
class Unstopped:
    """The actor did not stop in time, or its `stop` raised `error`."""

    name: str
    error: BaseException | None = None


SupervisionEvent: TypeAlias = Started | Crashed | Stuck | Failed | Quarantined | Stopped | Unstopped


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that crashed its actor three times; `at` is UTC microseconds."""

    actor: str
    message: object
    error: str
    traceback: str
    at: int


@dataclass(frozen=True, slots=True)
class ActorStatus:
    """How one actor is."""

    name: str
    state: State
    restarts: int
    last_error: str | None
    depth: int
    high_water: int
    received: int
    finished: int
    dropped: dict[str, int]
    busy_s: float
    long_turns: int
