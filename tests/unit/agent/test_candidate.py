"""From mounts to a configuration: what to run, what waits, what changes how."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgbouncer_operator import naming
from pgbouncer_operator.agent import candidate, share_steps
from pgbouncer_operator.agent.candidate import Candidate, CandidateInputs, Identity
from pgbouncer_operator.agent.grant import AcceptedGrant
from pgbouncer_operator.agent.mounts import Credential, MountedUser, Mounts
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.pgbouncer import userlist
from pgbouncer_operator.protocol.intent import AuthQueryIntent, DatabaseIntent, Intent, ServerTls, UserIntent
from pgbouncer_operator.protocol.reasons import ProblemReason, ReloadKind

SHOP, BLOG = DatabaseIntent("shop", "postgres", dbname="shop"), DatabaseIntent("blog", "postgres", dbname="blog")
INTENT = Intent("ns/shop", {"pool_mode": "transaction"}, (SHOP,), (UserIntent("shop", "shop"),), ServerTls("disable"))
USERS = {"shop": MountedUser(Credential("shop", "s3cret"), "", "..1")}
MOUNTS = Mounts(intent=INTENT, users=USERS, uid="uid-1")
FRESH = CandidateInputs(Identity("probe_1", b"key"), AgentSettings())


def made(mounts: Mounts = MOUNTS, cap: int = 10, seq: int = 1, fresh: CandidateInputs = FRESH) -> Candidate:
    return candidate.candidate(mounts, AcceptedGrant(seq, cap, seq), fresh)


def with_intent(**changes: object) -> Mounts:
    return replace(MOUNTS, intent=replace(INTENT, **changes))  # type: ignore[arg-type]


def shares(running: Candidate, **new: int) -> Candidate:
    return replace(running, composition=replace(running.composition, shares=new))


def test_the_same_mounts_give_the_same_bytes() -> None:
    assert made().files() == made().files()


def test_passwords_stand_in_the_userlist_and_nowhere_else() -> None:
    files = made().files()
    assert [path for path, content in files.items() if b"s3cret" in content] == [f"{naming.RUN_DIR}/userlist.txt"]
    assert "s3cret" not in repr(made())


def test_the_ini_is_written_last_since_it_names_the_others() -> None:
    assert list(made(replace(MOUNTS, ca=b"PEM")).files())[-1] == f"{naming.RUN_DIR}/pgbouncer.ini"


def test_a_ca_is_copied_beside_the_configuration_so_that_an_emptied_mount_breaks_no_start() -> None:
    mounts = replace(with_intent(server_tls=ServerTls("verify-full", "ca.crt")), ca=b"PEM")
    files = made(mounts).files()
    assert files["/run/pgbouncer/ca/ca.crt"] == b"PEM"
    assert b"server_tls_ca_file = /run/pgbouncer/ca/ca.crt" in files["/run/pgbouncer/pgbouncer.ini"]


def test_the_cap_is_shared_out_over_the_databases() -> None:
    found = made(with_intent(databases=(SHOP, BLOG)), cap=5)
    assert sum(found.shares.values()) == 5
    assert min(found.shares.values()) >= 1


def test_every_grant_and_every_new_secret_has_a_marker_of_its_own() -> None:
    rotated = replace(MOUNTS, users={"shop": replace(USERS["shop"], generation="..2")})
    markers = {made().marker, made(seq=2).marker, made(cap=9).marker, made(rotated).marker}
    assert len(markers) == 4


def test_a_ledger_that_is_newer_for_other_pods_only_changes_nothing_here() -> None:
    assert candidate.candidate(MOUNTS, AcceptedGrant(9, 10, 1), FRESH).files() == made(seq=1).files()


def test_a_login_that_left_stays_with_a_password_nobody_knows() -> None:
    fresh = replace(FRESH, retired=frozenset({"old", "shop"}))
    found = userlist.parse(made(fresh=fresh).files()[f"{naming.RUN_DIR}/userlist.txt"].decode())
    assert found["shop"] == "s3cret"
    assert found.keys() == {"shop", "old", FRESH.identity.stats_user}
    assert len(found["old"]) == 64
    other = replace(fresh, identity=Identity("probe_1", b"another"))
    assert userlist.parse(made(fresh=other).files()[f"{naming.RUN_DIR}/userlist.txt"].decode())["old"] != found["old"]


def test_a_user_whose_secret_cannot_be_used_is_left_out_and_the_others_serve() -> None:
    intent = replace(INTENT, users=(UserIntent("shop", "shop"), UserIntent("blog", "blog")))
    mounts = replace(MOUNTS, intent=intent, users={**USERS, "blog": MountedUser(None, "no key password")})
    assert [each.login for each in made(mounts).composition.logins] == ["shop"]


def twice(second: str) -> Mounts:
    """Two handles whose Secrets hold one login; the first has a cap of 5, the second one of 3."""
    intent = replace(INTENT, users=(UserIntent("shop", "shop", max=5), UserIntent("reports", "reports", max=3)))
    reports = MountedUser(Credential("shop", second), "", "..1")
    return replace(MOUNTS, intent=intent, users={**USERS, "reports": reports})


def test_one_login_under_two_handles_is_one_login_with_the_lowest_cap() -> None:
    logins = made(twice("s3cret")).composition.logins
    assert [(each.login, each.password, each.max) for each in logins] == [("shop", "s3cret", 3)]


def test_one_login_with_two_passwords_is_refused_with_both_handles_and_what_runs_goes_on() -> None:
    found = candidate.target(twice("other"), AcceptedGrant(1, 10, 1), made(), FRESH)
    assert found.candidate == made()
    (problem,) = found.problems
    assert problem.reason is ProblemReason.CANDIDATE_REFUSED
    assert problem.message.startswith("the Secrets of users shop and reports hold the same login")
    assert "s3cret" not in problem.message


def test_a_peer_id_is_stable_and_in_range() -> None:
    ids = [candidate.peer_id(f"uid-{number}") for number in range(2000)]
    assert ids == [candidate.peer_id(f"uid-{number}") for number in range(2000)]
    assert min(ids) >= 1
    assert max(ids) <= 16383
    assert len(set(ids)) > 1800


GATES = [
    ("the mounted hash is the annotated one", {naming.ANNOTATION_CONFIG: INTENT.digest}, None),
    ("no annotation: what is mounted", {}, None),
    ("another hash is annotated", {naming.ANNOTATION_CONFIG: "0" * 16}, ProblemReason.HALF_DELIVERED),
]


@pytest.mark.parametrize(("annotations", "reason"), [case[1:] for case in GATES], ids=[case[0] for case in GATES])
def test_a_half_delivered_change_waits(annotations: dict[str, str], reason: ProblemReason | None) -> None:
    problem = candidate.mount_problem(replace(MOUNTS, annotations=annotations))
    assert (problem and problem.reason) == reason


@pytest.mark.parametrize(
    ("mounts", "reason"),
    [
        (replace(MOUNTS, uid=""), ProblemReason.HALF_DELIVERED),
        (replace(MOUNTS, intent=None, intent_error="current.json: not in /x"), ProblemReason.HALF_DELIVERED),
        (replace(MOUNTS, intent=None, intent_error="current.json: is no JSON"), ProblemReason.CANDIDATE_REFUSED),
        (with_intent(server_tls=ServerTls("verify-ca", "ca.crt")), ProblemReason.HALF_DELIVERED),
    ],
)
def test_mounts_that_are_not_whole_are_named(mounts: Mounts, reason: ProblemReason) -> None:
    problem = candidate.mount_problem(mounts)
    assert problem is not None
    assert problem.reason == reason
    assert problem.message


def test_without_a_grant_nothing_is_run() -> None:
    assert candidate.target(MOUNTS, AcceptedGrant(3, 0), None, FRESH) == candidate.Target(None)


def test_a_wrong_intent_is_reported_and_what_runs_goes_on_under_the_new_grant() -> None:
    wrong = with_intent(settings={"pool_mode": "transaction", "no_such_key": 1})
    found = candidate.target(wrong, AcceptedGrant(2, 4, 2), made(), FRESH)
    assert [each.reason for each in found.problems] == [ProblemReason.CANDIDATE_REFUSED]
    assert "no_such_key" in found.problems[0].message
    assert found.candidate is not None
    assert found.candidate.composition.intent == INTENT
    assert (found.candidate.cap, found.candidate.seq, found.candidate.shares) == (4, 2, {"shop": 4})


def test_a_wrong_intent_at_the_first_start_runs_nothing() -> None:
    wrong = with_intent(settings={"no_such_key": 1})
    assert candidate.target(wrong, AcceptedGrant(2, 4, 2), None, FRESH).candidate is None


def test_a_cap_below_the_number_of_databases_is_refused_with_a_remedy() -> None:
    found = candidate.target(with_intent(databases=(SHOP, BLOG)), AcceptedGrant(2, 1), None, FRESH)
    assert [each.reason for each in found.problems] == [ProblemReason.CANDIDATE_REFUSED]
    assert "raise serverConnections.max" in found.problems[0].message


TWO = shares(made(with_intent(databases=(SHOP, BLOG))), shop=5, blog=5)
STEPS = [
    ("only raised: at once", {"shop": 6, "blog": 5}, {}, {"shop": 6, "blog": 5}),
    ("only lowered: at once", {"shop": 2, "blog": 5}, {"shop": 9}, {"shop": 2, "blog": 5}),
    ("one lowered, one raised: the lowered first", {"shop": 8, "blog": 2}, {}, {"shop": 5, "blog": 2}),
    ("raised while another holds all of it: wait", {"shop": 8, "blog": 5}, {"blog": 8}, None),
    ("raised as another gives back: by so much", {"shop": 8, "blog": 5}, {"blog": 6}, {"shop": 7, "blog": 5}),
    ("raised for the one that is over: at once", {"shop": 8, "blog": 7}, {"blog": 9}, {"shop": 5, "blog": 7}),
    (
        "raised for two that are over: by what each surely holds",
        {"shop": 8, "blog": 7},
        {"blog": 9, "shop": 9},
        {"shop": 6, "blog": 6},
    ),
    ("raised before anybody has seen what runs: wait", {"shop": 8, "blog": 7}, None, None),
    ("lowered before anybody has seen what runs: at once", {"shop": 2, "blog": 5}, None, {"shop": 2, "blog": 5}),
    (
        "a database added at another's cost: the lowered first",
        {"shop": 3, "blog": 3, "new": 4},
        {},
        {"shop": 3, "blog": 3},
    ),
    (
        "a database added out of a raised cap: at once",
        {"shop": 5, "blog": 5, "new": 4},
        {},
        {"shop": 5, "blog": 5, "new": 4},
    ),
    ("a database taken out, the other raised: at once", {"shop": 10}, {}, {"shop": 10}),
]


@pytest.mark.parametrize(("new", "over", "expected"), [case[1:] for case in STEPS], ids=[case[0] for case in STEPS])
def test_what_one_database_gains_another_gave_back_first(
    new: dict[str, int], over: dict[str, int] | None, expected: dict[str, int] | None
) -> None:
    names = [DatabaseIntent(name, "postgres", dbname=name) for name in new]
    wanted = made(with_intent(databases=tuple(names)), cap=sum(new.values()), seq=2)
    step = share_steps.next_step(TWO, shares(wanted, **new), over)
    assert (step and step.shares) == expected


def test_beside_a_pgbouncer_that_runs_already_nothing_is_raised_before_it_was_seen() -> None:
    found = share_steps.taken_up(shares(TWO, shop=8, blog=2), {"shop": 5, "blog": 5})
    assert found.shares == {"shop": 5, "blog": 2}
    assert share_steps.taken_up(TWO, {"shop": 5, "blog": 5, "gone": 3}) is TWO


NAMES = st.sampled_from(["a", "b", "c", "d"])
SHARES = st.dictionaries(NAMES, st.integers(1, 20), min_size=1)


@settings(max_examples=200, deadline=None)
@given(old=SHARES, new=SHARES)
def test_the_steps_never_add_up_to_more_than_the_larger_cap(old: dict[str, int], new: dict[str, int]) -> None:
    def serving(parts: dict[str, int], seq: int) -> Candidate:
        databases = tuple(DatabaseIntent(name, "postgres", dbname=name) for name in sorted(parts))
        return shares(made(with_intent(databases=databases), cap=sum(parts.values()), seq=seq), **parts)

    running, wanted = serving(old, 1), serving(new, 2)
    for _ in range(2):
        step = share_steps.next_step(running, wanted, {})
        assert step is not None
        kept = {name: max(share, running.shares.get(name, 0)) for name, share in step.shares.items()}
        assert sum(kept.values()) <= max(sum(old.values()), sum(new.values()))
        running = step
    assert running.marker == wanted.marker


KINDS = [
    ("a timeout", with_intent(settings={"pool_mode": "transaction", "query_timeout": 5}), ReloadKind.RELOAD),
    ("the pool mode", with_intent(settings={"pool_mode": "session"}), ReloadKind.RECONNECT),
    ("the server's host", with_intent(databases=(replace(SHOP, host="other"),)), ReloadKind.RECONNECT),
    ("one database's own mode", with_intent(databases=(replace(SHOP, pool_mode="session"),)), ReloadKind.RECONNECT),
    ("TLS", with_intent(server_tls=ServerTls("require")), ReloadKind.RECONNECT),
    ("the CA's content", replace(MOUNTS, ca=b"PEM"), ReloadKind.RECONNECT),
    ("a database more", with_intent(databases=(SHOP, BLOG)), ReloadKind.RELOAD),
    ("a database's maximum", with_intent(databases=(replace(SHOP, max=3),)), ReloadKind.RELOAD),
    (
        "a password",
        replace(MOUNTS, users={"shop": MountedUser(Credential("shop", "new"), "", "..2")}),
        ReloadKind.RELOAD,
    ),
]


@pytest.mark.parametrize(("mounts", "kind"), [case[1:] for case in KINDS], ids=[case[0] for case in KINDS])
def test_server_connections_are_renewed_only_where_the_change_needs_it(mounts: Mounts, kind: ReloadKind) -> None:
    assert share_steps.kind(made(), made(mounts)) is kind


def test_an_entry_for_lookups_or_on_its_way_out_that_moves_has_its_connections_renewed() -> None:
    two = with_intent(databases=(SHOP, BLOG), auth_query=AuthQueryIntent("_auth-query", "shop", "pgbouncer.lookup"))
    asking = replace(
        two, intent=replace(two.intent, auth_query=AuthQueryIntent("_auth-query", "blog", "pgbouncer.lookup"))
    )  # type: ignore[arg-type, type-var]
    assert share_steps.kind(made(two), made(asking)) is ReloadKind.RECONNECT
    leaving = made(fresh=replace(FRESH, lingering=(BLOG,)))
    moved = made(with_intent(databases=(SHOP, replace(BLOG, host="other"))))
    assert share_steps.kind(leaving, moved) is ReloadKind.RECONNECT


def test_the_first_configuration_is_a_start() -> None:
    assert share_steps.kind(None, made()) is ReloadKind.START


@pytest.mark.parametrize(
    ("open_files", "accepted"),
    [(0, 2000), (2_000_000, 2000), (2074, 2000), (2073, 1999), (1024, 950), (70, 1)],
    ids=["unknown", "many", "just enough", "one too few", "of containerd 2", "hardly any"],
)
def test_open_files_limit_the_clients_beside_server_connections_console_and_probe(
    open_files: int, accepted: int
) -> None:
    found = made(cap=10, fresh=replace(FRESH, open_files=open_files))
    assert f"\nmax_client_conn = {accepted}\n".encode() in found.files()[f"{naming.RUN_DIR}/pgbouncer.ini"]
    problem = candidate.limited(found)
    assert (problem is not None) == (accepted < 2000)
    assert problem is None or f"accepts {accepted} clients, not 2000" in problem.message
