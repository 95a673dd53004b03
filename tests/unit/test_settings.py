import pytest

from pgbouncer_operator.settings import Settings, SettingsError

IMAGE = {"PGBOUNCER_OPERATOR_POOL_IMAGE": "pool:1"}


def test_the_image_is_the_only_setting_that_must_be_given() -> None:
    assert Settings.from_environment(IMAGE) == Settings(pool_image="pool:1")


def test_a_missing_image_is_told_by_the_variables_name() -> None:
    with pytest.raises(SettingsError, match=r"PGBOUNCER_OPERATOR_POOL_IMAGE is not set"):
        Settings.from_environment({})


def test_namespaces_are_a_list_with_commas() -> None:
    given = Settings.from_environment(IMAGE | {"PGBOUNCER_OPERATOR_WATCH_NAMESPACES": " web, data,, "})
    assert given.namespaces == ("web", "data")


def test_servers_by_host_are_pairs_with_commas() -> None:
    text = "db.example:5432=shop/main, ::1:5=a/b"
    given = Settings.from_environment(IMAGE | {"PGBOUNCER_OPERATOR_SERVER_HOSTS": text})
    assert given.server_hosts == (("db.example:5432", "shop/main"), ("::1:5", "a/b"))


def test_pull_secrets_are_a_list_with_commas() -> None:
    given = Settings.from_environment(IMAGE | {"PGBOUNCER_OPERATOR_IMAGE_PULL_SECRETS": " login, mirror.login,"})
    assert given.image_pull_secrets == ("login", "mirror.login")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("ENDPOINT_DELAY_SECONDS", "5s", "give a whole number from 0 to 300"),
        ("ENDPOINT_DELAY_SECONDS", "301", "give a whole number from 0 to 300"),
        ("WORKERS", "0", "give a whole number from 1 to 256"),
        ("WORKERS", "-1", "give a whole number from 1 to 256"),
        ("HTTP_PORT", "65536", "give a whole number from 1 to 65535"),
        ("RESYNC_SECONDS", "9", "give a whole number from 10 to 86400"),
        ("CONNECTION_SECRETS", "yes", "give one of true, false"),
        ("LOG_FORMAT", "xml", "give one of json, text"),
        ("SERVER_HOSTS", "db=shop/main", "give pairs of host:port=namespace/name"),
        ("IMAGE_PULL_SECRETS", "a b", "give names of Secrets, with commas"),
        ("IMAGE_PULL_POLICY", "always", "give one of IfNotPresent, Always, Never"),
    ],
)
def test_a_wrong_setting_is_told_by_name_value_and_remedy(name: str, value: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as told:
        Settings.from_environment(IMAGE | {f"PGBOUNCER_OPERATOR_{name}": value})
    assert f"PGBOUNCER_OPERATOR_{name} is '{value}'" in str(told.value)
    assert remedy in str(told.value)
