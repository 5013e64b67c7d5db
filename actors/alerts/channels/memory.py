"""Under which message of the service an incident was told, so that what follows can be joined to it."""

from collections import OrderedDict

REMEMBERED = 1000


class MessageIds:
    """The newest thousand. Forgotten at a restart: then what follows is simply a message of its own."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, str] = OrderedDict()

    def get(self, incident: str) -> str | None:
        """The service's id of the message that told of this incident first."""
        return self._ids.get(incident)

    def put(self, incident: str, message_id: str) -> None:
        """Remember the first message about an incident."""
        if incident and incident not in self._ids:
            self._ids[incident] = message_id
            if len(self._ids) > REMEMBERED:
                self._ids.popitem(last=False)
