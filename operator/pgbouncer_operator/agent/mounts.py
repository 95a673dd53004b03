"""The volumes that kubelet mounts, read into one frozen value. The only decision here: can a user's Secret be used?

kubelet replaces the content of a volume by moving its `..data` link to a new directory. The link's target is called
the generation of the content here; files of one generation belong together.
https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pgbouncer_operator import naming
from pgbouncer_operator.agent import certificates
from pgbouncer_operator.agent.annotations import parse_annotations
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.pgbouncer import server_url, userlist
from pgbouncer_operator.protocol.grants import Grants, GrantsError
from pgbouncer_operator.protocol.intent import SYSTEM_CA, AuthQueryIntent, Intent, IntentError, UserIntent
from pgbouncer_operator.protocol.traffic import paused_until

AUTH_QUERY = "authQuery"  # the handle of the role that looks up logins; a user's handle has no capital letter


class Unreadable(Exception):
    """A volume cannot be read now (EMFILE, EIO, EACCES): its content is unknown, not empty."""


UNKNOWN = "?"  # the generation of a Secret or certificate that cannot be read: it is read again until it can


@dataclass(frozen=True, slots=True)
class Credential:
    """A login and its password. `repr` hides the password."""

    login: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MountedUser:
    """One user's Secret."""

    credential: Credential | None
    """None when the Secret cannot be used."""
    message: str = ""
    """What is wrong and what to do about it; empty when nothing is."""
    generation: str = ""
    """Target of the volume's `..data` link. It changes with the Secret and tells nothing of its content."""


@dataclass(frozen=True, slots=True)
class Mounts:
    """The content of every volume."""

    intent: Intent | None = None
    """The candidate when the pod's annotation names it, else the current one. None when it cannot be read."""
    intent_error: str = ""
    """Why `intent` is None."""
    grants: Grants | None = None
    """None when it cannot be read."""
    grants_error: str = ""
    """Why `grants` is None."""
    users: Mapping[str, MountedUser] = field(default_factory=dict)
    """By handle (users[].name) in the intent's order; the last is the role that looks up logins, as AUTH_QUERY."""
    ca: bytes = b""
    """The CA of PostgreSQL in PEM; empty for none."""
    certificate: bytes = b""
    """The certificate for clients in PEM; empty for none."""
    key: bytes = field(default=b"", repr=False)
    """The key of `certificate`."""
    expired: Mapping[str, int] = field(default_factory=dict)
    """By volume, `ca` and `tls`: when the mounted certificate ended (Unix seconds), if the one before is used."""
    generations: Mapping[str, str] = field(default_factory=dict)
    """Generations of the volumes of CA and certificate, by `ca` and `tls`, where they are mounted."""
    uid: str = ""
    """The pod's uid; empty before the downward API's volume is mounted."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """The pod's annotations."""
    pause_until: int | None = None
    """Unix seconds until which queries are held back; None when they flow."""

    @property
    def unknown(self) -> tuple[str, ...]:
        """The volumes that could not be read, by user's handle or as `ca` and `tls`: what was read before is in use."""
        users = [handle for handle, user in self.users.items() if user.generation == UNKNOWN]
        return (*users, *(volume for volume, each in self.generations.items() if each == UNKNOWN))


def volumes(settings: AgentSettings) -> list[str]:
    """The directories of every volume that is mounted, first those of configuration, grants and pod."""
    users = str(settings.users_dir)
    fixed = [settings.config_dir, settings.grants_dir, settings.pod_dir, settings.ca_dir, settings.tls_dir]
    try:
        mounted = sorted(os.listdir(users))
    except OSError:
        mounted = []  # `read` reports the Secrets that are absent or cannot be read
    return [*(str(each) for each in fixed), *(f"{users}/{each}" for each in mounted)]


def fingerprint(volumes: Sequence[str]) -> tuple[str, ...]:
    """The generation of every volume. It changes when a volume does, and costs one readlink for each.

    Unreadable when configuration, grants or pod are unknown; a Secret or certificate is UNKNOWN then.
    """
    return tuple(_generation(each) if index < 3 else _optional_generation(each) for index, each in enumerate(volumes))


def read(settings: AgentSettings, last: Mapping[str, Credential]) -> Mounts:
    """Read every volume. last: by handle, the last usable credentials; they stay for a Secret that became unusable.

    Reads again when kubelet replaced a volume meanwhile: the old generation looked empty while it was removed.
    Unreadable when configuration, grants or pod are unknown. For any other volume what was read before stays in use.
    """
    while True:
        before = fingerprint(volumes(settings))
        try:
            mounts = _read(settings, last)
        except OSError as error:
            raise Unreadable(str(error)) from None
        if fingerprint(volumes(settings)) == before:
            return mounts


def _read(settings: AgentSettings, last: Mapping[str, Credential]) -> Mounts:
    pod = _volume(settings.pod_dir)
    annotations = parse_annotations(_text(pod.get("annotations")))
    mounts = replace(
        _documents(settings, annotations.get(naming.ANNOTATION_CONFIG, "")),
        uid=_text(pod.get("uid")).strip(),
        annotations=annotations,
        pause_until=paused_until(_text(_volume(settings.config_dir).get(naming.TRAFFIC_KEY))),
    )
    if mounts.intent is None:
        return mounts
    users = {each.name: _user(settings, each, last.get(each.name)) for each in mounts.intent.users}
    query = mounts.intent.auth_query
    if query is not None:
        users[AUTH_QUERY] = _user(settings, _lookup_user(query), last.get(AUTH_QUERY))
    name = mounts.intent.server_tls.ca
    mounted = {"ca": _optional(settings.ca_dir), "tls": _optional(settings.tls_dir)}
    ca, certificate, key, ended = b"", b"", b"", {}
    if name not in {"", SYSTEM_CA}:  # the paths of what is installed are those of candidate.paths and composition.Paths
        ca, ended["ca"] = certificates.ca(mounted["ca"][1].get(name, b""), settings.run_dir / "ca" / name)
    if mounts.intent.client_tls:
        (certificate, key), ended["tls"] = certificates.pair(mounted["tls"][1], settings.run_dir / "tls")
    generations = {volume: generation for volume, (generation, _) in mounted.items() if generation}
    expired = {volume: end for volume, end in ended.items() if end is not None}
    found = replace(mounts, users=users, ca=ca, certificate=certificate, key=key)
    return replace(found, generations=generations, expired=expired)


def _lookup_user(query: AuthQueryIntent) -> UserIntent:
    return UserIntent(AUTH_QUERY, query.mount, query.username_key, query.password_key)


def _documents(settings: AgentSettings, wanted: str) -> Mounts:
    """Intent and grants. wanted: the hash in the pod's annotation; empty for none, then the candidate is not read."""
    grants, grants_error = None, ""
    intent, intent_error = _intent(settings, naming.INTENT_KEY)
    if wanted and (intent is None or intent.digest != wanted):
        candidate, candidate_error = _intent(settings, naming.CANDIDATE_KEY)
        if candidate is not None and candidate.digest == wanted:
            intent, intent_error = candidate, ""
        elif candidate is None and naming.CANDIDATE_KEY in _volume(settings.config_dir):
            intent, intent_error = None, candidate_error
    try:
        grants = Grants.from_json(_document(settings.grants_dir, naming.GRANTS_KEY))
    except (GrantsError, _Absent) as error:
        grants_error = f"{naming.GRANTS_KEY}: {error}"
    return Mounts(intent, intent_error, grants, grants_error)


def _intent(settings: AgentSettings, key: str) -> tuple[Intent | None, str]:
    try:
        return Intent.from_json(_document(settings.config_dir, key)), ""
    except (IntentError, _Absent) as error:
        return None, f"{key}: {error}"


class _Absent(Exception):
    """A volume does not hold the file."""


def _document(directory: Path, key: str) -> str:
    files = _volume(directory)
    if key not in files:
        raise _Absent(f"not in {directory}")
    return _text(files[key])


def _user(settings: AgentSettings, user: UserIntent, last: Credential | None) -> MountedUser:
    directory = settings.users_dir / user.mount
    generation, files = _optional(directory)
    result = credential(user, files) if generation != UNKNOWN else _unreadable(user)
    if isinstance(result, Credential):
        return MountedUser(result, "", generation)
    if last is None:
        return MountedUser(None, result, generation)
    return MountedUser(last, f"{result} The credentials read before stay in use.", generation)


def _unreadable(user: UserIntent) -> str:
    return f"The Secret of user {user.name} cannot be read: check the pod's node."


def credential(user: UserIntent, files: Mapping[str, bytes]) -> Credential | str:
    """The login and password in a Secret's files, or what is wrong with them. The message holds no value."""
    whose, place = f"user {user.name}", f"users[{user.name}]"
    if user.name == AUTH_QUERY:
        whose = place = AUTH_QUERY
    if not files:
        return f"The Secret of {whose} does not exist or is empty. Create it, or correct {place}.secretRef."
    key = user.username_key or ("username" if "username" in files or "user" not in files else "user")
    apart = [(key, "usernameKey"), (user.password_key, "passwordKey")]
    values = []
    for name, setting in [(user.url_key, "urlKey")] if user.url_key else apart:
        if name not in files:
            keys = ", ".join(sorted(files))
            return f"The Secret of {whose} has no key {name}; found: {keys}. Set {place}.{setting}."
        if defect := _defect(files[name].strip() if user.url_key else files[name]):
            return f"Key {name} in the Secret of {whose} {defect}."
        values.append(files[name].decode())
    try:
        login, password = server_url.login(values[0]) if user.url_key else values
    except server_url.UrlError as error:
        return f"Key {user.url_key} in the Secret of {whose} {error}."
    if problem := userlist.check(login, password):
        return f"In the Secret of {whose} {problem}."
    return Credential(login, password)


def _defect(value: bytes) -> str:
    """Why PgBouncer cannot use this value; empty when it can."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "is not UTF-8: write it as UTF-8 text"
    return "ends with a newline: write it without one (echo -n)" if text.endswith("\n") else ""


def _generation(directory: str) -> str:
    try:
        return os.readlink(f"{directory}/..data")
    except OSError as error:
        _require_absent(error)
        return ""


def _require_absent(error: OSError) -> None:
    """Unreadable when `error` is anything but that a file or directory does not exist."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise Unreadable(str(error)) from None


def _optional_generation(directory: str) -> str:
    try:
        return _generation(directory)
    except Unreadable:
        return UNKNOWN


def _optional(directory: Path) -> tuple[str, dict[str, bytes]]:
    """The generation and the files of a volume that the pod can do without; UNKNOWN and none when it is unreadable."""
    try:
        return _contents(directory)
    except Unreadable:
        return UNKNOWN, {}


def _volume(directory: Path) -> dict[str, bytes]:
    """The files of a volume; none when nothing is mounted or kubelet replaces the volume just now."""
    return _contents(directory)[1]


def _contents(directory: Path) -> tuple[str, dict[str, bytes]]:
    """The generation of a volume and its files.

    The link is read once, so that files of the old generation never count as those of a new one.
    """
    generation = _generation(str(directory))
    if not generation:
        return "", {}
    files = {}
    try:
        for path in (directory / generation).iterdir():
            if path.is_file():
                files[path.name] = path.read_bytes()
    except OSError as error:
        _require_absent(error)
        return generation, {}  # replaced meanwhile: `read` reads everything again
    return generation, files


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")
