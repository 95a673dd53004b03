"""What the agent keeps in the run directory, so that a restart of the worker changes nothing for PgBouncer.

The directory is a memory volume. Only the agent's uid may read it, and it ends with the pod.
"""

import json
import resource
import secrets
from collections.abc import Mapping
from typing import Any

from pgbouncer_operator.agent import files
from pgbouncer_operator.agent.candidate import Identity, paths
from pgbouncer_operator.agent.grant import AcceptedGrant
from pgbouncer_operator.agent.handover import Handover
from pgbouncer_operator.agent.mounts import Credential
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.agent.start import LIMIT_FILE
from pgbouncer_operator.pgbouncer import userlist

PROBE_USER = "probe-user"  # read by probe.py
_SECRET = "retired-key"  # noqa: S105 - the name of a file
_ACCEPTED_GRANT = "seen"
_CREDENTIALS = "credentials"
_HANDOVER = "handover"


def identity(settings: AgentSettings) -> Identity:
    """The pod's identity; the first call makes it."""
    user = files.kept(settings.run_dir / PROBE_USER, f"probe_{secrets.token_hex(8)}\n".encode())
    secret = files.kept(settings.run_dir / _SECRET, secrets.token_bytes(32))
    return Identity(user.decode().strip(), secret)


def accepted_grant(settings: AgentSettings) -> AcceptedGrant:
    """The grant that this pod used before the worker's restart."""
    document = _load(settings, _ACCEPTED_GRANT)
    return AcceptedGrant(document.get("seq", 0), document.get("cap", 0), document.get("since", 0))


def keep_accepted_grant(settings: AgentSettings, value: AcceptedGrant) -> None:
    """Keep it for the next worker."""
    _save(settings, _ACCEPTED_GRANT, {"seq": value.seq, "cap": value.cap, "since": value.since})


def handover(settings: AgentSettings) -> Handover | None:
    """What the pod keeps; None when it has handed nothing over."""
    document = _load(settings, _HANDOVER)
    return Handover(document["shares"], document["halves"], document["seq"]) if document else None


def keep_handover(settings: AgentSettings, value: Handover) -> None:
    """Keep it for the next worker. Raises OSError where it cannot be written."""
    document = {"shares": dict(value.shares), "halves": dict(value.halves), "seq": value.seq}
    _save(settings, _HANDOVER, document)


def forget_handover(settings: AgentSettings) -> None:
    """The pod has a grant again."""
    (settings.run_dir / _HANDOVER).unlink(missing_ok=True)


def credentials(settings: AgentSettings) -> dict[str, Credential]:
    """The last usable credential of each user, by handle."""
    return {handle: Credential(*pair) for handle, pair in _load(settings, _CREDENTIALS).items()}


def keep_credentials(settings: AgentSettings, value: Mapping[str, Credential]) -> None:
    """Keep them for the next worker."""
    _save(settings, _CREDENTIALS, {handle: [each.login, each.password] for handle, each in value.items()})


def open_files(settings: AgentSettings) -> int:
    """The most files that PgBouncer may open, as start.py recorded it; 0 for no limit.

    Before PgBouncer's first start: the agent's own hard limit, because a runtime gives both containers the same.
    """
    try:
        limit = int((settings.run_dir / LIMIT_FILE).read_bytes())
    except (OSError, ValueError):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return max(0, limit)  # RLIM_INFINITY is -1


def logins(settings: AgentSettings) -> frozenset[str]:
    """Every login in the installed userlist: PgBouncer may have accepted it."""
    try:
        with open(paths(settings).userlist, encoding="utf-8") as file:
            return frozenset(userlist.parse(file.read()))
    except FileNotFoundError:
        return frozenset()


def _load(settings: AgentSettings, name: str) -> dict[str, Any]:
    try:
        document = json.loads((settings.run_dir / name).read_bytes())
    except FileNotFoundError:
        return {}
    return document if isinstance(document, dict) else {}


def _save(settings: AgentSettings, name: str, document: object) -> None:
    files.write({str(settings.run_dir / name): json.dumps(document).encode()})
