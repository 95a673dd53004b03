"""How this machine's pip reaches its index, in files that a build mounts and no image keeps. Standard library only."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Settings that say where packages come from; local paths among pip's settings mean nothing in a build.
PASSED = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
MOUNTED = "/run/ca.crt"  # where the Containerfiles mount the secret `ca`
LINE = re.compile(r"^(?:global|install|:env:)\.(?P<key>[a-z-]+)='(?P<value>.*)'$")


def secrets(directory: Path) -> dict[str, Path]:
    """Build secrets by id, written to `directory` where need be: `pip` (a pip.conf) and `ca` (certificates)."""
    certificates = authorities(os.environ, settings())
    conf = configuration(settings(), certificates is not None)
    found = {"ca": certificates} if certificates else {}
    if conf:
        path = directory / "pip.conf"
        path.touch(mode=0o600)  # an index's address may hold a password
        path.write_text(conf, encoding="utf-8")
        found["pip"] = path
    return found


def settings() -> dict[str, str]:
    """pip's settings here, its environment variables winning; empty without pip."""
    for program in ([sys.executable, "-m", "pip"], ["pip3"], ["pip"]):
        try:
            listed = subprocess.run([*program, "config", "list"], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        # Environment variables are listed first, so they are put in last.
        return {match["key"]: match["value"] for line in reversed(listed.splitlines()) if (match := LINE.match(line))}
    return {}


def configuration(found: Mapping[str, str], certificates: bool) -> str:
    """The pip.conf for a build; empty when pip's defaults do."""
    lines = [f"{key} = {found[key]}" for key in PASSED if key in found]
    if certificates:
        lines.append(f"cert = {MOUNTED}")
    return "\n".join(("[global]", *lines, "")) if lines else ""


def authorities(environment: Mapping[str, str], found: Mapping[str, str]) -> Path | None:
    """The certificates that pip was told to trust here; None when it uses its own."""
    named = [environment[key] for key in CERTIFICATES if environment.get(key)]
    if "cert" in found:
        named.insert(0, found["cert"])
    return next((Path(name) for name in named if Path(name).is_file()), None)
