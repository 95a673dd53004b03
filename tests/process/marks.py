"""The marks of tests that need PgBouncer and PostgreSQL of the supported versions."""

import pytest
from tests.process import rootfs

PROCESS = [
    pytest.mark.process,
    pytest.mark.skipif(rootfs.missing() is not None, reason=str(rootfs.missing())),
]
