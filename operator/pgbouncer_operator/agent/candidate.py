"""What this pod's PgBouncer should run, from the mounts, the grant and what it runs now. Pure."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pgbouncer_operator import naming
from pgbouncer_operator.agent.grant import Seen
from pgbouncer_operator.agent.mounts import AUTH_QUERY, Mounts
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.pgbouncer import hba, ini, parameters, userlist
from pgbouncer_operator.pgbouncer.composition import entries
from pgbouncer_operator.protocol import grants
from pgbouncer_operator.protocol.intent import SYSTEM_CA, DatabaseIntent, Intent
from pgbouncer_operator.protocol.state import AgentProblem, ProblemReason


@dataclass(frozen=True, slots=True)
class Identity:
    """What a pod keeps for its life. stats_user: the name probes log in with. secret: makes retired passwords."""

    stats_user: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration for this pod: the composition of its ini, and the other files.

    seq, cap: the ledger it was made under; the shares' sum is lower where databases have maxima of their own.
    ca, certificate, key: bytes of the CA file and of the pair for clients, empty for none. They are copied, because an
    emptied mount must not break a start.
    marker: what SHOW CONFIG says once PgBouncer has read this whole configuration.
    """

    composition: ini.Composition
    seq: int
    cap: int
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    marker: str = field(init=False)

    def __post_init__(self) -> None:
        """Render once; CompositionError when that cannot be done."""
        object.__setattr__(self, "marker", ini.marker(self.composition))

    @property
    def shares(self) -> Mapping[str, int]:
        """Most server connections of each database in this pod."""
        return self.composition.shares

    def files(self) -> dict[str, bytes]:
        """Path to content, the ini last: while it is not there, nothing refers to the others."""
        paths = self.composition.paths
        logins = [(each.login, each.password) for each in self.composition.logins]
        # Even where trusted a user must be listed. Its name is random and stays in this pod, so its hash is a secret.
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
class Fresh:
    """What a new composition takes besides the mounts. retired: every login this PgBouncer has ever known.

    lingering: databases on their way out, whose clients have not left yet.
    """

    identity: Identity
    settings: AgentSettings
    retired: frozenset[str] = frozenset()
    lingering: tuple[DatabaseIntent, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What to run, if anything can be, and what stands between the pod and its full wish."""

    candidate: Candidate | None
    problems: tuple[AgentProblem, ...] = ()


def peer_id(uid: str) -> int:
    """This pod's number among its peers, 1..16383: the same for the same uid, whatever else changes."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") % parameters.MAX_PEER_ID + 1


def paths(settings: AgentSettings) -> ini.Paths:
    """Where PgBouncer finds its files: everything is in the run directory, nothing on a mount that may be emptied."""
    run = str(settings.run_dir)
    return ini.Paths(run=run, ca=f"{run}/ca", system_ca=str(settings.system_ca))


def target(mounts: Mounts, seen: Seen, running: Candidate | None, fresh: Fresh) -> Target:
    """The configuration to come to. Without a usable intent the running one goes on, under the present grant."""
    if seen.cap == 0:
        return Target(None)
    problem = gate(mounts)
    if problem is None:
        try:
            return Target(candidate(mounts, seen, fresh))
        except (ini.CompositionError, userlist.UserlistError, grants.GrantsError) as error:
            problem = AgentProblem(ProblemReason.CANDIDATE_REFUSED, str(error))
    return Target(regranted(running, seen) if running else None, (problem,))


def gate(mounts: Mounts) -> AgentProblem | None:
    """Why the mounted configuration is not the one to run, or None. A half-delivered change waits."""
    if mounts.intent is None:
        absent = "not in " in mounts.intent_error
        reason = ProblemReason.HALF_DELIVERED if absent else ProblemReason.CANDIDATE_REFUSED
        return AgentProblem(reason, mounts.intent_error)
    if not mounts.uid:
        return AgentProblem(ProblemReason.HALF_DELIVERED, "the pod's uid is not mounted yet")
    wanted = mounts.annotations.get(naming.ANNOTATION_CONFIG, "")
    if wanted and wanted != mounts.intent.digest:
        return AgentProblem(
            ProblemReason.HALF_DELIVERED,
            f"the pod's annotation names configuration {wanted}, mounted is {mounts.intent.digest}",
        )
    if mounts.intent.server_tls.ca not in {"", SYSTEM_CA} and not mounts.ca:
        return AgentProblem(
            ProblemReason.HALF_DELIVERED,
            f"the CA file {mounts.intent.server_tls.ca} is not mounted: create what backend.tls.ca refers to",
        )
    if mounts.intent.client_tls and not (mounts.certificate and mounts.key):
        lacking = " and ".join(
            name for name, value in zip(naming.TLS_KEYS, (mounts.certificate, mounts.key), strict=True) if not value
        )
        return AgentProblem(
            ProblemReason.HALF_DELIVERED, f"{lacking} not mounted: create the Secret that clients.tls.secretName names"
        )
    return None


def candidate(mounts: Mounts, seen: Seen, fresh: Fresh) -> Candidate:
    """The mounted intent under the grant. CompositionError, UserlistError or GrantsError says what does not fit."""
    intent = mounts.intent
    assert intent is not None, "gate() lets no absent intent pass"
    kept = lingering(intent, fresh.lingering, seen.cap)
    lookup = mounts.users.get(AUTH_QUERY)
    return Candidate(
        ini.Composition(
            intent=intent,
            shares=_shares(intent, kept, seen.cap),
            seq=seen.since,
            logins=_logins(mounts, intent, fresh),
            credentials=_credentials(mounts),
            stats_user=fresh.identity.stats_user,
            paths=paths(fresh.settings),
            port=fresh.settings.port,
            peer_id=peer_id(mounts.uid),
            peers=_peers(mounts.grants),
            lingering=kept,
            lookup=lookup.credential.login if lookup and lookup.credential else "",
        ),
        seen.seq,
        seen.cap,
        mounts.ca,
        mounts.certificate,
        mounts.key,
    )


def lingering(intent: Intent, leaving: Iterable[DatabaseIntent], cap: int) -> tuple[DatabaseIntent, ...]:
    """Those of the leaving databases that the pod's cap still has a connection for, beside those that stay."""
    staying = {each.name for each in intent.databases}
    room = max(0, cap - len(entries(intent)))
    return tuple(each for each in leaving if each.name not in staying)[:room]


def regranted(running: Candidate, seen: Seen) -> Candidate:
    """What runs, under another grant; as it is when the cap cannot be shared by its databases."""
    try:
        shares = _shares(running.composition.intent, running.composition.lingering, seen.cap)
    except grants.GrantsError:
        return running
    composition = replace(running.composition, shares=shares, seq=seen.since)
    return replace(running, seq=seen.seq, cap=seen.cap, composition=composition)


def shrunk(running: Candidate, clients: Mapping[str, int]) -> Candidate:
    """A draining pod's next shares: what the clients of each database can use, at least 1, never more than before.

    clients: by database; one that is not in it keeps its share.
    """
    shares = {name: min(share, max(1, clients.get(name, share))) for name, share in running.shares.items()}
    cap = sum(shares.values())
    if cap == running.cap:
        return running
    return replace(running, cap=cap, composition=replace(running.composition, shares=shares))


def _shares(intent: Intent, leaving: tuple[DatabaseIntent, ...], cap: int) -> dict[str, int]:
    """Those on their way out keep what they hold, where the others can spare it; each of all gets at least one."""
    staying = [(each.name, each.max) for each in entries(intent)]
    spare, kept = cap - len(staying) - len(leaving), {}
    for each in leaving:
        extra = max(0, min(spare, (each.max or 1) - 1))
        kept[each.name], spare = 1 + extra, spare - extra
    return grants.split(cap - sum(kept.values()), staying) | kept


def _peers(ledger: grants.Grants | None) -> tuple[ini.Peer, ...]:
    """Every pod of the pool that has an address, this one too. Of two with one number the smaller uid is reachable."""
    known = dict(sorted(ledger.peers.items(), reverse=True)) if ledger else {}
    by_number = {peer_id(uid): address for uid, address in known.items()}
    return tuple(ini.Peer(number, address) for number, address in sorted(by_number.items()))


def _logins(mounts: Mounts, intent: Intent, fresh: Fresh) -> tuple[ini.UserEntry, ...]:
    caps = {each.name: each.max for each in intent.users}
    known = [(handle, user.credential) for handle, user in mounts.users.items() if user.credential is not None]
    users = {each.login for handle, each in known if handle != AUTH_QUERY}
    present = [
        ini.UserEntry(each.login, each.password, caps.get(handle))
        for handle, each in known
        if handle != AUTH_QUERY or each.login not in users  # a user may be the one who looks up as well
    ]
    # PgBouncer goes on to accept the old password of a login that left the file, so it stays with one nobody knows.
    gone = fresh.retired - {each.login for each in present} - {fresh.identity.stats_user}
    return (*present, *(ini.UserEntry(login, _unknown_password(fresh.identity, login)) for login in sorted(gone)))


def _unknown_password(identity: Identity, login: str) -> str:
    return hmac.new(identity.secret, login.encode(), hashlib.sha256).hexdigest()


def _credentials(mounts: Mounts) -> str:
    generations = [f"{handle}={user.generation}" for handle, user in sorted(mounts.users.items())]
    # A certificate names its key, so that nothing of the key is needed to see a change.
    hashes = (hashlib.sha256(each).hexdigest() for each in (mounts.ca, mounts.certificate))
    return " ".join([*generations, *hashes])
