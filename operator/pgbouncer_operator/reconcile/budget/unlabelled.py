"""What a status says of pods that are charged although the operator does not find them by their labels. Pure."""

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.reconcile.memory import Presence
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.wording import counted

NAMED = 5  # pods


def unlabelled(observed: Observed, round_: Grants) -> str:
    """A sentence for each such pod, with its charge and the remedy; empty without any. round_: the grants in force."""
    grants = round_.pods
    found = [(uid, each) for uid, each in observed.unlabelled if uid in grants]
    sentences = []
    for uid, each in found[:NAMED]:
        charge = counted(max(grants[uid].cap, grants[uid].high), "server connection")
        if each.presence is Presence.EXISTS:
            sentences.append(
                f" Pod {each.name} runs without the labels {naming.LABEL_MANAGED_BY} and {naming.LABEL_POOL} of this "
                f"pool and is charged with {charge}: delete it, or give it its labels back."
            )
        else:
            remedy = "Let the operator get pods." if each.forbidden else "The operator asks again."
            sentences.append(
                f" Pod {each.name or uid} is charged with {charge}, because it is unknown whether it still exists: "
                f"{each.error.removesuffix('.')}. {remedy}"
            )
    more = f" {counted(len(found) - NAMED, 'more pod')} likewise." if len(found) > NAMED else ""
    return "".join(sentences) + more
