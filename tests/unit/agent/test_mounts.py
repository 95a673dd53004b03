"""Reading what kubelet mounted."""

import shutil
from pathlib import Path

import pytest

from pgbouncer_operator import naming
from pgbouncer_operator.agent import mounts
from pgbouncer_operator.agent.mounts import Credential
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent, ServerTls, UserIntent

USER = UserIntent("shop", "shop")
INTENT = Intent("ns/shop", {}, (DatabaseIntent("shop", "postgres"),), (USER,), ServerTls("verify-full", "ca.crt"))


def volume(directory: Path, generation: str, **files: bytes) -> None:
    """A volume with one generation of files, as kubelet makes it."""
    target = directory / generation
    target.mkdir(parents=True)
    for name, content in files.items():
        (target / name.replace("__", ".")).write_bytes(content)
    (directory / "..data").unlink(missing_ok=True)
    (directory / "..data").symlink_to(generation)


def mounted(root: Path) -> AgentSettings:
    """Every volume of a pod with one user, as kubelet mounts them."""
    found = AgentSettings(**{f"{name}_dir": root / name for name in ("config", "grants", "users", "ca", "pod", "run")})
    volume(found.config_dir, "..1", current__json=INTENT.to_json().encode())
    volume(found.grants_dir, "..1", grants__json=Grants(3, 8, {"uid-1": Grant(5, 3, 5)}).to_json().encode())
    volume(found.users_dir / "shop", "..7", username=b"shop", password=b"s3cret")
    volume(found.ca_dir, "..1", ca__crt=b"PEM")
    volume(found.pod_dir, "..1", uid=b"uid-1", annotations=f'{naming.ANNOTATION_CONFIG}="abc"'.encode())
    return found


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    return mounted(tmp_path)


def test_everything_mounted_is_read(settings: AgentSettings) -> None:
    found = mounts.read(settings, {})
    assert (found.intent, found.intent_error, found.grants_error) == (INTENT, "", "")
    assert found.grants is not None
    assert found.grants.pods["uid-1"].cap == 5
    assert found.users["shop"] == mounts.MountedUser(Credential("shop", "s3cret"), "", "..7")
    assert (found.ca, found.uid, found.annotations) == (b"PEM", "uid-1", {naming.ANNOTATION_CONFIG: "abc"})


def test_a_password_is_in_no_representation(settings: AgentSettings) -> None:
    assert "s3cret" not in repr(mounts.read(settings, {}))


def test_content_never_passes_for_that_of_the_generation_that_comes_while_it_is_read(
    settings: AgentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marker of a configuration names generations: under the new name the old password would stay for ever."""
    directory, reads = settings.users_dir / "shop", Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        content = reads(path)
        if path.parent == directory / "..7" and not (directory / "..8").exists():
            volume(directory, "..8", username=b"shop", password=b"n3w")
        return content

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    found = mounts.read(settings, {}).users["shop"]
    assert (found.credential, found.generation) == (Credential("shop", "n3w"), "..8")


def test_a_volume_that_goes_while_it_is_read_does_not_pass_for_an_empty_one(
    settings: AgentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An annotation that is missing for a moment would renew every server connection, twice."""
    reads = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.parent == settings.pod_dir / "..1":
            volume(settings.pod_dir, "..2", uid=b"uid-1", annotations=b'poked="2"')
            shutil.rmtree(path.parent)
        return reads(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    found = mounts.read(settings, {})
    assert (found.uid, found.annotations) == ("uid-1", {"poked": "2"})


def test_an_emptied_secret_keeps_the_credentials_read_before_and_says_so(settings: AgentSettings) -> None:
    volume(settings.users_dir / "shop", "..8")
    found = mounts.read(settings, {"shop": Credential("shop", "s3cret")}).users["shop"]
    assert found.credential == Credential("shop", "s3cret")
    assert "does not exist or is empty" in found.message
    assert found.message.endswith("The credentials read before stay in use.")
    assert found.generation == "..8"


def test_a_secret_that_was_never_there_gives_no_credential(settings: AgentSettings) -> None:
    volume(settings.users_dir / "shop", "..8")
    found = mounts.read(settings, {}).users["shop"]
    assert found.credential is None
    assert "Create it, or correct users[shop].secretRef." in found.message


def test_an_emptied_ca_gives_what_was_installed_last_and_nothing_where_nothing_was(settings: AgentSettings) -> None:
    volume(settings.ca_dir, "..2")
    assert mounts.read(settings, {}).ca == b""
    (settings.run_dir / "ca").mkdir(parents=True)
    (settings.run_dir / "ca" / "ca.crt").write_bytes(b"installed")
    assert mounts.read(settings, {}).ca == b"installed"
    volume(settings.ca_dir, "..3", ca__crt=b"new")
    assert mounts.read(settings, {}).ca == b"new"


@pytest.mark.parametrize(("missing", "where"), [("config_dir", "intent"), ("grants_dir", "grants")])
def test_a_document_that_is_not_mounted_is_named(settings: AgentSettings, missing: str, where: str) -> None:
    (getattr(settings, missing) / "..data").unlink()
    found = mounts.read(settings, {})
    assert getattr(found, where) is None
    assert "not in" in getattr(found, f"{where}_error")


def test_a_document_that_is_no_json_is_named_with_its_fault(settings: AgentSettings) -> None:
    volume(settings.config_dir, "..2", current__json=b"{")
    found = mounts.read(settings, {})
    assert found.intent is None
    assert found.intent_error.startswith("current.json: the document is not JSON")


def test_the_fingerprint_changes_with_any_volume_and_only_then(settings: AgentSettings) -> None:
    before = mounts.fingerprint(mounts.volumes(settings))
    assert mounts.fingerprint(mounts.volumes(settings)) == before
    volume(settings.users_dir / "shop", "..8", username=b"shop", password=b"other")
    assert mounts.fingerprint(mounts.volumes(settings)) != before


CREDENTIALS = [
    ("the usual keys", USER, {"username": b"a", "password": b"b"}, Credential("a", "b")),
    ("user where there is no username", USER, {"user": b"a", "password": b"b"}, Credential("a", "b")),
    ("username before user", USER, {"user": b"x", "username": b"a", "password": b"b"}, Credential("a", "b")),
    ("named keys", UserIntent("shop", "shop", "u", "p"), {"u": b"a", "p": b"b"}, Credential("a", "b")),
    (
        "any character that is none of control",
        USER,
        {"username": "ü".encode(), "password": b"'\"\\ ;#"},
        Credential("ü", "'\"\\ ;#"),
    ),
    (
        "a URL",
        UserIntent("shop", "shop", url_key="uri"),
        {"uri": b"postgres://app:p%40ss@db:5432/shop?sslmode=require\n", "username": b"not this"},
        Credential("app", "p@ss"),
    ),
    (
        "no URL",
        UserIntent("shop", "shop", url_key="uri"),
        {"url": b"x"},
        "The Secret of user shop has no key uri; found: url. Set users[shop].urlKey.",
    ),
    (
        "a URL of something else",
        UserIntent("shop", "shop", url_key="uri"),
        {"uri": b"mysql://app:hush@db"},
        "Key uri in the Secret of user shop is not a URL that begins with postgres:// or postgresql://: correct it.",
    ),
    (
        "no password",
        USER,
        {"uri": b"x", "username": b"a"},
        "The Secret of user shop has no key password; found: uri, username. Set users[shop].passwordKey.",
    ),
    (
        "no login",
        USER,
        {"password": b"b"},
        "The Secret of user shop has no key username; found: password. Set users[shop].usernameKey.",
    ),
    (
        "a newline at the end",
        USER,
        {"username": b"a", "password": b"hush\n"},
        "Key password in the Secret of user shop ends with a newline: write it without one (echo -n).",
    ),
    (
        "not UTF-8",
        USER,
        {"username": b"a", "password": b"\xff"},
        "Key password in the Secret of user shop is not UTF-8: write it as UTF-8 text.",
    ),
]


@pytest.mark.parametrize(
    ("user", "files", "expected"), [case[1:] for case in CREDENTIALS], ids=[case[0] for case in CREDENTIALS]
)
def test_a_secret_becomes_a_credential_or_a_remedy(
    user: UserIntent, files: dict[str, bytes], expected: Credential | str
) -> None:
    assert mounts.credential(user, files) == expected


@pytest.mark.parametrize("password", [b"hu\nsh", b"", b"hush\x00", b"\xffhush", b"h" * 70_000])
def test_a_password_that_cannot_be_used_is_refused_without_being_told(password: bytes) -> None:
    found = mounts.credential(USER, {"username": b"a", "password": password})
    assert isinstance(found, str)
    assert "hush" not in found
    assert "hhh" not in found
    assert "shop" in found


ANNOTATIONS = [
    ("nothing", "", {}),
    ("two lines", 'a/b="1"\nc="2"', {"a/b": "1", "c": "2"}),
    ("escapes of Go", r'a="x\ny\t\"\\\x41\u00fc\U0001f600"', {"a": 'x\ny\t"\\Aü😀'}),
    ("an equals sign in the value", 'a="b=c"', {"a": "b=c"}),
    ("a line that is none", 'broken\na="1"', {"a": "1"}),
]


@pytest.mark.parametrize(
    ("text", "expected"), [case[1:] for case in ANNOTATIONS], ids=[case[0] for case in ANNOTATIONS]
)
def test_annotations_are_read_as_the_downward_api_writes_them(text: str, expected: dict[str, str]) -> None:
    assert mounts.parse_annotations(text) == expected


OTHER = Intent("ns/shop", {"query_timeout": 9}, INTENT.databases, INTENT.users, INTENT.server_tls)
CHOICES = [
    ("no annotation: the current one", "", INTENT.digest),
    ("the current one is named", INTENT.digest, INTENT.digest),
    ("the candidate is named", OTHER.digest, OTHER.digest),
    ("neither is named: the current one, which will wait", "0" * 16, INTENT.digest),
]


@pytest.mark.parametrize(("named", "chosen"), [case[1:] for case in CHOICES], ids=[case[0] for case in CHOICES])
def test_the_pods_annotation_chooses_between_current_and_candidate(
    settings: AgentSettings, named: str, chosen: str
) -> None:
    both = {"current__json": INTENT.to_json().encode(), "candidate__json": OTHER.to_json().encode()}
    volume(settings.config_dir, "..2", **both)
    annotations = f'{naming.ANNOTATION_CONFIG}="{named}"'.encode() if named else b""
    volume(settings.pod_dir, "..2", uid=b"uid-1", annotations=annotations)
    found = mounts.read(settings, {}).intent
    assert found is not None
    assert found.digest == chosen


def test_a_broken_candidate_hurts_no_pod_that_is_not_told_to_run_it(settings: AgentSettings) -> None:
    volume(settings.config_dir, "..2", current__json=INTENT.to_json().encode(), candidate__json=b"{")
    volume(settings.pod_dir, "..2", uid=b"uid-1", annotations=f'{naming.ANNOTATION_CONFIG}="{INTENT.digest}"'.encode())
    assert mounts.read(settings, {}).intent == INTENT
    volume(settings.pod_dir, "..3", uid=b"uid-1", annotations=f'{naming.ANNOTATION_CONFIG}="{OTHER.digest}"'.encode())
    found = mounts.read(settings, {})
    assert found.intent is None
    assert found.intent_error.startswith("candidate.json: the document is not JSON")
