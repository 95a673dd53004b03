"""`traffic.json`: until when every pod of a pool holds queries back. The operator writes it, the agent reads it. Pure.

The pods end a pause by themselves, so that queries flow again without an operator.
"""

import json

from pgbouncer_operator.protocol.document import PROTOCOL
from pgbouncer_operator.protocol.reasons import Flow


def to_json(until: int) -> str:
    """The document of a pause. until: Unix seconds. The same bytes for the same pause."""
    document = {"protocol": PROTOCOL, "traffic": Flow.PAUSED.value, "until": until}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def paused_until(text: str) -> int | None:
    """The end of the pause in Unix seconds; None when queries flow.

    Text that cannot be read asks for no pause: queries that flow are the safe side.
    """
    try:
        document = json.loads(text)
        return int(document["until"]) if document["traffic"] == Flow.PAUSED else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
