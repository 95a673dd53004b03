"""promtool, Prometheus' own checker of alerts, of Debian's package `prometheus`: `python -m tests.contract.promtool`.

Only the program is taken out of the package. An installation would start a Prometheus on the machine.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgbouncer-operator"
PROGRAM = CACHE / "promtool" / "promtool"
PACKAGE = "prometheus"
REMEDY = f"run `make promtool`, or put the promtool of Prometheus on PATH (Debian's package {PACKAGE} has it)"


def program() -> str:
    """The path of promtool. AssertionError when there is none."""
    found = shutil.which("promtool") or (str(PROGRAM) if os.access(PROGRAM, os.X_OK) else None)
    assert found, f"there is no promtool: {REMEDY}"
    return found


def install() -> None:
    """Fetch promtool by apt unless it is there. SystemExit when it cannot be fetched."""
    if shutil.which("promtool") or os.access(PROGRAM, os.X_OK):
        return
    if shutil.which("apt-get") is None:
        sys.exit(f"there is no apt-get: {REMEDY}")
    print(f"fetching promtool of Debian's package {PACKAGE}", flush=True)
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name)
        if os.geteuid() == 0:  # others use the lists that the machine has
            _run(folder, "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "update")
        _run(folder, "apt-get", "-q", "download", PACKAGE)
        (package,) = folder.glob("*.deb")
        _run(folder, "dpkg-deb", "--extract", str(package), "tree")
        (folder / "tree/usr/bin/promtool").replace(PROGRAM)


def _run(folder: Path, *argv: str) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)} exited with {done.returncode}: {(done.stdout + done.stderr).strip()}\n{REMEDY}")


if __name__ == "__main__":
    install()
