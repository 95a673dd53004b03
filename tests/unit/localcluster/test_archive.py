import io
import json
import tarfile
from pathlib import Path

import pytest
from tests.localcluster import archive
from tests.localcluster.problem import Problem


def written(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def made(path: Path, program: bytes, name: str = "localhost/pause:1") -> Path:
    path.write_bytes(archive.make(name, {"/pause": program}, ("/pause",), "amd64"))
    return path


def test_an_archive_that_we_made_names_its_image(tmp_path: Path) -> None:
    assert archive.read(made(tmp_path / "a.tar", b"program")).names == ("localhost/pause:1",)


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    assert made(tmp_path / "a.tar", b"program").read_bytes() == made(tmp_path / "b.tar", b"program").read_bytes()


def test_one_other_byte_in_a_file_is_another_content(tmp_path: Path) -> None:
    one, other = made(tmp_path / "a.tar", b"program"), made(tmp_path / "b.tar", b"prograM")

    assert archive.read(one).content != archive.read(other).content


def test_every_blob_of_a_made_archive_is_named_by_its_own_hash_and_executable_in_its_layer(tmp_path: Path) -> None:
    with tarfile.open(made(tmp_path / "a.tar", b"program")) as tar:
        index = json.loads(content(tar, "index.json"))
        manifest = json.loads(content(tar, blob(index["manifests"][0]["digest"])))
        configuration = json.loads(content(tar, blob(manifest["config"]["digest"])))
        layer = content(tar, blob(manifest["layers"][0]["digest"]))

    assert configuration["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert configuration["config"]["Entrypoint"] == ["/pause"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
        assert [(member.name, member.mode) for member in inner] == [("pause", 0o755)]


def content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def test_a_docker_archive_is_read_as_well(tmp_path: Path) -> None:
    manifest = json.dumps([{"Config": "ab.json", "RepoTags": ["pool:dev", "pool:latest"], "Layers": []}]).encode()

    assert archive.read(written(tmp_path / "a.tar", {"manifest.json": manifest})).names == ("pool:dev", "pool:latest")


def test_members_may_start_with_a_dot(tmp_path: Path) -> None:
    manifest = json.dumps([{"RepoTags": ["pool:dev"]}]).encode()

    assert archive.read(written(tmp_path / "a.tar", {"./manifest.json": manifest})).names == ("pool:dev",)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param({"etc/passwd": b""}, "neither an OCI archive", id="something else"),
        pytest.param({"index.json": b'{"manifests": [{"digest": "sha256:1"}]}'}, "no name", id="no annotations"),
        pytest.param(
            {"index.json": b'{"manifests": [{"annotations": {"org.opencontainers.image.ref.name": "latest"}}]}'},
            "no name",
            id="a mere tag",
        ),
        pytest.param({"manifest.json": b'[{"RepoTags": null}]'}, "no name", id="docker without tags"),
    ],
)
def test_an_archive_that_could_not_be_used_is_refused(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(Problem, match=message):
        archive.read(written(tmp_path / "a.tar", members))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("hello")

    with pytest.raises(Problem, match=r"a\.tar: cannot be read as an image archive"):
        archive.read(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("pool:dev", "docker.io/library/pool:dev"),
        ("team/pool:dev", "docker.io/team/pool:dev"),
        ("localhost/pool:dev", "localhost/pool:dev"),
        ("localhost:5000/pool", "localhost:5000/pool"),
        ("registry.example/pool:1", "registry.example/pool:1"),
    ],
)
def test_the_name_that_the_kubelet_asks_for(name: str, full: str) -> None:
    assert archive.full_name(name) == full


def docker(at: Path, configuration: dict[str, str]) -> Path:
    members = {"manifest.json": [{"Config": "ab.json"}], "ab.json": configuration}
    return written(at / "a.tar", {name: json.dumps(value).encode() for name, value in members.items()})


def test_a_docker_archive_says_which_nodes_can_run_it(tmp_path: Path) -> None:
    assert archive.architecture(docker(tmp_path, {"architecture": "arm64", "os": "linux"})) == "arm64"


def test_an_archive_without_an_architecture_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="says no architecture"):
        archive.architecture(docker(tmp_path, {"os": "linux"}))
