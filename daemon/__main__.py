"""`python -m daemon` is the console script without an installed script."""

import sys

from daemon.cli import main

sys.exit(main())
