"""`python -m pgbouncer_operator`."""

import sys

from pgbouncer_operator.cli import main

sys.exit(main(sys.argv[1:]))
