"""What kubelet mounted, read into one frozen value. Nothing is decided here but whether a user's Secret can be used.

kubelet replaces a volume's content by moving its `..data` link to a new directory: the link's target is the content's
generation, and files of one generation belong together.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pgbouncer_operator import naming
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.pgbouncer import userlist
from pgbouncer_operator.protocol.grants import Grants, GrantsError
from pgbouncer_operator.protocol.intent import SYSTEM_CA, AuthQueryIntent, Intent, IntentError, UserIntent
from pgbouncer_operator.protocol.traffic import paused_until

AUTH_QUERY = "authQuery"  # the handle of the role that looks up logins; a user's handle has no capital
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Credential:
    """A login and its password, which no representation shows."""

    login: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MountedUser:
    """One user's Secret. credential: None when it cannot be used. message: what is wrong and what to do, or empty.

    generation: target of the volume's `..data` link; it changes when the Secret does and holds nothing of it.
    """

    credential: Credential | None
    message: str = ""
    generation: str = ""


@dataclass(frozen=True, slots=True)
class Mounts:
    """One look at every mount. A document that is absent or wrong is None with a message.

    intent: the candidate where the pod's annotation names it, else the current one.
    users: by handle (users[].name), in the intent's order, last the role that looks up logins under AUTH_QUERY.
    ca, certificate, key: bytes of the CA and of the pair for clients, empty when there is none.
    generations: of the volumes that hold them, by ca and tls, where they are mounted; see MountedUser.
    pause_until: unix seconds until which traffic is asked to be held back, None when it is to flow.
    """

    intent: Intent | None = None
    intent_error: str = ""
    grants: Grants | None = None
    grants_error: str = ""
    users: Mapping[str, MountedUser] = field(default_factory=dict)
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    generations: Mapping[str, str] = field(default_factory=dict)
    uid: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    pause_until: int | None = None


def volumes(settings: AgentSettings) -> list[str]:
    """The directories of every volume that is mounted."""
    users = str(settings.users_dir)
    found = [settings.config_dir, settings.grants_dir, settings.pod_dir, settings.ca_dir, settings.tls_dir]
    try:
        mounted = sorted(os.listdir(users))
    except OSError:
        mounted = []  # no users directory: no users, which reading will tell
    return [*(str(each) for each in found), *(f"{users}/{each}" for each in mounted)]


def fingerprint(volumes: Sequence[str]) -> tuple[str, ...]:
    """The generation of every volume: equal means nothing changed. Cheap enough to ask many times a second."""
    return tuple(_generation(each) for each in volumes)


def read(settings: AgentSettings, last: Mapping[str, Credential]) -> Mounts:
    """Read every mount. `last`: the credentials that worked last by handle, kept for Secrets that became unusable.

    Read again when a volume was replaced meanwhile: the one that went away looked empty, as if nothing were asked for.
    """
    while True:
        before = fingerprint(volumes(settings))
        found = _read(settings, last)
        if fingerprint(volumes(settings)) == before:
            return found


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
    ca = _ca(settings, name) if name not in {"", SYSTEM_CA} else b""
    certificate, key = _pair(settings) if mounts.intent.client_tls else (b"", b"")
    found = {"ca": _generation(str(settings.ca_dir)), "tls": _generation(str(settings.tls_dir))}
    generations = {volume: generation for volume, generation in found.items() if generation}
    return replace(mounts, users=users, ca=ca, certificate=certificate, key=key, generations=generations)


def _ca(settings: AgentSettings, name: str) -> bytes:
    """The CA's certificates. While what backend.tls.ca refers to is emptied or deleted, those installed last serve."""
    mounted = _volume(settings.ca_dir).get(name, b"")
    installed = settings.run_dir / "ca" / name  # as compose.paths has it
    return mounted if mounted or not installed.is_file() else installed.read_bytes()


def _pair(settings: AgentSettings) -> tuple[bytes, bytes]:
    """The certificate and key for clients. While the Secret is emptied or deleted, those installed last serve on."""
    mounted = _volume(settings.tls_dir)
    if not any(mounted.get(each) for each in naming.TLS_KEYS):
        installed = settings.run_dir / "tls"  # as composition.Paths has it
        mounted = {each: (installed / each).read_bytes() for each in naming.TLS_KEYS if (installed / each).is_file()}
    certificate, key = (mounted.get(each, b"") for each in naming.TLS_KEYS)
    return certificate, key


def _lookup_user(query: AuthQueryIntent) -> UserIntent:
    return UserIntent(AUTH_QUERY, query.mount, query.username_key, query.password_key)


def _documents(settings: AgentSettings, wanted: str) -> Mounts:
    """wanted: the hash that the pod's annotation names, empty for none: then a candidate is not for this pod."""
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
    """A mount has not the file that is looked for."""


def _document(directory: Path, key: str) -> str:
    files = _volume(directory)
    if key not in files:
        raise _Absent(f"not in {directory}")
    return _text(files[key])


def _user(settings: AgentSettings, user: UserIntent, last: Credential | None) -> MountedUser:
    directory = settings.users_dir / user.mount
    generation, files = _contents(directory)
    found = credential(user, files)
    if isinstance(found, Credential):
        return MountedUser(found, "", generation)
    if last is None:
        return MountedUser(None, found, generation)
    return MountedUser(last, f"{found} The credentials read before stay in use.", generation)


def credential(user: UserIntent, files: Mapping[str, bytes]) -> Credential | str:
    """The login and password in a Secret's files, or what is wrong with them. Never a value in the message."""
    whose, place = f"user {user.name}", f"users[{user.name}]"
    if user.name == AUTH_QUERY:
        whose = place = AUTH_QUERY
    if not files:
        return f"The Secret of {whose} does not exist or is empty. Create it, or correct {place}.secretRef."
    key = user.username_key or ("username" if "username" in files or "user" not in files else "user")
    values = []
    for name, setting in ((key, "usernameKey"), (user.password_key, "passwordKey")):
        if name not in files:
            found = ", ".join(sorted(files))
            return f"The Secret of {whose} has no key {name}; found: {found}. Set {place}.{setting}."
        if complaint := _complaint(files[name]):
            return f"Key {name} in the Secret of {whose} {complaint}."
        values.append(files[name].decode())
    login, password = values
    if problem := userlist.check(login, password):
        return f"In the Secret of {whose} {problem}."
    return Credential(login, password)


def _complaint(value: bytes) -> str:
    """Why PgBouncer could not use this value, or nothing."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    return "ends with a newline: write it without one (echo -n)" if text.endswith("\n") else ""


def parse_annotations(text: str) -> dict[str, str]:
    """A downward API file of annotations: one `key="value"` a line, the value quoted as Go quotes strings."""
    annotations = {}
    for line in text.split("\n"):
        key, _, quoted = line.partition("=")
        if len(quoted) >= 2 and quoted[0] == quoted[-1] == '"':
            annotations[key] = _ESCAPE.sub(_unescape, quoted[1:-1])
    return annotations


def _unescape(match: re.Match[str]) -> str:
    *codes, letter = match.groups()
    code = next((each for each in codes if each), None)
    return chr(int(code, 16)) if code else _LETTERS.get(letter, letter)


def _generation(directory: str) -> str:
    try:
        return os.readlink(f"{directory}/..data")
    except OSError:
        return ""


def _volume(directory: Path) -> dict[str, bytes]:
    """The files of a volume's present generation; none when nothing is mounted or it changes at this very moment."""
    return _contents(directory)[1]


def _contents(directory: Path) -> tuple[str, dict[str, bytes]]:
    """A generation and its files. They are looked up once: content under a newer name would pass for the new one."""
    generation = _generation(str(directory))
    if not generation:
        return "", {}
    files = {}
    try:
        for path in (directory / generation).iterdir():
            if path.is_file():
                files[path.name] = path.read_bytes()
    except OSError:
        return generation, {}  # replaced while it was read, so everything is read again
    return generation, files


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")
