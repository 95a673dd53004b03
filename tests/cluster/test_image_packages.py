"""The images hold the packages that the list of a release is made of. Only the images are read, not the cluster."""

from tests.localcluster import images
from tests.release import packages

from pgbouncer_operator.pgbouncer import vulnerabilities


def held(name: str) -> dict[str, str]:
    """Versions of packages in an image that is built already, by the package's kind and name."""
    (built,) = images.build([name]).values()
    return {f"{each.kind} {each.name}": each.version for each in packages.of_image(built.archive)}


def test_every_package_of_an_image_is_found() -> None:
    operator, pool = held("operator"), held("pool")
    lock = (images.REPOSITORY / "operator/requirements.lock").read_text(encoding="utf-8")
    pinned = {f"pypi {each.name}": each.version for each in packages.locked(lock)}
    for found in (operator, pool):
        assert {name: version for name, version in found.items() if name.startswith("pypi ")}.items() <= pinned.items()
        assert {"deb libc6", "deb python3-minimal", "pypi psycopg"} <= set(found)
    assert {"pypi kopf", "pypi kubernetes"} <= set(operator)
    assert not vulnerabilities.known(pool["deb pgbouncer"].partition("-")[0])
