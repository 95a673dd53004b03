"""Images are named by what they are made of, and their Containerfiles keep the promises the pods rely on."""

import shutil
from pathlib import Path

import pytest
from tests.localcluster import images

ROOT = images.REPOSITORY
RUNTIME_ONLY = ("operator", "pool")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A repository with a small image in it."""
    for name, text in {
        "image/Containerfile": "FROM scratch\n",
        "package/code.py": "1\n",
        "other/code.py": "2\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


IMAGE = images.Image("image/Containerfile", ".", ("package",))


def _edit(sources: Path) -> None:
    (sources / "package/code.py").write_text("3\n")


def _add(sources: Path) -> None:
    (sources / "package/more.py").write_text("")


def _rename(sources: Path) -> None:
    (sources / "package/code.py").rename(sources / "package/moved.py")


def _make_executable(sources: Path) -> None:
    (sources / "package/code.py").chmod(0o755)


def _edit_containerfile(sources: Path) -> None:
    (sources / "image/Containerfile").write_text("FROM scratch\nUSER 1\n")


def _cache_bytecode(sources: Path) -> None:
    (sources / "package/__pycache__").mkdir()
    (sources / "package/__pycache__/code.cpython-314.pyc").write_bytes(b"\0")


def _edit_another(sources: Path) -> None:
    (sources / "other/code.py").write_text("4\n")


def _copy_elsewhere(sources: Path) -> Path:
    return Path(shutil.copytree(sources, sources / "copy"))


@pytest.mark.parametrize("change", [_edit, _add, _rename, _make_executable, _edit_containerfile])
def test_a_change_of_an_input_gives_the_image_another_tag(sources: Path, change) -> None:
    before = images.digest(IMAGE, sources)
    change(sources)
    assert images.digest(IMAGE, sources) != before


@pytest.mark.parametrize("change", [_cache_bytecode, _edit_another])
def test_what_is_no_input_does_not_change_the_tag(sources: Path, change) -> None:
    before = images.digest(IMAGE, sources)
    change(sources)
    assert images.digest(IMAGE, sources) == before


def test_the_tag_does_not_depend_on_where_the_repository_is(sources: Path) -> None:
    assert images.digest(IMAGE, _copy_elsewhere(sources)) == images.digest(IMAGE, sources)


def test_references_name_all_images_with_version_and_content() -> None:
    found = images.references()
    assert sorted(found) == ["clients", "operator", "pool", "postgres"]
    for name, reference in found.items():
        repository, _, tag = reference.rpartition(":")
        version, _, content = tag.rpartition("-")
        assert repository == f"localhost/pgbouncer-operator/{name}"
        assert version.count(".") == 2
        assert len(content) == 8


def test_an_archive_is_named_by_its_references_tag() -> None:
    for name, built in images.expected().items():
        assert built.archive.name == f"{name}-{built.reference.rpartition(':')[2]}.tar"


@pytest.mark.parametrize("name", sorted(images.IMAGES))
def test_every_file_that_a_containerfile_copies_is_an_input(name: str) -> None:
    image = images.IMAGES[name]
    inputs = {str(path) for path in images.files(image, ROOT)}
    copied = [
        f"{image.context}/{word}"
        for line in _lines(image)
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    assert copied
    for path in copied:
        assert any(known == path or known.startswith(f"{path}/") for known in inputs), path


@pytest.mark.parametrize("name", sorted(images.IMAGES))
def test_every_image_runs_as_the_unprivileged_user(name: str) -> None:
    users = [line for line in _lines(images.IMAGES[name]) if line.startswith("USER ")]
    assert users == ["USER 65532:65532"]


@pytest.mark.parametrize("name", RUNTIME_ONLY)
def test_released_images_are_made_from_nothing(name: str) -> None:
    """No shell and no package manager: the last stage starts empty and runs nothing."""
    lines = _lines(images.IMAGES[name])
    last = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    assert lines[last] == "FROM scratch"
    assert not [line for line in lines[last:] if line.startswith("RUN ")]


def _lines(image: images.Image) -> list[str]:
    text = (ROOT / image.containerfile).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines()]
