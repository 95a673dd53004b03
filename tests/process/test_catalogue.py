"""The catalogue of settings against the real program."""

from collections.abc import Iterator

import pytest
from tests.process import servers
from tests.process.console import ConsoleError
from tests.process.marks import PROCESS
from tests.process.servers import Bouncer

from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.pgbouncer.parameters import Audience, ChangeClass, Parameter, Type

pytestmark = PROCESS

PRESENT = [each for each in parameters.CATALOGUE if each.removed is None]
SETTABLE = [each for each in PRESENT if each.audience in (Audience.USER, Audience.FIELD)]


@pytest.fixture(scope="module")
def bare() -> Iterator[Bouncer]:
    with servers.bouncer() as process:
        process.write_ini(minimal(process))
        process.start()
        yield process


def minimal(process: Bouncer, *lines: str) -> str:
    """The least PgBouncer starts with, so that SHOW CONFIG shows its own defaults."""
    own = (f"listen_port = {process.port}", f"unix_socket_dir = {process.root}")
    return "\n".join(["[databases]", "[pgbouncer]", *own, *lines, ""])


def test_the_catalogue_and_the_program_know_the_same_settings(bare: Bouncer) -> None:
    assert {row.name for row in PRESENT} == {row["key"] for row in bare.show("CONFIG")}
    assert bare.show("VERSION") == [{"version": f"PgBouncer {parameters.VERSION}"}]


def test_every_default_is_the_programs(bare: Bouncer) -> None:
    shown = {row["key"]: row["default"] for row in bare.show("CONFIG")}
    assert {row.name: row.default for row in PRESENT} == shown


def test_settings_that_roll_are_those_a_reload_cannot_change(bare: Bouncer) -> None:
    fixed = {row["key"] for row in bare.show("CONFIG") if row["changeable"] == "no"}
    # PgBouncer reloads peer_id, but cancel keys that clients hold would point nowhere.
    assert {row.name for row in PRESENT if row.change is ChangeClass.ROLL} == fixed | {"peer_id"}


def test_a_removed_setting_stops_the_program_from_reading(bare: Bouncer) -> None:
    bare.write_ini(minimal(bare, "suspend_timeout = 10"))
    with pytest.raises(ConsoleError):
        bare.reload()
    bare.write_ini(minimal(bare))
    bare.reload()


@pytest.mark.parametrize("row", SETTABLE, ids=lambda row: row.name)
def test_what_the_catalogue_allows_the_program_reads(bare: Bouncer, row: Parameter) -> None:
    for value in samples(row):
        assert parameters.check(row.name, value, audiences=(row.audience,)) is None, value
        bare.write_ini(minimal(bare, f"{row.name} = {value}".rstrip()))
        bare.reload()
        if row.change is not ChangeClass.ROLL:
            shown = bare.config()[row.name]
            # Times come back as %g prints them: 31536000 as 3.1536e+07.
            assert (float(shown) == float(value)) if row.type is Type.TIME else (shown == value)


def samples(row: Parameter) -> list[str]:
    """Values at the edges of what the catalogue allows."""
    match row.type:
        case Type.INT:
            return [str(row.minimum), str(row.maximum)]
        case Type.TIME:
            return [str(row.minimum), str(row.maximum), "1.5"]
        case Type.BOOL:
            return ["0", "1"]
        case Type.ENUM:
            return list(row.choices)
        case Type.CSV:
            return [",".join(row.choices)] if row.choices else ["", "search_path,extra_float_digits"]
        case Type.STR:
            return ["DEFAULT"] if row.name == "server_tls_ciphers" else ["", "select 'it''s; # not a comment' -- %1"]
