"""What some part of the daemon says when something is wrong with it: an input of the log, and so an incident."""

from dataclasses import dataclass, field
from typing import Any

from actors.store.records import Json, Severity

UNTIL_RESOLVED_S = 10 * 365 * 86_400
"""The quiet window of what does not pass by itself: it lasts until somebody says that it is over."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something is wrong (`title` says what), or (None) not any more. It passes after `quiet_s` without another."""

    signal: str
    scope: str
    title: str | None
    severity: Severity = Severity.WARNING
    first: str = ""  # what to do first
    evidence: Json = field(default_factory=dict, hash=False)
    quiet_s: int = 3600

    @property
    def data(self) -> dict[str, Any]:
        """As the log keeps it."""
        if self.title is None:
            return {"signal": self.signal, "scope": self.scope, "resolved": True}
        return {
            "signal": self.signal,
            "scope": self.scope,
            "severity": self.severity,
            "title": self.title,
            "evidence": {**self.evidence, **({"first": self.first} if self.first else {})},
            "quiet_s": self.quiet_s,
        }
