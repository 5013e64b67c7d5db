"""`nightdesk` that waits for Alpaca a fraction of its usual time: `python -m tests.process.impatient run …`.

Faults are over sooner, and so is what follows from them. All else is as it is.
"""

import sys
from functools import partial
from typing import Any

from actors.trading import backlog, courier, lookout
from actors.trading.alpaca import pace, rest
from actors.trading.alpaca.broker import AlpacaBroker
from actors.trading.alpaca.market import AlpacaMarket
from daemon import desk_check
from tests.trading.exchanges import QUICK

DEADLINE_S = 2.0
AGAIN_S = 0.1

if __name__ == "__main__":
    quick: dict[str, Any] = {"patience": QUICK, "deadline_s": DEADLINE_S}
    vars(desk_check).update(AlpacaBroker=partial(AlpacaBroker, **quick), AlpacaMarket=partial(AlpacaMarket, **quick))
    vars(rest).update(AGAIN_S=AGAIN_S)
    vars(pace).update(PAUSE_S=AGAIN_S)
    vars(backlog).update(ASK_AGAIN_S=(AGAIN_S,))
    vars(lookout).update(RETRY_S=AGAIN_S, SOON_S=AGAIN_S)
    vars(courier).update(RETRY_S=AGAIN_S, DOUBT_S=2 * DEADLINE_S)
    from daemon.cli import main

    raise SystemExit(main(sys.argv[1:]))
