"""`nightdesk` that waits for Alpaca a fraction of its usual time: `python -m tests.process.impatient run …`.

Faults are over sooner, and so is what follows from them. All else is as it is.
"""

import sys
from functools import partial

from actors.trading import backlog, courier, lookout
from actors.trading.alpaca import pace, rest
from daemon import desk_check
from tests.trading.exchanges import QUICK

DEADLINE_S = 2.0

if __name__ == "__main__":
    desk_check.AlpacaBroker = partial(  # type: ignore[assignment,misc]
        desk_check.AlpacaBroker, patience=QUICK, deadline_s=DEADLINE_S
    )
    desk_check.AlpacaMarket = partial(  # type: ignore[assignment,misc]
        desk_check.AlpacaMarket, patience=QUICK, deadline_s=DEADLINE_S
    )
    rest.AGAIN_S = pace.PAUSE_S = courier.RETRY_S = lookout.RETRY_S = lookout.SOON_S = 0.1
    backlog.ASK_AGAIN_S = (0.1,)
    courier.DOUBT_S = 2 * DEADLINE_S
    from daemon.cli import main

    raise SystemExit(main(sys.argv[1:]))
