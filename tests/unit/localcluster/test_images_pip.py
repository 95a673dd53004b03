"""A build's pip finds packages where this machine's pip finds them."""

from pathlib import Path

from tests.localcluster import images_pip


def test_nothing_is_passed_when_pip_has_its_defaults() -> None:
    assert images_pip.configuration({}, certificates=False) == ""


def test_the_index_is_passed_and_local_paths_are_not() -> None:
    found = {"index-url": "https://index.example/simple", "find-links": "/opt/wheels", "cert": "/etc/ca.crt"}
    assert images_pip.configuration(found, certificates=True) == (
        "[global]\nindex-url = https://index.example/simple\ncert = /run/ca.crt\n"
    )


def test_pips_own_certificates_go_before_those_of_other_programs(tmp_path: Path) -> None:
    for name in ("own.crt", "other.crt"):
        (tmp_path / name).touch()
    environment = {"SSL_CERT_FILE": str(tmp_path / "other.crt")}
    assert images_pip.authorities(environment, {"cert": str(tmp_path / "own.crt")}) == tmp_path / "own.crt"
    assert images_pip.authorities(environment, {}) == tmp_path / "other.crt"


def test_certificates_that_are_not_there_are_not_passed(tmp_path: Path) -> None:
    assert images_pip.authorities({"PIP_CERT": str(tmp_path / "gone.crt")}, {}) is None


def test_the_containerfiles_mount_the_certificates_where_pip_is_told_to_look() -> None:
    for name in ("pool", "operator"):
        text = (
            Path(f"{__file__}/../../../../operator/images/{name}/Containerfile").resolve().read_text(encoding="utf-8")
        )
        assert f"id=ca,target={images_pip.MOUNTED}" in text
