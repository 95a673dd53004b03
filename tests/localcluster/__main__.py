"""python3 -m tests.localcluster <command>."""

import sys

from tests.localcluster.commands import main

sys.exit(main(sys.argv[1:]))
