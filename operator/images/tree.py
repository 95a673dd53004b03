"""Copies Debian packages, and the libraries that their programs load, into an empty directory that becomes an image.

A build stage runs `python3 tree.py DEST PACKAGE...`. Standard library only.
The result has no shell and no package manager. It keeps each package's copyright file, and its record under
/var/lib/dpkg/status.d, where image scanners read it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

UID = 65532
MERGED = ("bin", "sbin", "lib", "lib64")  # links into /usr on every Debian since 12
COPYRIGHT = "/usr/share/doc/*/copyright"
STDLIB = "/usr/lib/python3.*"
LEFT_OUT = (
    "/etc/default/*",
    "/etc/init.d/*",
    "/etc/logrotate.d/*",
    "/etc/pgbouncer/*",
    "/usr/bin/py3*",
    "/usr/lib/systemd/*",
    "/usr/share/applications/*",
    "/usr/share/binfmts/*",
    "/usr/share/doc/*",
    "/usr/share/lintian/*",
    "/usr/share/man/*",
    "/usr/share/pixmaps/*",
    "/usr/share/python3/*",
    f"{STDLIB}/__phello__/*",
    f"{STDLIB}/curses/*",
    f"{STDLIB}/dbm/*",
    f"{STDLIB}/ensurepip/*",
    f"{STDLIB}/idlelib/*",
    f"{STDLIB}/lib-dynload/_curses*",
    f"{STDLIB}/lib-dynload/_dbm*",
    f"{STDLIB}/lib-dynload/_gdbm*",
    f"{STDLIB}/lib-dynload/_sqlite3*",
    f"{STDLIB}/lib-dynload/_test*",
    f"{STDLIB}/lib-dynload/_xxtest*",
    f"{STDLIB}/lib-dynload/readline*",
    f"{STDLIB}/pydoc_data/*",
    f"{STDLIB}/sqlite3/*",
    f"{STDLIB}/test/*",
    f"{STDLIB}/turtledemo/*",
    f"{STDLIB}/venv/*",
    "*/__pycache__/*",
)
# Files that a package's installation creates, which no list of a package's files has.
MADE = {"ca-certificates": ("/etc/ssl/certs/ca-certificates.crt",)}
# Packages of which only a part is used without a shell.
PARTS = {
    "base-files": ("/etc/debian_version", "/usr/lib/os-release", "/etc/os-release", COPYRIGHT),
    "ca-certificates": (COPYRIGHT,),
    "libc-bin": ("/usr/lib/locale/C.utf8/*", COPYRIGHT),
    "libc6": ("/usr/lib/*/lib*.so.*", COPYRIGHT),  # wheels still load libpthread and others, which are empty now
}


def main(destination: Path, packages: Iterable[str]) -> None:
    """Fill `destination`. Raises LookupError for a library that no package has."""
    shipped = {path for package in packages for path in files_of(package)}
    shipped |= set(libraries(shipped))
    owners = owners_of(shipped) | set(packages)
    shipped |= {path for owner in owners for path in files_of(owner) if fnmatch(path, COPYRIGHT)}
    skeleton(destination)
    for path in sorted(shipped):
        copy(path, destination)
    for owner in sorted(owners):
        record = run("dpkg-query", "--status", owner)
        write(destination / "var/lib/dpkg/status.d" / owner.partition(":")[0], record)


def files_of(package: str) -> Iterator[str]:
    """Paths below /usr of the package's files and links that an image needs."""
    listed = run("dpkg-query", "--listfiles", package).splitlines()
    for name in (*listed, *MADE.get(package, ())):
        path = merged(name)
        if os.path.isdir(path) and not os.path.islink(path):
            continue
        if os.path.lexists(path) and (path in MADE.get(package, ()) or wanted(path, package)):
            yield path


def wanted(path: str, package: str) -> bool:
    """Whether a file of `package` is used at run time."""
    if package in PARTS:
        return any(fnmatch(path, pattern) for pattern in PARTS[package])
    return fnmatch(path, COPYRIGHT) or not any(fnmatch(path, pattern) for pattern in LEFT_OUT)


def libraries(paths: Iterable[str]) -> Iterator[str]:
    """Every shared library that the programs among `paths` load, with the links to it. Raises LookupError."""
    for path in paths:
        if not is_elf(path):
            continue
        for line in run("ldd", path, accept=(0, 1)).splitlines():
            name, _, target = (part.strip() for part in line.partition("=>"))
            if target == "not found":
                raise LookupError(f"{path} needs {name}, which no installed package has")
            library = (target or name).partition(" (")[0]
            if library.startswith("/"):
                yield from links(library)


def links(path: str) -> Iterator[str]:
    """`path` below /usr, and the targets of its links, one after the other."""
    path = merged(path)
    yield path
    while os.path.islink(path):
        path = merged(os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path))))
        yield path


def is_elf(path: str) -> bool:
    """Whether the file is a program or a shared library."""
    if os.path.islink(path) or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def merged(path: str) -> str:
    """The path below /usr. Older packages and the loader name some paths without /usr."""
    return f"/usr{path}" if path.split("/")[1] in MERGED else path


def owners_of(paths: Iterable[str]) -> set[str]:
    """Names of the packages that the files belong to."""
    listed = sorted(paths)
    spelled = listed + [path.removeprefix("/usr") for path in listed if path.startswith("/usr/lib")]
    found = run("dpkg-query", "--search", *spelled, accept=(0, 1)).splitlines()
    return {
        owner.strip()
        for line in found
        if ": /" in line
        for owner in line.partition(": /")[0].split(",")
        if not owner.startswith("diversion")
    }


def skeleton(destination: Path) -> None:
    """Create what every root file system has: the links into /usr, empty directories, one user."""
    for name in MERGED:
        (destination / "usr" / name).mkdir(parents=True, exist_ok=True)
        (destination / name).symlink_to(f"usr/{name}")
    for name in ("dev", "proc", "run", "sys", "etc", "var/lib/dpkg/status.d"):
        (destination / name).mkdir(parents=True, exist_ok=True)
    (destination / "tmp").mkdir()
    (destination / "tmp").chmod(0o1777)
    # OpenSSL reads the certificates that it trusts from this path.
    (destination / "usr/lib/ssl").mkdir()
    (destination / "usr/lib/ssl/cert.pem").symlink_to("/etc/ssl/certs/ca-certificates.crt")
    users = f"root:x:0:0:root:/:/nonexistent\nnonroot:x:{UID}:{UID}:nonroot:/nonexistent:/nonexistent\n"
    write(destination / "etc/passwd", users)
    write(destination / "etc/group", f"root:x:0:\nnonroot:x:{UID}:\n")
    write(destination / "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n")


def copy(path: str, destination: Path) -> None:
    """Copy one file or link, with its mode."""
    target = destination / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target, follow_symlinks=False)


def write(path: Path, text: str) -> None:
    """Write a file that everybody may read."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


def run(*argv: str, accept: tuple[int, ...] = (0,)) -> str:
    """The output of a program. Raises CalledProcessError for an exit code that is not accepted."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if done.returncode not in accept:
        raise subprocess.CalledProcessError(done.returncode, argv[:3])
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
