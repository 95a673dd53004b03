"""What `kubectl apply` and the API server refuse of an object, without either of them. Pure.

Values are judged by the models of `api`. Fields are judged by the definition's own schema: kubectl asks the API server
to refuse unknown ones. https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
"""

import difflib
import functools
import re
from collections.abc import Mapping
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api import crd, crd_server
from pgbouncer_operator.api.connection_pool import ConnectionPool, FieldProblem, InvalidSpec
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.api.postgres_server import parse as parse_server
from pgbouncer_operator.api.strings import LABEL, QUALIFIED_NAME
from pgbouncer_operator.manifest import Object
from pgbouncer_operator.reconcile.specification import read

PLACEHOLDER_UID = "00000000-0000-0000-0000-000000000000"
KINDS = {naming.KIND: crd.render, naming.SERVER_KIND: crd_server.render}
_TEXT, _FLAG, _NUMBER = ({"type": kind} for kind in ("string", "boolean", "integer"))
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_OWNER = {"apiVersion": _TEXT, "kind": _TEXT, "name": _TEXT, "uid": _TEXT, "controller": _FLAG}
# ObjectMeta, which every definition has without naming it.
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
_METADATA: dict[str, Any] = {
    "annotations": _TEXTS,
    "creationTimestamp": _TEXT,
    "deletionGracePeriodSeconds": _NUMBER,
    "deletionTimestamp": _TEXT,
    "finalizers": {"type": "array", "items": _TEXT},
    "generateName": _TEXT,
    "generation": _NUMBER,
    "labels": _TEXTS,
    "managedFields": {"type": "array"},
    "name": _TEXT,
    "namespace": _TEXT,
    "ownerReferences": {
        "type": "array",
        "items": {"type": "object", "properties": {**_OWNER, "blockOwnerDeletion": _FLAG}},
    },
    "resourceVersion": _TEXT,
    "selfLink": _TEXT,
    "uid": _TEXT,
}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
_SUBDOMAIN = re.compile(rf"{LABEL}([.]{LABEL})*")
_VALUE = re.compile("([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?")


def ours(body: Object) -> bool:
    """Whether the object is meant for this operator: by its group, or by its kind without another group."""
    version = body.get("apiVersion")
    group, slash, _ = version.partition("/") if isinstance(version, str) else ("", "", "")
    return group == naming.GROUP or (body["kind"] in KINDS and not slash)


def judged(body: Object) -> ConnectionPool | PostgresServer | InvalidSpec:
    """The object as a model, with defaults, or everything that would be refused."""
    if body.get("apiVersion") != naming.API_VERSION:
        return InvalidSpec([FieldProblem("apiVersion", f"must be {naming.API_VERSION}")])
    if body["kind"] not in KINDS:
        return InvalidSpec([FieldProblem("kind", f"must be {' or '.join(KINDS)}{_near(body['kind'], KINDS)}")])
    wrong = [*_unknown(body, _schema(body["kind"])), *_metadata(body.get("metadata"))]
    found: ConnectionPool | PostgresServer | InvalidSpec
    try:
        given = body.get("metadata")
        metadata = {"namespace": "default", "uid": PLACEHOLDER_UID, **(given if isinstance(given, Mapping) else {})}
        whole = {**_without_nulls(body), "metadata": metadata}
        found = read(whole) if body["kind"] == naming.KIND else parse_server(whole)
    except InvalidSpec as error:
        found = error
    if isinstance(found, InvalidSpec):
        named = {each.field for each in wrong}
        wrong += [each for each in found.problems if each.field not in named]
    return InvalidSpec(wrong) if wrong else found


def _without_nulls(value: Any) -> Any:
    """The value as the API server stores it: without fields that are null. An item of a list may not be null."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


@functools.cache
def _schema(kind: str) -> Mapping[str, Any]:
    """The schema of the kind as its definition has it, with the fields of its metadata."""
    schema: dict[str, Any] = KINDS[kind]()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    properties = schema["properties"] | {"metadata": {"type": "object", "properties": _METADATA}}
    return {**schema, "properties": properties}


def _unknown(value: object, schema: Mapping[str, Any], path: str = "") -> list[FieldProblem]:
    """Every field that the schema does not have."""
    if isinstance(value, list):
        items = schema.get("items", {})
        return [each for index, item in enumerate(value) for each in _unknown(item, items, f"{path}[{index}]")]
    if not isinstance(value, dict):
        return []
    fields, rest, found = schema.get("properties"), schema.get("additionalProperties"), []
    for name, child in value.items():
        at = f"{path}.{name}" if path else name
        if fields is None or name in fields:
            found += _unknown(child, rest or {} if fields is None else fields[name], at)
        else:
            found.append(FieldProblem(at, f"is not a field{_near(name, fields)}: correct its spelling or remove it"))
    return found


def _near(name: str, others: Mapping[str, object]) -> str:
    """A guess at what was meant."""
    near = difflib.get_close_matches(name.lower(), {each.lower(): each for each in others}, 1)
    meant = next((each for each in others if near and each.lower() == near[0]), "")
    return f" (did you mean {meant}?)" if meant else ""


def _metadata(metadata: object) -> list[FieldProblem]:
    """What is wrong with the metadata. A pool's name has a rule of its own, besides."""
    if not isinstance(metadata, dict):
        return []  # the models say what is missing
    found = []
    for name, value in metadata.items():
        schema = _METADATA.get(name, {})
        if value is not None and "type" in schema and not _is(value, schema["type"]):
            found.append(FieldProblem(f"metadata.{name}", f"must be of type {schema['type']}"))
    if found:
        return found
    for name, most, pattern in (("name", 253, _SUBDOMAIN), ("namespace", 63, re.compile(LABEL))):
        text = metadata.get(name)
        if text is not None and not (len(text) <= most and pattern.fullmatch(text)):
            words = f"must be lower-case letters, digits and '-', at most {most} characters"
            found.append(FieldProblem(f"metadata.{name}", words))
    return [*found, *_texts(metadata, "labels"), *_texts(metadata, "annotations")]


def _texts(metadata: Mapping[str, Any], field: str) -> list[FieldProblem]:
    """What is wrong with labels or annotations."""
    found = []
    for key, value in (metadata.get(field) or {}).items():
        prefix, _, name = key.rpartition("/")
        text = key.lower() if field == "annotations" else key  # the API server judges keys of annotations in lower case
        if len(name) > 63 or len(prefix) > 253 or not re.fullmatch(QUALIFIED_NAME, text):
            found.append(FieldProblem(f"metadata.{field}", f"{key!r} is not a valid key"))
        elif not isinstance(value, str | None):
            found.append(FieldProblem(f"metadata.{field}.{key}", "must be a string: put it in quotes"))
        elif field == "labels" and value and not (len(value) <= 63 and _VALUE.fullmatch(value)):
            words = "must be at most 63 letters, digits, '-', '_' and '.', and begin and end with a letter or digit"
            found.append(FieldProblem(f"metadata.{field}.{key}", words))
    return found


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
