"""The list of a release's packages as SPDX 2.3: what each image contains, and what the command depends on.

https://spdx.github.io/spdx-spec/v2.3/
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from spdx_tools.spdx.model import (
    Actor,
    ActorType,
    CreationInfo,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.model import Package as SpdxPackage
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from spdx_tools.spdx.writer.json.json_writer import write_document_to_file
from tests.localcluster.problem import Problem
from tests.release.packages import Package

AUTHORS = Actor(ActorType.ORGANIZATION, "The pgbouncer-operator authors")
NAMESPACE = "https://pgbouncer-operator.io/spdx"
DOCUMENT = "SPDXRef-DOCUMENT"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a release is made of."""

    version: str
    command: tuple[Package, ...]
    """What the wheel depends on."""
    images: Mapping[str, tuple[Package, ...]]
    """By the image's name, what it contains."""


def document(parts: Parts, day: datetime) -> Document:
    """The same document for the same parts and day."""
    ours = {"pgbouncer-operator": parts.command} | {f"image-{name}": found for name, found in parts.images.items()}
    foreign = sorted({package for found in ours.values() for package in found})
    text = repr((parts.version, sorted((name, found) for name, found in ours.items())))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    about = CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id=DOCUMENT,
        name=f"pgbouncer-operator-{parts.version}",
        document_namespace=f"{NAMESPACE}/pgbouncer-operator-{parts.version}-{digest}",
        creators=[AUTHORS, Actor(ActorType.TOOL, "make-release")],
        created=day.replace(tzinfo=None),
    )
    return Document(
        about,
        packages=[*(_own(name, parts.version) for name in ours), *map(_foreign, foreign)],
        relationships=[each for name, found in ours.items() for each in _relationships(name, found)],
    )


def write(found: Document, path: Path) -> None:
    """Write the document as JSON; Problem with what SPDX does not allow in it."""
    if faults := validate_full_spdx_document(found):
        raise Problem(f"the list of packages is no SPDX document: {faults[0].validation_message}")
    write_document_to_file(found, str(path), validate=False)


def _own(name: str, version: str) -> SpdxPackage:
    return SpdxPackage(
        spdx_id=_id(name),
        name=name,
        version=version,
        download_location=SpdxNoAssertion(),
        supplier=AUTHORS,
        files_analyzed=False,
    )


def _foreign(package: Package) -> SpdxPackage:
    reference = ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", package.url)
    return SpdxPackage(
        spdx_id=_id(package.url),
        name=package.name,
        version=package.version,
        download_location=SpdxNoAssertion(),
        files_analyzed=False,
        external_references=[reference],
    )


def _relationships(name: str, packages: Iterable[Package]) -> list[Relationship]:
    kind = RelationshipType.CONTAINS if name.startswith("image-") else RelationshipType.DEPENDS_ON
    described = Relationship(DOCUMENT, RelationshipType.DESCRIBES, _id(name))
    return [described, *(Relationship(_id(name), kind, _id(package.url)) for package in packages)]


def _id(text: str) -> str:
    """An identifier of SPDX, which has letters, digits, '.' and '-' only. Two texts have two identifiers."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", text)
    return f"SPDXRef-{plain}" if plain == text else f"SPDXRef-{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
