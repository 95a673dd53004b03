"""What goes into an image's tree, and which packages of the lock."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from tests.localcluster import images

PROGRAMS = images.REPOSITORY / "operator/images"
LOCK = """\
alpha==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:ab
    # via beta
beta-binary==2.0 ; implementation_name != 'pypy' \\
    --hash=sha256:ba
    # via
    #   pgbouncer-operator (pyproject.toml)
gamma==3.0 \\
    --hash=sha256:ca
"""


def _program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"image_{name}", PROGRAMS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


subset = _program("subset").subset
tree = _program("tree")


def test_a_subset_keeps_an_entry_with_marker_and_all_hashes() -> None:
    assert subset(LOCK, ["gamma", "alpha"]) == (
        "alpha==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n    # via beta\n"
        "gamma==3.0 \\\n    --hash=sha256:ca\n"
    )


def test_a_package_that_the_lock_lacks_is_named() -> None:
    with pytest.raises(LookupError, match="not in the lock: delta"):
        subset(LOCK, ["alpha", "delta"])


def test_the_pools_packages_need_nothing_that_is_left_out() -> None:
    text = (PROGRAMS / "pool/Containerfile").read_text(encoding="utf-8")
    chosen = set(text.split("/build/requirements.lock ", 1)[1].split(" >", 1)[0].split())
    lock = (images.REPOSITORY / "operator/requirements.lock").read_text(encoding="utf-8")
    names = {line.partition("==")[0] for line in lock.splitlines() if "==" in line and not line.startswith(" ")}
    needed = {name for name in names - chosen if _users(subset(lock, [name])) & chosen}
    # psycopg needs these two before Python 3.13 and on Windows only.
    assert needed <= {"typing-extensions", "tzdata"}


def _users(entry: str) -> set[str]:
    """The packages for whose sake the lock has this entry, from its comment."""
    return {line.strip(" #").removeprefix("via").strip() for line in entry.splitlines() if line.startswith("    #")}


@pytest.mark.parametrize(
    ("path", "package", "kept"),
    [
        ("/usr/lib/python3.14/json/decoder.py", "libpython3.14-stdlib", True),
        ("/usr/lib/python3.14/unittest/mock.py", "libpython3.14-stdlib", True),
        ("/usr/lib/python3.14/test/regrtest.py", "libpython3.14-stdlib", False),
        ("/usr/lib/python3.14/ensurepip/__init__.py", "libpython3.14-stdlib", False),
        ("/usr/lib/python3.14/lib-dynload/_ssl.cpython-314-x86_64-linux-gnu.so", "libpython3.14-stdlib", True),
        ("/usr/lib/python3.14/lib-dynload/_sqlite3.cpython-314-x86_64-linux-gnu.so", "libpython3.14-stdlib", False),
        ("/usr/sbin/pgbouncer", "pgbouncer", True),
        ("/etc/pgbouncer/pgbouncer.ini", "pgbouncer", False),
        ("/usr/share/doc/pgbouncer/copyright", "pgbouncer", True),
        ("/usr/share/doc/pgbouncer/changelog.gz", "pgbouncer", False),
        ("/usr/lib/locale/C.utf8/LC_CTYPE", "libc-bin", True),
        ("/usr/bin/ldd", "libc-bin", False),
    ],
)
def test_a_tree_has_what_runs_and_its_licence(path: str, package: str, kept: bool) -> None:
    assert tree.wanted(path, package) is kept


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("/lib64/ld-linux-x86-64.so.2", "/usr/lib64/ld-linux-x86-64.so.2"),
        ("/usr/lib/libz.so", "/usr/lib/libz.so"),
        ("/etc/services", "/etc/services"),
        ("/library/x", "/library/x"),
    ],
)
def test_paths_are_spelled_below_usr(given: str, expected: str) -> None:
    assert tree.merged(given) == expected


def test_a_library_comes_with_every_link_to_it(tmp_path: Path) -> None:
    (tmp_path / "libx.so.1.2").write_bytes(b"\x7fELF")
    (tmp_path / "libx.so.1").symlink_to("libx.so.1.2")
    (tmp_path / "libx.so").symlink_to(tmp_path / "libx.so.1")
    assert list(tree.links(str(tmp_path / "libx.so"))) == [
        str(tmp_path / name) for name in ("libx.so", "libx.so.1", "libx.so.1.2")
    ]


def test_a_skeleton_names_the_user_the_pods_run_as(tmp_path: Path) -> None:
    tree.skeleton(tmp_path / "out")
    users = (tmp_path / "out/etc/passwd").read_text(encoding="utf-8")
    assert "nonroot:x:65532:65532:" in users
    assert (tmp_path / "out/lib64").readlink() == Path("usr/lib64")
    assert (tmp_path / "out/tmp").stat().st_mode & 0o7777 == 0o1777
