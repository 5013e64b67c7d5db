"""How the desk stands with its broker just now. Nothing here is written down: after a restart the broker is asked."""

from actors.trading.ports import AccountState


class Standing:
    """Written by the broker desk, read by risk. No entries unless `clear`."""

    def __init__(self) -> None:
        self.clear = False
        """Whether the broker's word and our books agree, and its stream is up."""
        self.why = "the broker has not answered yet"
        """What is wrong while it is not clear."""
        self.account: AccountState | None = None
        """As the broker last told it."""
        self.free_then = 0.0
        """What the books could spend when it told that: cash that no entry in flight has a claim on."""

    def buying_power(self, free_now: float) -> float | None:
        """What the broker would let us spend: as it told, and what the books have spent and freed since."""
        return None if self.account is None else self.account.buying_power + free_now - self.free_then
