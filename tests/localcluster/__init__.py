"""A real single-node Kubernetes for demo and tests: kind where a container engine answers, else built and run bare.

Standard library only, because it runs before any virtual environment exists: python3 -m tests.localcluster up.
"""

import sys

OLDEST = (3, 11)
if sys.version_info < OLDEST:  # whatever else is imported would fail with a traceback
    sys.exit(
        "Python {}.{} or newer is needed, and this is {}.{}: make PYTHON=python3.11".format(*OLDEST, *sys.version_info)
    )
