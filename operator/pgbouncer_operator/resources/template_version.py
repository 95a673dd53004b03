"""The version of the pod template, and the security fixes that each version brings. Pure.

A running pod keeps the template and the image that it was made with. A fix that running pods should get takes the next
version and a row here: then status, a metric and an alert say which pods lack it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from pgbouncer_operator import naming

FIXES: MappingProxyType[int, tuple[str, ...]] = MappingProxyType(
    {
        1: (
            "unknown logins are refused without asking PostgreSQL",
            "the limit of open files is raised",
            "liveness ends no PgBouncer that serves",
        ),
    }
)
"""By version, what it fixes. Pods without a version are older than all of them."""

VERSION = max(FIXES)


def version_in(annotations: Mapping[str, object]) -> int:
    """The version that the annotations of a pod or of a pool name; 0 without one that can be read."""
    text = annotations.get(naming.ANNOTATION_TEMPLATE_VERSION)
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10 else 0


def fixes_after(version: int) -> tuple[str, ...]:
    """What pods of this version lack."""
    return tuple(fix for number, fixes in sorted(FIXES.items()) if number > version for fix in fixes)
