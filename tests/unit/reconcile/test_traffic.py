"""A pause: written once with its end, told at once, over by itself."""

import json
from dataclasses import replace
from typing import Any

from tests.unit.reconcile.looks import PLATFORM, decide, healthy, live, settled, state, writes

from pgbouncer_operator import naming
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.traffic import LOOK_AGAIN, pause
from pgbouncer_operator.resources.configuration import config_map
from pgbouncer_operator.resources.desired import desired, dress

START = 1767225600  # 2026-01-01T00:00:00Z, when `healthy` looks
CONFIG_MAP = ("ConfigMap", naming.config_map("shop"))


def paused(seconds_later: int = 0, **spec: Any) -> Observed:
    """A pool whose user has just asked for a pause of 30 s."""
    seen = healthy(traffic="Paused", pauseTimeoutSeconds=30, **spec)
    return looking(seen, seconds_later)


def looking(seen: Observed, seconds_later: int) -> Observed:
    today = f"2026-01-01T00:{seconds_later // 60:02}:{seconds_later % 60:02}Z"
    return replace(seen, today=today, pause=pause(seen.spec, seen.children.get(CONFIG_MAP), today))


def written(seen: Observed) -> Observed:
    """The same look after its plan was performed."""
    step = next(each for each in writes(decide(seen)) if each.key == CONFIG_MAP)
    value = poke(seen)
    pods = tuple(replace(pod, poke=value) for pod in seen.pods)
    return replace(seen, pods=pods, children={**seen.children, CONFIG_MAP: live(dict(step.body))})


def document(seen: Observed) -> dict[str, Any] | None:
    """`traffic.json` as the plan leaves it."""
    steps = [each for each in writes(decide(seen)) if each.key == CONFIG_MAP]
    data = steps[0].body["data"] if steps else seen.children[CONFIG_MAP].unpack()["data"]
    return json.loads(data[naming.TRAFFIC_KEY]) if naming.TRAFFIC_KEY in data else None


def poke(seen: Observed) -> str:
    (value,) = {
        step.body["metadata"]["annotations"][naming.ANNOTATION_POKE]
        for step in writes(decide(seen))
        if step.key[0] == "Pod"
    }
    return str(value)


def test_a_pause_is_written_with_its_end_and_every_pod_is_poked() -> None:
    seen = paused()
    assert document(seen) == {"protocol": 1, "traffic": "Paused", "until": START + 30}
    assert poke(seen) == f"5-.p{START + 30}-0"


def test_the_end_of_a_pause_never_moves() -> None:
    seen = looking(written(paused()), 20)
    assert document(seen) == {"protocol": 1, "traffic": "Paused", "until": START + 30}
    assert seen.pause is not None
    assert not seen.pause.expired
    longer = replace(seen, spec=healthy(traffic="Paused", pauseTimeoutSeconds=300).spec)
    assert document(looking(longer, 20)) == document(seen)


def test_an_operator_that_starts_in_a_pause_writes_nothing() -> None:
    seen = written(paused())
    seen = replace(seen, states={uid: state(uid, seen.pods[0].config, traffic="Paused") for uid in ("a", "b")})
    assert writes(decide(looking(seen, 10))) == []
    assert writes(decide(looking(seen, 500))) == []


def test_flowing_again_removes_the_document_and_tells_every_pod() -> None:
    seen = written(paused())
    flowing = looking(replace(seen, spec=healthy().spec), 10)
    assert flowing.pause is None
    assert document(flowing) is None
    assert poke(flowing) == "5--0"


def test_a_pod_that_does_not_pause_yet_is_looked_at_soon_and_poked_again() -> None:
    seen = written(paused())
    seen = seen.remember(poked={pod.uid: (pod.poke, seen.now - 1.6) for pod in seen.pods})
    assert poke(seen) == f"5-.p{START + 30}-1"
    soon = decide(seen).requeue_after
    assert soon is not None
    assert soon <= LOOK_AGAIN


def test_when_every_pod_has_paused_the_next_look_is_at_the_end_at_the_latest() -> None:
    seen = written(paused())
    seen = replace(seen, states={uid: state(uid, seen.pods[0].config, traffic="Paused") for uid in ("a", "b")})
    made = decide(looking(settled(seen), 25))
    assert not made.at_rest
    assert made.requeue_after == 5
    assert looking(seen, 29).essence != looking(seen, 30).essence
    assert looking(seen, 28).essence == looking(seen, 29).essence


def test_a_pause_of_the_right_length_begins_anew_over_a_document_that_cannot_be_read() -> None:
    seen = paused()
    pool: Any = seen.spec
    body = dress(pool, config_map(pool, desired(pool, PLATFORM).intent, "nonsense"))
    assert document(looking(replace(seen, children={**seen.children, CONFIG_MAP: live(body)}), 0)) == {
        "protocol": 1,
        "traffic": "Paused",
        "until": START + 30,
    }
