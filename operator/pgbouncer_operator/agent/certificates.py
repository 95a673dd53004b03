"""When certificates are valid, and whether a mounted one may replace the installed one.

A renewal that stopped leaves an expired certificate in the Secret, and whoever restores a backup may bring one back.
"""

import functools
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.reasons import ProblemReason
from pgbouncer_operator.protocol.state import AgentProblem
from pgbouncer_operator.protocol.validity import CertificateValidity

Reader = Callable[[bytes], CertificateValidity | None]
SUBJECTS = {
    "ca": "the CA that backend.tls.ca names",
    "tls": "the certificate in the Secret that clients.tls.secretName names",
}
"""What a volume holds, by the volume's name."""


def of_pair(pem: bytes) -> CertificateValidity | None:
    """The validity of the first certificate, which is the server's own; None when it cannot be read."""
    return next(iter(_validities(pem)), None)


def of_authorities(pem: bytes) -> CertificateValidity | None:
    """The validity of the certificate that ends last: one CA of a bundle is enough. None when none can be read."""
    return max(_validities(pem), key=lambda each: each.ends, default=None)


def validities(ca: bytes, certificate: bytes) -> dict[str, CertificateValidity]:
    """The validity of the certificates in use, by volume; without those that are absent or cannot be read."""
    found = {"ca": of_authorities(ca) if ca else None, "tls": of_pair(certificate) if certificate else None}
    return {volume: validity for volume, validity in found.items() if validity is not None}


def expired(mounted: bytes, installed: bytes, read: Reader, now: float) -> int | None:
    """When the mounted certificate ended, if it must not replace the installed one, which is still valid; else None.

    now, and the result: Unix seconds. What cannot be read replaces nothing less: the proof judges it.
    """
    if not mounted or not installed or mounted == installed:
        return None
    new, old = read(mounted), read(installed)
    if new is None or old is None or new.ends > now or old.ends <= now:
        return None
    return new.ends


def ca(mounted: bytes, path: Path) -> tuple[bytes, int | None]:
    """The CA to use, and when the mounted one ended (Unix seconds) if the installed one at `path` stays instead.

    The installed one also stays when the mounted one is emptied or deleted.
    """
    installed = path.read_bytes() if path.is_file() else b""
    ended = expired(mounted, installed, of_authorities, time.time())
    return (mounted if mounted and ended is None else installed), ended


def pair(mounted: Mapping[str, bytes], directory: Path) -> tuple[tuple[bytes, bytes], int | None]:
    """The certificate and key for clients, and when the mounted one ended if those in `directory` stay instead.

    mounted: files of the Secret. The installed pair also stays when the Secret is emptied or deleted.
    """
    installed = {each: (directory / each).read_bytes() for each in naming.TLS_KEYS if (directory / each).is_file()}
    name = naming.TLS_KEYS[0]
    ended = expired(mounted.get(name, b""), installed.get(name, b""), of_pair, time.time())
    chosen = mounted if any(mounted.get(each) for each in naming.TLS_KEYS) and ended is None else installed
    certificate, key = (chosen.get(each, b"") for each in naming.TLS_KEYS)
    return (certificate, key), ended


def problem(ended: Mapping[str, int]) -> AgentProblem | None:
    """What to do about mounted certificates that replace nothing; None without one. ended: Unix seconds by volume."""
    sentences = [
        f"{SUBJECTS[volume]} ended at {datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M} UTC and is not used; the one "
        "before stays in use: renew it"
        for volume, end in sorted(ended.items())
    ]
    return AgentProblem(ProblemReason.CERTIFICATE_EXPIRED, "; ".join(sentences)) if sentences else None


@functools.lru_cache(maxsize=8)
def _validities(pem: bytes) -> tuple[CertificateValidity, ...]:
    """The validity of each certificate in a PEM text; none when one cannot be read."""
    from cryptography import x509  # imported late: it takes 0.1 s and 16 MB, and pools without certificates need none

    try:
        found = x509.load_pem_x509_certificates(pem)
        spans = ((each.not_valid_before_utc, each.not_valid_after_utc) for each in found)
        return tuple(CertificateValidity(int(first.timestamp()), int(last.timestamp())) for first, last in spans)
    except (ValueError, x509.InvalidVersion):
        return ()
