"""The configuration that this pod's PgBouncer should run, from the mounts, the grant and what it runs now. Pure."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pgbouncer_operator import naming
from pgbouncer_operator.agent import shares
from pgbouncer_operator.agent.grant import AcceptedGrant
from pgbouncer_operator.agent.mounts import AUTH_QUERY, Credential, Mounts
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.pgbouncer import hba, ini, parameters, userlist
from pgbouncer_operator.protocol import grants
from pgbouncer_operator.protocol.intent import SYSTEM_CA, DatabaseIntent, Intent
from pgbouncer_operator.protocol.reasons import ProblemReason
from pgbouncer_operator.protocol.state import AgentProblem


@dataclass(frozen=True, slots=True)
class Identity:
    """What a pod keeps for its life."""

    stats_user: str
    """The login of the probes; random."""
    secret: bytes = field(repr=False)
    """The key that passwords of retired logins are made with."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration for this pod: its pgbouncer.ini and the files that it refers to.

    Certificates are copied into the run directory, because an emptied mount must not break a start of PgBouncer.
    """

    composition: ini.Composition
    seq: int
    """Sequence of the ledger that it was made under."""
    cap: int
    """The pod's grant; the shares' sum is lower where databases have a `max`."""
    ca: bytes = b""
    """The CA of PostgreSQL in PEM; empty for none."""
    certificate: bytes = b""
    """The certificate for clients in PEM; empty for none."""
    key: bytes = field(default=b"", repr=False)
    """The key of `certificate`."""
    marker: str = field(init=False)
    """The value that SHOW CONFIG shows when PgBouncer has read this configuration to its last line."""

    def __post_init__(self) -> None:
        """Compute the marker. Raises CompositionError when the composition cannot be rendered."""
        object.__setattr__(self, "marker", ini.marker(self.composition))

    @property
    def shares(self) -> Mapping[str, int]:
        """The most server connections of each database in this pod."""
        return self.composition.shares

    def files(self) -> dict[str, bytes]:
        """Content by path. pgbouncer.ini is the last, since it refers to the others."""
        paths = self.composition.paths
        logins = [(each.login, each.password) for each in self.composition.logins]
        # PgBouncer wants even a trusted user in the userlist. The name is random and stays in this pod, so its hash can
        # serve as the password.
        prober = self.composition.stats_user
        logins.append((prober, hashlib.sha256(prober.encode()).hexdigest()))
        files = {
            paths.userlist: userlist.render(logins).encode(),
            paths.hba: hba.render(prober).encode(),
        }
        if self.ca:
            files[f"{paths.ca}/{self.composition.intent.server_tls.ca}"] = self.ca
        if self.composition.intent.client_tls:
            files |= {paths.certificate: self.certificate, paths.key: self.key}
        return files | {paths.ini: ini.render(self.composition).encode()}


@dataclass(frozen=True, slots=True)
class CandidateInputs:
    """What a candidate is made of besides the mounts and the grant."""

    identity: Identity
    settings: AgentSettings
    retired: frozenset[str] = frozenset()
    """Every login that was in the userlist in this pod's life."""
    lingering: tuple[DatabaseIntent, ...] = ()
    """Databases that are removed and still have clients."""
    open_files: int = 0
    """The most files that PgBouncer may open in this pod; 0 while it is unknown."""
    demand: Mapping[str, int] = field(default_factory=dict)
    """Server connections that each database can use; see `Needs`."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to run."""

    candidate: Candidate | None
    """None while the pod cannot run anything."""
    problems: tuple[AgentProblem, ...] = ()
    """Why it is not the mounted configuration; empty when it is."""


def peer_id(uid: str) -> int:
    """The peer_id of a pod, 1..16383: a hash of its uid."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") % parameters.MAX_PEER_ID + 1


def paths(settings: AgentSettings) -> ini.Paths:
    """The paths of PgBouncer's files: all in the run directory, since a mount may be emptied."""
    run = str(settings.run_dir)
    return ini.Paths(run=run, ca=f"{run}/ca", system_ca=str(settings.system_ca))


def target(mounts: Mounts, grant: AcceptedGrant, running: Candidate | None, inputs: CandidateInputs) -> Target:
    """The configuration to run. Without a usable intent the running one goes on, under the present grant."""
    if grant.cap == 0:
        return Target(None)
    problem = mount_problem(mounts)
    if problem is None:
        try:
            return Target(candidate(mounts, grant, inputs))
        except (ini.CompositionError, userlist.UserlistError, grants.GrantsError) as error:
            problem = AgentProblem(ProblemReason.CANDIDATE_REFUSED, str(error))
    return Target(regranted(running, grant, inputs.demand) if running else None, (problem,))


def mount_problem(mounts: Mounts) -> AgentProblem | None:
    """Why the mounted configuration must not run yet; None when it may."""
    if mounts.intent is None:
        absent = "not in " in mounts.intent_error
        reason = ProblemReason.HALF_DELIVERED if absent else ProblemReason.CANDIDATE_REFUSED
        return AgentProblem(reason, mounts.intent_error)
    if not mounts.uid:
        return AgentProblem(
            ProblemReason.HALF_DELIVERED, "the pod's uid is not mounted yet: wait until kubelet mounts it"
        )
    wanted = mounts.annotations.get(naming.ANNOTATION_CONFIG, "")
    if wanted and wanted != mounts.intent.digest:
        return AgentProblem(
            ProblemReason.HALF_DELIVERED,
            f"the pod's annotation names configuration {wanted}, but {mounts.intent.digest} is mounted: wait until "
            "kubelet mounts it, for a minute at most",
        )
    if mounts.intent.server_tls.ca not in {"", SYSTEM_CA} and not mounts.ca:
        return AgentProblem(
            ProblemReason.HALF_DELIVERED,
            f"the CA file {mounts.intent.server_tls.ca} is not mounted: create what backend.tls.ca refers to",
        )
    if mounts.intent.client_tls and not (mounts.certificate and mounts.key):
        pair = zip(naming.TLS_KEYS, (mounts.certificate, mounts.key), strict=True)
        lacking = [name for name, value in pair if not value]
        return AgentProblem(
            ProblemReason.HALF_DELIVERED,
            f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not mounted: create the Secret that "
            "clients.tls.secretName names",
        )
    return None


def candidate(mounts: Mounts, grant: AcceptedGrant, inputs: CandidateInputs) -> Candidate:
    """The mounted intent under the grant.

    Raises CompositionError, UserlistError or GrantsError for what does not fit.
    """
    intent = mounts.intent
    assert intent is not None, "mount_problem reports an absent intent"
    removed = shares.lingering(intent, inputs.lingering, grant.cap)
    lookup = mounts.users.get(AUTH_QUERY)
    return Candidate(
        ini.Composition(
            intent=intent,
            shares=shares.divided(intent, removed, grant.cap, inputs.demand),
            seq=grant.since,
            logins=_logins(mounts, intent, inputs),
            credentials=_credentials(mounts),
            stats_user=inputs.identity.stats_user,
            paths=paths(inputs.settings),
            port=inputs.settings.port,
            peer_id=peer_id(mounts.uid),
            peers=_peers(mounts.grants),
            lingering=removed,
            lookup=lookup.credential.login if lookup and lookup.credential else "",
            open_files=inputs.open_files,
        ),
        grant.seq,
        grant.cap,
        mounts.ca,
        mounts.certificate,
        mounts.key,
    )


def limited(candidate: Candidate | None) -> AgentProblem | None:
    """What to do where the open files do not suffice for the clients that the pool wants; None where they do."""
    if candidate is None or candidate.composition.clients == candidate.composition.clients_wanted:
        return None
    composition = candidate.composition
    return AgentProblem(
        ProblemReason.CLIENTS_LIMITED,
        f"the node lets PgBouncer open {composition.open_files} files in a pod, so a pod accepts "
        f"{composition.clients} clients, not {composition.clients_wanted}: raise the hard limit of open files of the "
        "node's container runtime, or lower clients.maxPerPod",
    )


def regranted(running: Candidate, grant: AcceptedGrant, demand: Mapping[str, int] = shares.NO_DEMAND) -> Candidate:
    """What runs, under another grant. Unchanged when the cap is too small for its databases."""
    before = running.composition
    try:
        divided = shares.divided(before.intent, before.lingering, grant.cap, demand)
    except grants.GrantsError:
        return running
    composition = replace(before, shares=divided, seq=grant.since)
    return replace(running, seq=grant.seq, cap=grant.cap, composition=composition)


def _peers(ledger: grants.Grants | None) -> tuple[ini.Peer, ...]:
    """Every pod of the pool that has an address, this one too. Of two pods with one peer_id the smaller uid counts."""
    addresses = dict(sorted(ledger.peers.items(), reverse=True)) if ledger else {}
    by_number = {peer_id(uid): address for uid, address in addresses.items()}
    return tuple(ini.Peer(number, address) for number, address in sorted(by_number.items()))


def _logins(mounts: Mounts, intent: Intent, inputs: CandidateInputs) -> tuple[ini.UserEntry, ...]:
    usable = [(handle, user.credential) for handle, user in mounts.users.items() if user.credential is not None]
    users = {each.login for handle, each in usable if handle != AUTH_QUERY}
    present = _merged(
        intent,
        # A user may also be the role that looks up logins.
        [(handle, each) for handle, each in usable if handle != AUTH_QUERY or each.login not in users],
    )
    # PgBouncer goes on accepting the cached password of a login that is no longer in the userlist. So the login stays
    # there, with a password that no client has.
    gone = inputs.retired - {each.login for each in present} - {inputs.identity.stats_user}
    return (*present, *(ini.UserEntry(login, _unknown_password(inputs.identity, login)) for login in sorted(gone)))


def _merged(intent: Intent, usable: Iterable[tuple[str, Credential]]) -> list[ini.UserEntry]:
    """One entry for each login. Handles whose Secrets hold the same login and password share the lowest cap.

    Raises CompositionError, which names both handles, for one login with two passwords.
    """
    caps = {each.name: each.max for each in intent.users}
    found: dict[str, tuple[str, ini.UserEntry]] = {}
    for handle, each in usable:
        entry = ini.UserEntry(each.login, each.password, caps.get(handle))
        other, before = found.setdefault(each.login, (handle, entry))
        if before.password != each.password:
            raise ini.CompositionError(
                f"the Secrets of users {other} and {handle} hold the same login with different passwords: remove one"
            )
        limits = [one.max for one in (before, entry) if one.max is not None]
        found[each.login] = other, replace(before, max=min(limits, default=None))
    return [entry for _, entry in found.values()]


def _unknown_password(identity: Identity, login: str) -> str:
    return hmac.new(identity.secret, login.encode(), hashlib.sha256).hexdigest()


def _credentials(mounts: Mounts) -> str:
    generations = [f"{handle}={user.generation}" for handle, user in sorted(mounts.users.items())]
    # The certificate holds its public key, so its hash changes with the pair.
    hashes = (hashlib.sha256(each).hexdigest() for each in (mounts.ca, mounts.certificate))
    return " ".join([*generations, *hashes])
