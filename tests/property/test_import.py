"""Whatever a configuration holds, the import answers with pools and remarks, and gives no password away."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from pgbouncer_operator.conversion import pgbouncer_ini
from pgbouncer_operator.pgbouncer.parameters import CATALOGUE

PASSWORD = "c0rrect-h0rse"
NAMES = st.sampled_from([each.name for each in CATALOGUE] + ["shop", "*", "'a b'", "%include", "host"])
VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["0", "1", "-1", "9" * 5000, "2.5", "transaction", "verify-full", "prefer", "md5", "/tmp"]),
    st.sampled_from(["host=a,b port=1", "host='x", f"user=u password={PASSWORD}", "pool_size=٣ port=0", "=", "a=''"]),
)
SETTINGS = st.builds(lambda name, value: f"{name} = {value}", NAMES, VALUES)
SECTIONS = st.sampled_from(["[databases]", "[users]", "[pgbouncer]", "[peers]", "[other]", "[", "]", ";"])
FILES = st.lists(st.one_of(SETTINGS, SECTIONS, st.text(max_size=20))).map("\n".join)
LOGINS = st.lists(
    st.one_of(st.text(max_size=10), st.sampled_from(["u", "Ü", "u.v"]).map(lambda login: f'"{login}" "{PASSWORD}"'))
).map("\n".join)


@given(ini=FILES, userlist=LOGINS)
def test_every_file_becomes_pools_and_remarks(ini: str, userlist: str) -> None:
    result = pgbouncer_ini.convert(ini, userlist, "shop-pool")
    assert result.pools
    for pool in result.pools:
        assert pool["spec"]["databases"]
        assert pool["spec"]["users"]
        assert PASSWORD not in yaml.safe_dump(pool)
    assert not [each for each in result.remarks if PASSWORD in str(each)]
    names = [each["metadata"]["name"] for each in result.secrets]
    assert len(set(names)) == len(names)
