"""The generated files of the chart: its copy of the CustomResourceDefinition, and its README."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from pgbouncer_operator.api.definition import to_yaml

HEADER = "{{- /* Generated from the models in pgbouncer_operator/api by `make generate`. Do not edit. */ -}}\n"

_FRAME = """\
{{- if .Values.crds.enabled }}
---
apiVersion: %(apiVersion)s
kind: %(kind)s
metadata:
  name: %(name)s
  labels:
    {{- include "pgbouncer-operator.labels" . | nindent 4 }}
%(labels)s  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
%(spec)s{{- end }}
"""

_NEWER = '{{- if semverCompare ">=1.34.0-0" .Capabilities.KubeVersion.Version }}\n'
_ELSE = "{{- else }}\n"
_END = "{{- end }}\n"

_COMMENT = re.compile(r"^(?P<indent> *)# ?(?P<text>.*)$")
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z]\w*):(?P<rest>.*)$")


@dataclass(frozen=True, slots=True)
class Value:
    """One row of the chart's README: path (`image.tag`), default as JSON-like YAML, and the comment above it."""

    path: str
    default: str
    text: str


def crd_template(definition: Mapping[str, Any], older: Mapping[str, Any] | None = None) -> str:
    """The definition as a Helm template: guarded by `crds.enabled`, kept at uninstall by `crds.keep`.

    older: what Kubernetes 1.33 gets instead, with as many lines.
    Helm installs a chart's own `crds/` directory once and never upgrades it, hence a template.
    """
    metadata = definition["metadata"]
    # app.kubernetes.io/name stands among the chart's labels already, and a key may stand only once.
    labels = {key: text for key, text in metadata["labels"].items() if not key.startswith("app.kubernetes.io/")}
    parts = {
        "apiVersion": definition["apiVersion"],
        "kind": definition["kind"],
        "name": metadata["name"],
        "labels": "".join(f'    {key}: "{text}"\n' for key, text in sorted(labels.items())),
        "spec": _by_version(_text(definition), _text(older or definition)),
    }
    return HEADER + _FRAME % parts


def _text(definition: Mapping[str, Any]) -> str:
    return literal(to_yaml({"spec": definition["spec"]}, header=""))


def _by_version(text: str, older: str) -> str:
    """Both texts in one: lines that differ stand in a condition on the cluster's version."""
    lines = []
    for line, other in zip(text.splitlines(keepends=True), older.splitlines(keepends=True), strict=True):
        choice = f"{_NEWER}{line}{_ELSE}{other}{_END}"
        lines.append(line if line == other else choice)
    return "".join(lines)


def literal(text: str) -> str:
    """Text that Helm's template engine prints as it stands."""
    return text.replace("{{", '{{ "{{" }}')


def values(text: str) -> tuple[Value, ...]:
    """Every documented value of values.yaml, in its order. ValueError names a value without a comment.

    A comment ends the descent: the value below it is documented as a whole.
    """
    return tuple(_values(text.splitlines(), yaml.safe_load(text)))


def _values(lines: list[str], tree: Mapping[str, Any]) -> Iterator[Value]:
    comment: list[str] = []
    parents: list[str] = []
    documented_at: int | None = None  # depth of the documented value whose inside we pass over
    for line in lines:
        if note := _COMMENT.match(line):
            comment.append(note["text"])
        elif key := _KEY.match(line):
            depth = len(key["indent"]) // 2
            if documented_at is not None and depth > documented_at:
                continue
            documented_at = None
            parents = [*parents[:depth], key["key"]]
            default = _at(tree, parents)
            if comment:
                documented_at = depth
                yield Value(".".join(parents), _brief(default), " ".join(comment))
            elif not isinstance(default, Mapping) or not default:
                raise ValueError(f"values.yaml: {'.'.join(parents)} has no comment. Write what it does above it.")
            comment = []
        else:
            comment = []


def _at(tree: Mapping[str, Any], path: list[str]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _brief(default: Any) -> str:
    """The value on one line, as one may write it in YAML."""
    text = yaml.safe_dump(default, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...").replace("''", '""')


def readme(chart: Path) -> str:
    """The chart's README, made of Chart.yaml and the comments of values.yaml."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True, autoescape=False
    )
    template = environment.from_string(README.read_text(encoding="utf-8"))
    about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    rows = values((chart / "values.yaml").read_text(encoding="utf-8"))
    return template.render(chart=about, values=rows)


README = Path(__file__).with_name("generate_chart_readme.md.j2")
