"""What goes wrong at an exchange, by name, and when: drawn from a seed, so that a bad day can be had again."""

from collections.abc import Collection
from hashlib import blake2b

from actors.kernel.clock import Random, chance, monotonic
from config.errors import BadInput

STREAM_ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    408: "v2 not enabled",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    411: "insufficient scope",
    412: "option messages are only available in MsgPack format",
    413: "star subscription is not allowed for option quotes",
    500: "internal error",
}
"""What Alpaca's data stream says by number."""

REFUSALS = {str(code): code for code in (406, 407, 408, 409, 411, 412, 413, 500)}
"""Those which a client can do nothing about, and which may so be had as faults."""

FAULTS = {
    "deaf": "streams that are open stay open and say nothing more, until their client connects anew",
    **{
        name: f"data streams are dropped and refused with {name}, {STREAM_ERRORS[code]}"
        for name, code in REFUSALS.items()
    },
    "auth-refused": "streams are dropped and refused with 402, requests with 401 and 403",
    "restart": "streams are dropped, and no connection is answered for a while",
    "stalled": "requests are read and never answered",
    "429": "requests are answered 429 with Retry-After and the headers of the rate limit",
    "429-bare": "requests are answered 429 without a word of when to come back",
    "504": "orders are taken, and the answer is 504",
    "wash-trade": "orders are declined as wash trades with 403",
    "rejected": "orders are taken and then rejected",
    "canceled": "orders are taken and then canceled by the exchange",
    "unknown-state": "orders pass through a state that no document names",
    "partial": "orders fill in parts",
    "repeated": "updates of orders are sent twice",
    "out-of-order": "updates of orders overtake each other",
    "revised": "bars are sent again with other numbers",
    "gap": "bars are missing in the stream, not in the history",
    "halt": "a symbol stops trading for some minutes of the exchange's time",
    "half-day": "the exchange closes at 13:00 every day, and its calendar says so",
}
"""Every fault there is, and what it does."""

LASTING = frozenset({"deaf", *REFUSALS, "auth-refused", "restart", "stalled", "429", "429-bare"})
"""Faults that come and go as a spell; the others strike single orders, updates or bars, `half-day` every day."""

STRIKES = 0.3  # of the occasions
FIRST_AFTER_S = (5.0, 15.0)
LASTS_S = (5.0, 20.0)
PAUSE_S = (20.0, 60.0)


class FaultPlan:
    """Which of FAULTS are planned, and when they strike. Spells are counted in monotonic seconds from the first look.

    A test may also `force` a fault, which then holds always until it is lifted.
    """

    def __init__(self, names: Collection[str] = (), seed: int = 0) -> None:
        """Raises BadInput for a name that no fault has."""
        if unknown := sorted(set(names) - FAULTS.keys()):
            raise BadInput(f"--faults: {unknown[0]}: no such fault; there are {', '.join(FAULTS)}")
        self._planned = frozenset(names)
        self._seed = seed
        self._forced: set[str] = set()
        self._chances: dict[str, Random] = {}
        self._spells: dict[str, tuple[float, float]] = {}

    def holds(self, name: str) -> bool:
        """Whether a fault is there now, or strikes on this occasion."""
        if name in self._forced:
            return True
        if name not in self._planned:
            return False
        if name == "half-day":
            return True
        return self._in_a_spell(name) if name in LASTING else self.chance(name).random() < STRIKES

    def force(self, name: str) -> None:
        """Let it hold from now on."""
        assert name in FAULTS, name  # noqa: S101 - a test's slip
        self._forced.add(name)

    def lift(self, name: str) -> None:
        """No longer."""
        self._forced.discard(name)

    def chance(self, name: str) -> Random:
        """A fault's own source of chance: what else is planned does not change what it draws."""
        if name not in self._chances:
            digest = blake2b(f"{self._seed}/{name}".encode(), digest_size=8).digest()
            self._chances[name] = chance(int.from_bytes(digest, "little"))
        return self._chances[name]

    def _in_a_spell(self, name: str) -> bool:
        now, draw = monotonic(), self.chance(name)
        begins, ends = self._spells.get(name) or self._spell(draw, now, FIRST_AFTER_S)
        while ends <= now:
            begins, ends = self._spell(draw, ends, PAUSE_S)
        self._spells[name] = begins, ends
        return begins <= now

    @staticmethod
    def _spell(draw: Random, since: float, pause_s: tuple[float, float]) -> tuple[float, float]:
        begins = since + draw.uniform(*pause_s)
        return begins, begins + draw.uniform(*LASTS_S)
