"""Programs of Debian packages, taken out of the package: an installation may start a server on the machine."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgbouncer-operator"


@dataclass(frozen=True, slots=True)
class Program:
    """A program in /usr/bin of a package: the one on PATH, else the one that install() has put into the cache."""

    name: str
    package: str
    remedy: str
    """What to do where it is missing, after "there is no <name>: "."""

    def path(self) -> str:
        """The program. AssertionError when there is none."""
        found = self._there()
        assert found, f"there is no {self.name}: {self.remedy}"
        return found

    def install(self) -> None:
        """Fetch the program by apt unless it is there. SystemExit when it cannot be fetched."""
        if self._there():
            return
        if shutil.which("apt-get") is None:
            sys.exit(f"there is no apt-get: {self.remedy}")
        print(f"fetching {self.name} of Debian's package {self.package}", flush=True)
        self._kept().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            folder = Path(name)
            if os.geteuid() == 0:  # others use the lists that the machine has
                self._run(folder, "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "update")
            self._run(folder, "apt-get", "-q", "download", self.package)
            (package,) = folder.glob("*.deb")
            self._run(folder, "dpkg-deb", "--extract", str(package), "tree")
            (folder / "tree/usr/bin" / self.name).replace(self._kept())

    def _kept(self) -> Path:
        return CACHE / self.name / self.name

    def _there(self) -> str | None:
        return shutil.which(self.name) or (str(self._kept()) if os.access(self._kept(), os.X_OK) else None)

    def _run(self, folder: Path, *argv: str) -> None:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()
            sys.exit(f"{' '.join(argv)} exited with {done.returncode}: {said}\n{self.remedy}")
