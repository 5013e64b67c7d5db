"""What must not be told: secrets and addresses, in any text that was put together by somebody else.

Keys are known by their form (Stripe, Slack, Telegram, Alpaca, passwords in addresses of the web); files and lines stay.
"""

import re
from typing import Any

_HIDDEN = re.compile(
    r"\b(whsec|[sr]k_(?:live|test)|xox[abps])[_-][\w+/=-]+"
    r"|(?<!\d)\d{8,10}:[\w-]{35}\b"  # a Telegram bot's
    r"|\b[PA]K[A-Z0-9]{16,24}\b"  # the name of a key at Alpaca
    r"|\b(?=\w*[a-z])(?=\w*[A-Z])(?=\w*\d)[A-Za-z0-9]{40,44}\b"  # and the key: no hash, which is of one case
    r"|(?<=://)[^\s/@]+:[^\s/@]+(?=@)"
    r"|(?<![\w./+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+(?![\w/])"
)


def redacted(text: str) -> str:
    """The text with an ellipsis for what is nobody's business; of some keys the beginning says what they were."""
    return _HIDDEN.sub(lambda found: f"{found[1]}_…" if found[1] else "…", text)


def redacted_in(data: Any) -> Any:
    """Every text in what JSON can say."""
    if isinstance(data, str):
        return redacted(data)
    if isinstance(data, dict):
        return {key: redacted_in(value) for key, value in data.items()}
    return [redacted_in(value) for value in data] if isinstance(data, list | tuple) else data
