"""`spec.pod.affinity`: near which nodes and pods the pool's pods are placed, in Kubernetes' own fields.

With all these fields the definition would be a quarter larger, so it takes objects of any shape and these models judge
them. A field that they do not have is refused: the API server would drop it from the Deployment without a word.
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#scheduling
"""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from pgbouncer_operator.api.model import Model
from pgbouncer_operator.api.strings import Integer, LabelKey, LabelValue, Namespace, Text

Key = Annotated[LabelKey, Field(min_length=1)]
Keys = Annotated[tuple[Key, ...], Field(max_length=16)]
Values = Annotated[tuple[Text, ...], Field(max_length=64)]
Weight = Annotated[Integer, Field(ge=1, le=100)]


class LabelOperator(StrEnum):
    """How a label of a pod or namespace is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class NodeOperator(StrEnum):
    """How a label or field of a node is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


class _Strict(Model):
    """A part without unknown fields."""

    model_config = ConfigDict(extra="forbid")


class _Requirement(_Strict):
    """A key that is compared with values."""

    key: Key
    values: Values | None = None

    @model_validator(mode="after")
    def _verify_values(self) -> Self:
        operator, count = str(getattr(self, "operator", "")), len(self.values or ())
        if operator in {"In", "NotIn"} and not count:
            raise _fault(f"{operator} needs at least one value: add it")
        if operator in {"Exists", "DoesNotExist"} and count:
            raise _fault(f"{operator} takes no values: remove them")
        if operator in {"Gt", "Lt"} and count != 1:
            raise _fault(f"{operator} needs exactly one value, an integer in quotes: correct it")
        return self


def _fault(text: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{text}", {"text": text, "field": "values"})


class LabelRequirement(_Requirement):
    """A condition on a label of pods or namespaces."""

    operator: LabelOperator


class NodeRequirement(_Requirement):
    """A condition on a label or a field of nodes."""

    operator: NodeOperator


class Selector(_Strict):
    """Labels of pods or namespaces; an empty one selects all."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] | None = None
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=32)] | None = None


class NodeTerm(_Strict):
    """Conditions that a node has to meet together."""

    match_expressions: Annotated[tuple[NodeRequirement, ...], Field(max_length=32)] | None = None
    match_fields: Annotated[tuple[NodeRequirement, ...], Field(max_length=32)] | None = None


class NodeTerms(_Strict):
    """Terms of which a node has to meet one."""

    node_selector_terms: Annotated[tuple[NodeTerm, ...], Field(min_length=1, max_length=32)]


class PreferredNode(_Strict):
    """A term that nodes should meet."""

    weight: Weight
    preference: NodeTerm


class PodTerm(_Strict):
    """Pods, and the nodes that count as theirs."""

    topology_key: Key
    label_selector: Selector | None = None
    namespace_selector: Selector | None = None
    namespaces: Annotated[tuple[Namespace, ...], Field(max_length=32)] | None = None
    match_label_keys: Keys | None = None
    mismatch_label_keys: Keys | None = None


class PreferredPod(_Strict):
    """A term that should be met."""

    weight: Weight
    pod_affinity_term: PodTerm


class _Opaque(_Strict):
    """A part that the definition takes in any shape."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        del core, handler
        schema: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        return schema


class NodeAffinity(_Opaque):
    """Nodes that the pods need or prefer."""

    required_during_scheduling_ignored_during_execution: NodeTerms | None = None
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredNode, ...], Field(max_length=32)] | None
    ) = None


class PodAffinity(_Opaque):
    """Pods that the pool's pods need or prefer near them, or away from them."""

    required_during_scheduling_ignored_during_execution: Annotated[tuple[PodTerm, ...], Field(max_length=32)] | None = (
        None
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredPod, ...], Field(max_length=32)] | None
    ) = None


class Affinity(Model):
    """Where the pods are placed."""

    node_affinity: NodeAffinity | None = None
    """Nodes that the pods need or prefer, by label. Default: any. A change rolls the pods."""
    pod_affinity: PodAffinity | None = None
    """Pods that they need or prefer near them. Default: none. A change rolls the pods."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods that they need or prefer away from them. Default: none. A change rolls the pods."""
