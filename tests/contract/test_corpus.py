"""The offline commands against the corpus: a verdict on every object, and the reading of every plain word.

The API server gives the same verdicts in tests/controlplane/test_corpus.py.
"""

import itertools
import json
from collections import Counter
from typing import Any

import pytest
import yaml
from tests.contract.corpus import PLAIN, UNREADABLE, Object, corpus
from tests.contract.pools import pool

from pgbouncer_operator import admission, manifest, naming, offline
from pgbouncer_operator.api.connection_pool import InvalidSpec

CORPUS = corpus()
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in itertools.pairwise("abcdefgh")
)


def refused(body: Object) -> bool:
    return isinstance(admission.judged(body), InvalidSpec)


def test_the_corpus_has_several_hundred_objects_of_each_verdict() -> None:
    verdicts = Counter(map(refused, CORPUS))
    assert verdicts[False] > 400
    assert verdicts[True] > 3000


def test_check_and_render_have_an_answer_for_every_object_of_the_corpus() -> None:
    for body in CORPUS[::23]:
        text = json.dumps(body)
        rendered = offline.render(text, "pool:1")
        assert bool(rendered.text) <= (body["kind"] == naming.KIND and not refused(body))
        assert offline.check(text).problems or not refused(body)


@pytest.mark.parametrize(("text", "value"), PLAIN, ids=[text for text, _ in PLAIN])
def test_plain_words_are_read_as_kubectl_reads_them(text: str, value: Any) -> None:
    read = manifest.read(f"kind: A\nvalue: {text}\n")
    assert json.dumps(read.objects, sort_keys=True) == json.dumps(({"kind": "A", "value": value},), sort_keys=True)


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_is_no_yaml_or_no_json_is_a_problem_and_no_traceback(text: str) -> None:
    read = manifest.read(f"---\nkind: A\n---\nkind: B\nvalue: {text}\n")
    assert [each["kind"] for each in read.objects] == ["A"]
    assert len(read.problems) == 1
    assert read.problems[0].startswith("document 2 ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"\xff\xfe\xfa", "document 1 is not YAML: "),
        (b"kind: \xff", "document 1 is not YAML: "),
        ("kind: A\x01", "document 1 is not YAML: "),
        ("hello", "document 1 is not an object: give it apiVersion, kind, metadata and spec"),
        ("- a", "document 1 is not an object: give it apiVersion, kind, metadata and spec"),
        ("a: 1", "document 1 has no kind: add kind and apiVersion"),
        ("kind: List\napiVersion: v1", "document 1 has no items: a List needs a list of objects"),
        ("kind: List\nitems: [5]", "document 1, items[0] is not an object: "),
        ("[" * 5000, "document 1 is n"),
        (LAUGHS, "document 1 holds too many values"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_manifest_says_where_and_what_to_do(text: str | bytes, problem: str) -> None:
    for found in (offline.check(text), offline.render(text, "pool:1")):
        assert found.problems[0].startswith(problem)
        assert found.text == ""


def test_a_list_stands_for_its_items() -> None:
    items = [pool(name="a"), {"apiVersion": "v1", "kind": "ConfigMap"}, pool(name="b")]
    for kind in ("List", "ConnectionPoolList"):
        found = offline.check(yaml.safe_dump({"apiVersion": "v1", "kind": kind, "items": items}))
        assert found.problems == ()
        assert found.text.splitlines() == [f"{name}: ok, 2 pods share 25 server connections" for name in "ab"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"apiVersion": "pgbouncer-operator.io/v1"}, "apiVersion: must be pgbouncer-operator.io/v1alpha1"),
        ({"apiVersion": "v1"}, "apiVersion: must be pgbouncer-operator.io/v1alpha1"),
        ({"kind": "ConnectionPol"}, "kind: must be ConnectionPool or PostgresServer (did you mean ConnectionPool?)"),
        (
            {"spec": pool(lambda spec: spec.update(poolmode="session"))["spec"]},
            "spec.poolmode: is not a field (did you mean poolMode?): correct its spelling or remove it",
        ),
        (
            {"spec": pool(lambda spec: spec.update(pod={"hostNetwork": True}))["spec"]},
            "spec.pod.hostNetwork: is not a field: correct its spelling or remove it",
        ),
        (
            {"metadata": {"name": "a", "labels": {"a": 1}}},
            "metadata.labels.a: must be a string: put it in quotes",
        ),
    ],
)
def test_what_the_api_server_does_not_know_is_a_problem(changes: Object, problem: str) -> None:
    found = offline.check(yaml.safe_dump({**pool(), **changes}))
    assert [each.partition(": ")[2] for each in found.problems] == [problem]


def test_another_groups_kind_of_the_same_name_is_skipped() -> None:
    other = {**pool(), "apiVersion": "example.com/v1", "spec": {}}
    assert offline.check(yaml.safe_dump_all([other, pool()])).problems == ()
