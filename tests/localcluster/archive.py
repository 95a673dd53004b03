"""Image archives: what is in one, and making a small one without any tool."""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.problem import Problem

_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive's image names, and a hash that changes with any byte of its images."""

    names: tuple[str, ...]
    content: str


def read(path: Path) -> Archive:
    """Read an OCI or Docker archive. Problem when it is neither, or names no image."""
    try:
        with tarfile.open(path) as tar:
            members = {name.removeprefix("./"): name for name in tar.getnames()}
            index = next((name for name in ("index.json", "manifest.json") if name in members), None)
            if index is None:
                raise Problem(f"{path}: neither an OCI archive (index.json) nor a Docker archive (manifest.json)")
            text = content(tar, members[index])
    except (OSError, tarfile.TarError) as unreadable:
        raise Problem(f"{path}: cannot be read as an image archive: {unreadable}") from unreadable
    # Both files name every part of the images by its hash.
    names = oci_names(text) if index == "index.json" else docker_names(text)
    if not names:
        raise Problem(f"{path}: its image has no name: write the archive with one, such as localhost/pool:dev")
    return Archive(names, hashlib.sha256(text).hexdigest())


def oci_names(index: bytes) -> tuple[str, ...]:
    """Names from index.json; a mere tag is not a name."""
    names = []
    for manifest in json.loads(index)["manifests"]:
        annotations = manifest.get("annotations", {})
        found = [annotations[key] for key in _NAME_ANNOTATIONS if any(c in annotations.get(key, "") for c in "/:")]
        names += found[:1]
    return tuple(names)


def docker_names(manifest: bytes) -> tuple[str, ...]:
    """Names from a Docker archive's manifest.json."""
    return tuple(name for image in json.loads(manifest) for name in image.get("RepoTags") or ())


def full_name(name: str) -> str:
    """The name as the kubelet asks for it: pool:dev is docker.io/library/pool:dev."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def make(name: str, files: dict[str, bytes], entrypoint: tuple[str, ...], architecture: str) -> bytes:
    """An OCI archive with one image of one layer: executable files by absolute path. The same bytes every time."""
    layer = _tar({path.lstrip("/"): content for path, content in files.items()}, mode=0o755)
    blobs: dict[str, bytes] = {}
    configuration = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    oci = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{oci}.manifest.v1+json",
        "config": _put(blobs, f"{oci}.config.v1+json", _json(configuration)),
        "layers": [_put(blobs, f"{oci}.layer.v1.tar", layer)],
    }
    entry = _put(blobs, f"{oci}.manifest.v1+json", _json(manifest))
    entry["annotations"] = dict.fromkeys(_NAME_ANNOTATIONS, name)
    entry["platform"] = {"architecture": architecture, "os": "linux"}
    top = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
    }
    return _tar(blobs | top, mode=0o644)


def _put(blobs: dict[str, bytes], media_type: str, content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    blobs[f"blobs/sha256/{digest}"] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            member.mode = mode
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def architecture(path: Path) -> str:
    """The processor architecture of a Docker archive's first image, as Kubernetes names it: amd64, arm64.

    Problem when the archive says none.
    """
    try:
        with tarfile.open(path) as tar:
            (first, *_) = json.loads(content(tar, "manifest.json"))
            return str(json.loads(content(tar, first["Config"]))["architecture"])
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as unreadable:
        raise Problem(f"{path}: says no architecture: {unreadable}") from unreadable


def content(tar: tarfile.TarFile, member: str | tarfile.TarInfo) -> bytes:
    """The bytes of a file in a tar; empty for what is no file. KeyError where the tar has nothing of that name."""
    file = tar.extractfile(member)
    return file.read() if file else b""
