"""What the agent keeps in the run directory, so that a restart of the worker changes nothing for PgBouncer.

The directory is memory of the pod, for our uid only, and ends with the pod.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from pgbouncer_operator.agent import files
from pgbouncer_operator.agent.candidate import Identity, paths
from pgbouncer_operator.agent.grant import Seen
from pgbouncer_operator.agent.mounts import Credential
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.pgbouncer import userlist

PROBE_USER = "probe-user"  # read by probe.py
_SECRET = "retired-key"  # noqa: S105 - the name of a file
_SEEN = "seen"
_CREDENTIALS = "credentials"


def identity(settings: AgentSettings) -> Identity:
    """The pod's own names, made at the first call."""
    user = files.kept(settings.run_dir / PROBE_USER, f"probe_{secrets.token_hex(8)}\n".encode())
    secret = files.kept(settings.run_dir / _SECRET, secrets.token_bytes(32))
    return Identity(user.decode().strip(), secret)


def seen(settings: AgentSettings) -> Seen:
    """What this pod has accepted of the ledger."""
    document = _load(settings, _SEEN)
    return Seen(document.get("seq", 0), document.get("cap", 0), document.get("since", 0))


def keep_seen(settings: AgentSettings, value: Seen) -> None:
    """Remember it."""
    _save(settings, _SEEN, {"seq": value.seq, "cap": value.cap, "since": value.since})


def credentials(settings: AgentSettings) -> dict[str, Credential]:
    """The last usable credential of each user, by handle."""
    return {handle: Credential(*pair) for handle, pair in _load(settings, _CREDENTIALS).items()}


def keep_credentials(settings: AgentSettings, value: Mapping[str, Credential]) -> None:
    """Remember them."""
    _save(settings, _CREDENTIALS, {handle: [each.login, each.password] for handle, each in value.items()})


def logins(settings: AgentSettings) -> frozenset[str]:
    """Every login in the installed userlist: PgBouncer may have let it in."""
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
