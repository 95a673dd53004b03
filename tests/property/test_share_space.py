"""What the databases of one pod hold together stays within the pod's cap, in every order of events."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
from tests.property.ledger_model import Violation
from tests.property.share_space import Space

from pgbouncer_operator.agent import install, share_steps
from pgbouncer_operator.agent.install import Verification
from pgbouncer_operator.protocol import grants


def raise_and_lower_in_one_reload(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(share_steps, "next_step", lambda running, wanted, over: wanted)


def trust_reload(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(install, "verify", lambda candidate, seen: Verification(True, {}))


def believe_that_a_reload_is_in_force_before_a_look(patch: pytest.MonkeyPatch) -> None:
    honest = share_steps.next_step
    patch.setattr(share_steps, "next_step", lambda running, wanted, over: honest(running, wanted, over or {}))


def count_what_is_over_as_given_back(patch: pytest.MonkeyPatch) -> None:
    honest = share_steps._raised
    patch.setattr(share_steps, "_raised", lambda old, new, over: honest(old, new, dict.fromkeys(over, 0)))


def forget_what_pgbouncer_runs_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(share_steps, "taken_up", lambda wanted, limits: wanted)


def round_the_shares_up(patch: pytest.MonkeyPatch) -> None:
    honest = grants.split

    def faulty(cap: int, databases: Sequence[tuple[str, int | None]], _: object = None) -> Mapping[str, int]:
        return {name: max(share, -(-cap // len(databases))) for name, share in honest(cap, databases).items()}

    patch.setattr(grants, "split", faulty)


def ignore_what_is_held(patch: pytest.MonkeyPatch) -> None:
    honest = install.verify
    patch.setattr(install, "verify", lambda candidate, seen: replace(honest(candidate, seen), over={}))


FAULTS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    raise_and_lower_in_one_reload,
    trust_reload,
    believe_that_a_reload_is_in_force_before_a_look,
    forget_what_pgbouncer_runs_at_a_restart,
    count_what_is_over_as_given_back,
    round_the_shares_up,
    ignore_what_is_held,
)


def test_in_no_order_of_events_do_the_databases_of_a_pod_pass_its_cap() -> None:
    space = Space().walk()
    print(f"{space.states} states")
    assert space.states > 500


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_the_walk_notices(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(Violation):
        Space().walk()
