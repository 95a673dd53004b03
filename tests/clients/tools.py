"""Installs the clients at their locked versions, below the cache folder, and knows how to start each program.

Run as a program it installs all: `python -m tests.clients.tools`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.clients import debian, matrix
from tests.clients.matrix import HERE, Client
from tests.process import rootfs

CACHE = rootfs.CACHE.parent / "clients"
PRISMA = {"PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true", "CHECKPOINT_DISABLE": "1", "PRISMA_HIDE_UPDATE_MESSAGE": "1"}


def command(client: Client) -> list[str]:
    """How the client's program is started. Its language must be installed."""
    match client.language:
        case "javascript":
            return ["node", str(_place("javascript") / client.program)]
        case "python":
            return [str(_place("python") / "venv/bin/python"), str(_place("python") / client.program)]
        case "go":
            return [str(_place("go") / "bin" / client.program)]
        case "rust":
            return [str(_place("rust") / "target/debug" / client.program)]
        case "php" | "ruby":
            return debian.command(_place(client.language), client.language, client.program)
        case "java":
            target = _place("java") / "target"
            return ["java", "-cp", f"{target}/classes:{target}/dependency/*", client.program]
    raise KeyError(client.language)


def install() -> None:
    """Install what the clients of the matrix need. RuntimeError: a tool is missing and cannot be installed."""
    for language in sorted({each.language for each in matrix.clients()}):
        place = _place(language)
        if language in debian.LANGUAGES:
            debian.install(place, language)
            continue
        place.mkdir(parents=True, exist_ok=True)
        shutil.copytree(HERE / language, place, dirs_exist_ok=True)  # programs change more often than lock files
        _INSTALL[language](place)


def _javascript(place: Path) -> None:
    _need("npm", "npm", "nodejs")
    if not (place / ".complete").exists():
        # Scripts of packages would fetch engines that Prisma 7 does not need with an adapter.
        _run(place, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    # The client generator asks for the engine of migrations, and never starts it.
    _run(place, "npx", "--no-install", "prisma", "generate", "--schema", "schema.prisma", **PRISMA)
    (place / ".complete").touch()


def _python(place: Path) -> None:
    if not (place / ".complete").exists():
        _run(place, sys.executable, "-m", "venv", "--clear", "venv")
        pip = ("venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(place, *pip, "--require-hashes", "--no-deps", "-r", "requirements.lock")
    (place / ".complete").touch()


def _go(place: Path) -> None:
    _need("go", "golang")
    _run(place, "go", "build", "-mod=readonly", "-o", "bin/", "./...")


def _java(place: Path) -> None:
    _need("javac", "default-jdk-headless")
    _need("mvn", "maven")
    maven = ("mvn", "--batch-mode", "--quiet")
    if not (place / ".complete").exists():
        _run(place, *maven, "dependency:copy-dependencies")
    _run(place, *maven, "compiler:compile")
    (place / ".complete").touch()


def _rust(place: Path) -> None:
    _need("cargo", "cargo")
    _run(place, "cargo", "build", "--quiet", "--locked", "--jobs", "2")


_INSTALL = {"javascript": _javascript, "python": _python, "go": _go, "java": _java, "rust": _rust}
_LOCKS = {
    "javascript": "package-lock.json",
    "python": "requirements.lock",
    "go": "go.sum",
    "java": "pom.xml",
    "rust": "Cargo.lock",
}


def _place(language: str) -> Path:
    """A folder for the content of the lock file, so that another lock file is another installation."""
    if language in debian.LANGUAGES:
        return debian.tree(CACHE)
    lock = (HERE / language / _LOCKS[language]).read_bytes()
    return CACHE / f"{language}-{hashlib.sha256(lock).hexdigest()[:12]}"


def _need(program: str, *packages: str) -> None:
    if shutil.which(program) is None:
        print(f"installing {' '.join(packages)}", flush=True)
        _run(CACHE, "apt-get", "update", "-qq")
        _run(CACHE, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)


def _run(place: Path, *argv: str, **environment: str) -> None:
    done = subprocess.run(argv, cwd=place, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise RuntimeError(f"{' '.join(argv)} exited with {done.returncode}:\n" + "\n".join(said))


if __name__ == "__main__":
    install()
    print(CACHE)
