"""Which Debian and Python packages an image holds, as its archive says, and which the lock names."""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import quote

from tests.localcluster.archive import content
from tests.localcluster.problem import Problem

# Where operator/images/tree.py keeps the records of Debian's packages, and pip those of Python's.
DEBIAN = "var/lib/dpkg/status.d/*"
PYTHON = "usr/local/lib/python*/dist-packages/*.dist-info/METADATA"
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A package as its package URL says: https://github.com/package-url/purl-spec."""

    kind: str
    """`deb` or `pypi`."""
    name: str
    version: str
    architecture: str = ""
    """Debian's, such as `amd64` or `all`."""

    @property
    def url(self) -> str:
        """Such as pkg:deb/debian/libc6@2.42-1?arch=amd64."""
        name = f"debian/{self.name}" if self.kind == "deb" else self.name
        architecture = f"?arch={self.architecture}" if self.architecture else ""
        return f"pkg:{self.kind}/{quote(name, safe='/+')}@{quote(self.version, safe='')}{architecture}"


def python(name: str, version: str) -> Package:
    """A package of PyPI, whose name may be spelled in several ways."""
    return Package("pypi", re.sub(r"[-_.]+", "-", name).lower(), version)


def locked(lock: str) -> tuple[Package, ...]:
    """Every package of a hashed lock, those for other systems included."""
    return tuple(sorted(python(each["name"], each["version"]) for each in PINNED.finditer(lock)))


def of_image(archive: Path) -> tuple[Package, ...]:
    """The packages in a docker-archive of one image. Problem when there are none: nothing else was looked for."""
    found = set()
    with tarfile.open(archive) as outer:
        (image,) = json.loads(content(outer, "manifest.json"))
        for name in image["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(name)) as layer:
                found |= set(_of_layer(layer))
    if {each.kind for each in found} != {"deb", "pypi"}:
        raise Problem(f"{archive} lacks records of Debian's or of Python's packages: build the image again")
    return tuple(sorted(found))


def _of_layer(layer: tarfile.TarFile) -> Iterator[Package]:
    for member in layer:
        path = member.name.removeprefix("./")
        if not member.isfile() or not (fnmatch(path, DEBIAN) or fnmatch(path, PYTHON)):
            continue
        record = BytesHeaderParser().parsebytes(content(layer, member))
        if "Package" in record:
            yield Package("deb", record["Package"], record["Version"], record["Architecture"])
        else:
            yield python(record["Name"], record["Version"])
