"""A pause: written once with its end, told at once, over by itself."""

import json
from dataclasses import replace
from typing import Any

from tests.unit.reconcile.looks import PLATFORM, decide, healthy, live, settled, state, writes

from pgbouncer_operator import naming
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pause import LOOK_AGAIN, pause
from pgbouncer_operator.resources.configuration import config_map
from pgbouncer_operator.resources.desired import desired, dress

START = 1767225600  # 2026-01-01T00:00:00Z, when `healthy` looks
CONFIG_MAP = ("ConfigMap", naming.config_map("shop"))


def paused(seconds_later: int = 0, **spec: Any) -> Observed:
    """A pool whose user has just asked for a pause of 30 s."""
    observed = healthy(traffic="Paused", pauseTimeoutSeconds=30, **spec)
    return looking(observed, seconds_later)


def looking(observed: Observed, seconds_later: int) -> Observed:
    today = f"2026-01-01T00:{seconds_later // 60:02}:{seconds_later % 60:02}Z"
    return replace(observed, today=today, pause=pause(observed.spec, observed.children.get(CONFIG_MAP), today))


def written(observed: Observed) -> Observed:
    """The same look after its plan was performed."""
    step = next(each for each in writes(decide(observed)) if each.key == CONFIG_MAP)
    value = poke(observed)
    pods = tuple(replace(pod, poke=value) for pod in observed.pods)
    return replace(observed, pods=pods, children={**observed.children, CONFIG_MAP: live(dict(step.body))})


def document(observed: Observed) -> dict[str, Any] | None:
    """`traffic.json` as the plan leaves it."""
    steps = [each for each in writes(decide(observed)) if each.key == CONFIG_MAP]
    data = steps[0].body["data"] if steps else observed.children[CONFIG_MAP].unpack()["data"]
    return json.loads(data[naming.TRAFFIC_KEY]) if naming.TRAFFIC_KEY in data else None


def poke(observed: Observed) -> str:
    (value,) = {
        step.body["metadata"]["annotations"][naming.ANNOTATION_POKE]
        for step in writes(decide(observed))
        if step.key[0] == "Pod"
    }
    return str(value)


def test_a_pause_is_written_with_its_end_and_every_pod_is_poked() -> None:
    observed = paused()
    assert document(observed) == {"protocol": 1, "traffic": "Paused", "until": START + 30}
    assert poke(observed) == f"5-.p{START + 30}-0"


def test_the_end_of_a_pause_never_moves() -> None:
    observed = looking(written(paused()), 20)
    assert document(observed) == {"protocol": 1, "traffic": "Paused", "until": START + 30}
    assert observed.pause is not None
    assert not observed.pause.expired
    longer = replace(observed, spec=healthy(traffic="Paused", pauseTimeoutSeconds=300).spec)
    assert document(looking(longer, 20)) == document(observed)


def test_an_operator_that_starts_in_a_pause_writes_nothing() -> None:
    observed = written(paused())
    observed = replace(
        observed, states={uid: state(uid, observed.pods[0].config, traffic="Paused") for uid in ("a", "b")}
    )
    assert writes(decide(looking(observed, 10))) == []
    assert writes(decide(looking(observed, 500))) == []


def test_flowing_again_removes_the_document_and_tells_every_pod() -> None:
    observed = written(paused())
    flowing = looking(replace(observed, spec=healthy().spec), 10)
    assert flowing.pause is None
    assert document(flowing) is None
    assert poke(flowing) == "5--0"


def test_a_pod_that_does_not_pause_yet_is_looked_at_soon_and_poked_again() -> None:
    observed = written(paused())
    observed = observed.remember(poked={pod.uid: (pod.poke, observed.now - 1.6) for pod in observed.pods})
    assert poke(observed) == f"5-.p{START + 30}-1"
    soon = decide(observed).requeue_after
    assert soon is not None
    assert soon <= LOOK_AGAIN


def test_when_every_pod_has_paused_the_next_look_is_at_the_end_at_the_latest() -> None:
    observed = written(paused())
    observed = replace(
        observed, states={uid: state(uid, observed.pods[0].config, traffic="Paused") for uid in ("a", "b")}
    )
    made = decide(looking(settled(observed), 25))
    assert not made.at_rest
    assert made.requeue_after == 5
    assert looking(observed, 29).fingerprint != looking(observed, 30).fingerprint
    assert looking(observed, 28).fingerprint == looking(observed, 29).fingerprint


def test_a_pause_of_the_right_length_begins_anew_over_a_document_that_cannot_be_read() -> None:
    observed = paused()
    pool: Any = observed.spec
    body = dress(pool, config_map(pool, desired(pool, PLATFORM).intent, "nonsense"))
    assert document(looking(replace(observed, children={**observed.children, CONFIG_MAP: live(body)}), 0)) == {
        "protocol": 1,
        "traffic": "Paused",
        "until": START + 30,
    }
