"""PgBouncer and PostgreSQL of the supported versions, in a Debian tree of their own.

The packages need a newer libc than a stable Debian has, so they get a root file system, built once and kept.
Programs run by chroot into it, with the machine's /tmp mounted over the tree's in a mount namespace that ends with the
process: paths are the same inside and outside, and nothing stays mounted.

Run as a program it builds the tree: `python -m tests.process.rootfs`.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

PGBOUNCER_VERSION = "1.26.1"
SUITE = "forky"
POSTGRES_BIN = "/usr/lib/postgresql/18/bin"
PACKAGES = ("pgbouncer", "postgresql-18")
UID = 65532
USER = "pool"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgbouncer-operator" / "rootfs-process"
ROOT = CACHE / PGBOUNCER_VERSION


def impossible() -> str | None:
    """Why process tests can never run here, with the remedy; None when they can."""
    if sys.platform != "linux":
        return "process tests need Linux; `make check` and `make demo` do not"
    if os.geteuid() != 0:
        return "process tests need root (chroot, mount namespace, another uid for the servers): run them with sudo"
    return None


def missing() -> str | None:
    """Why process tests cannot run here now, with the remedy; None when they can."""
    if reason := impossible():
        return reason
    if not (ROOT / ".complete").exists():
        return f"{ROOT} is not built: run `make test`, or python -m tests.process.rootfs"
    return None


def command(*argv: str, root: Path = ROOT) -> list[str]:
    """`argv` as it runs inside a tree, as the servers' user, sharing the machine's /tmp."""
    # unshare, sh and chroot exec one another, so the pid that Popen knows is the server's own.
    script = 'mount --bind /tmp "$0/tmp" && root=$0 && exec chroot --userspec=%d:%d "$root" "$@"' % (UID, UID)  # noqa: UP031
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(root), *argv]


def build() -> None:
    """Build the tree unless it is there; a half-built one is thrown away first. One builder at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (ROOT / ".complete").exists():
            return
        _require_debootstrap()
        stage = CACHE / f"{PGBOUNCER_VERSION}.building"
        shutil.rmtree(stage, ignore_errors=True)
        shutil.rmtree(ROOT, ignore_errors=True)
        _bootstrap(stage)
        _install(stage)
        found = _run("chroot", str(stage), "/usr/sbin/pgbouncer", "--version")
        if f"PgBouncer {PGBOUNCER_VERSION}" not in found:
            raise RuntimeError(f"{SUITE} has another PgBouncer than {PGBOUNCER_VERSION}: {found.splitlines()[0]}")
        (stage / ".complete").touch()
        stage.rename(ROOT)


def _require_debootstrap() -> None:
    if shutil.which("debootstrap") is None:
        print("installing debootstrap", flush=True)
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "debootstrap")


def _bootstrap(stage: Path) -> None:
    print(f"debootstrap {SUITE} into {stage}", flush=True)
    # A stable debootstrap does not know younger suites by name; all of them are built as sid is.
    script = "/usr/share/debootstrap/scripts/sid"
    _run("debootstrap", "--variant=minbase", SUITE, str(stage), _mirror(), script)


def _mirror() -> str:
    """The Debian mirror that this machine's apt uses for its main archive."""
    if configured := os.environ.get("DEBIAN_MIRROR"):
        return configured
    for line in _run("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)").splitlines():
        origin, label, uri = line.split("|", 2)
        if origin == label == "Debian":
            return uri
    raise RuntimeError("apt knows no Debian archive: set DEBIAN_MIRROR to a mirror's address")


def _install(stage: Path) -> None:
    print(f"installing {' '.join(PACKAGES)}", flush=True)
    policy = stage / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # no service is started by a package here
    policy.chmod(0o755)
    conf = stage / "etc/postgresql-common/createcluster.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text("create_main_cluster = false\n")
    unexpired = ("-o", "Acquire::Check-Valid-Until=false")  # a mirror may lag behind a moving suite
    # Some packages' scripts look into /proc; it is mounted for the length of one command only.
    mounted = 'mount --bind /proc "$0/proc" && root=$0 && exec chroot "$root" env DEBIAN_FRONTEND=noninteractive "$@"'
    inside = ("unshare", "--mount", "--propagation", "private", "sh", "-c", mounted, str(stage))
    apt = (*inside, "apt-get", *unexpired)
    _run(*apt, "update", "-qq")
    keep = ("-o", "Dpkg::Options::=--force-confold")
    _run(*apt, "install", "-y", "-qq", "--no-install-recommends", *keep, *PACKAGES)
    _run(*apt, "clean")
    # initdb wants its uid to have a name.
    with (stage / "etc/passwd").open("a") as passwd:
        passwd.write(f"{USER}:x:{UID}:{UID}::/nonexistent:/usr/sbin/nologin\n")


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise RuntimeError(f"{argv[0]} exited with {done.returncode}:\n" + "\n".join(said))
    return done.stdout


if __name__ == "__main__":
    if reason := impossible():
        sys.exit(reason)
    if sys.argv[1:] == ["possible"]:
        sys.exit()
    build()
    print(ROOT)
