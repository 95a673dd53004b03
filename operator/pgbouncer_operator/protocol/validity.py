"""When a certificate in use is valid, as /state says it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LATEST = 253402300799  # the end of the year 9999, the last moment that X.509 can express


@dataclass(frozen=True, slots=True)
class CertificateValidity:
    """When a certificate is valid, in Unix seconds."""

    begins: int
    ends: int


def read(document: Mapping[str, Mapping[str, Any]] | None) -> dict[str, CertificateValidity]:
    """The member `validities` of /state: validity by volume. Raises KeyError, TypeError or ValueError for another."""
    moments = {str(volume): (each["begins"], each["ends"]) for volume, each in (document or {}).items()}
    return {volume: CertificateValidity(_moment(begins), _moment(ends)) for volume, (begins, ends) in moments.items()}


def _moment(value: Any) -> int:
    """Unix seconds of the years 1970 to 9999: a time out of bounds is the nearest one."""
    return min(max(0, int(value)), LATEST)
