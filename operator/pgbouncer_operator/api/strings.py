"""Strings and maps of the spec, with their bounds and the message for a value that breaks one.

No string may hold a control character: PgBouncer's files consist of lines, and a line break would start a new setting.
Every value has a bound, also because the API server refuses CEL rules whose estimated cost is too high.
"""

import ipaddress
import re
from typing import Annotated

from pydantic import Field, StringConstraints

from pgbouncer_operator.api.model import Holds, IntOrString, Rule, matches
from pgbouncer_operator.naming import GROUP

PLAIN = r"[^\x00-\x1f\x7f-\x9f]*"  # no control character
LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"  # RFC 1123 label
DNS_NAME = r"[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?)*"
# The grammar of resource.Quantity, https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY = r"^[0-9]+([.][0-9]*)?([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$"
QUALIFIED_NAME = r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?"


def _bad_host(host: str) -> str | None:
    """None for one DNS name or one IP address, as Kubernetes' CEL function isIP defines addresses."""
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return ""
        mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
        return "" if mapped or "%" in host else None
    return None if re.fullmatch(DNS_NAME, host) else ""


def _bad_cidr(text: str) -> str | None:
    """None for a network such as 10.0.0.0/8, as Kubernetes' CEL function isCIDR defines it."""
    address, slash, length = text.partition("/")
    if not slash or not re.fullmatch("0|[1-9][0-9]{0,2}", length) or _bad_host(address) is not None:
        return ""
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return ""
    return None


HOST = Rule(
    cel=f'self.contains(":") || self.matches(r"^[0-9.]+$") ? isIP(self) : self.matches(r"^{DNS_NAME}$")',
    broken=_bad_host,
    message="must be one DNS name or one IP address: "
    "no port, no brackets, no list, no dot at the end, no spaces or line breaks",
)
CIDR = Rule(
    cel="isCIDR(self)",
    broken=_bad_cidr,
    message="must be a network in CIDR notation, such as 10.0.0.0/8 or 2001:db8::/32",
)
DATABASE_BYTES = Rule(
    cel="bytes(self).size() <= 63",
    broken=lambda name: None if len(name.encode()) <= 63 else "",
    message="is longer than 63 bytes, which PostgreSQL and PgBouncer cannot tell apart: shorten it",
)
DATABASE_RESERVED = Rule(
    cel='!(self in ["pgbouncer", "pgbouncer-lookup", "*"])',
    broken=lambda name: "" if name in {"pgbouncer", "pgbouncer-lookup", "*"} else None,
    message="pgbouncer and pgbouncer-lookup are the pods' own and * would escape the connection limit: "
    "choose another name",
)
OURS = Rule(
    cel=f'self.all(k, !k.startsWith("{GROUP}/"))',
    broken=lambda entries: next((key for key in sorted(entries) if key.startswith(f"{GROUP}/")), None),
    offender=f'self.filter(k, k.startsWith("{GROUP}/"))[0]',
    message="{} belongs to the operator: remove it",
)

Host = Annotated[str, StringConstraints(min_length=1, max_length=253), Holds((HOST,))]
Cidr = Annotated[str, StringConstraints(max_length=43, pattern="^[0-9A-Fa-f.:/]+$"), Holds((CIDR,))]
_UNQUOTED = matches(  # PgBouncer's ini has no escape for a quote in a name
    r"[^\x00-\x1f\x7f-\x9f']+", "must not contain quotes (') or control characters such as line breaks: remove them"
)
DatabaseName = Annotated[
    str, StringConstraints(min_length=1, max_length=63), _UNQUOTED, Holds((DATABASE_BYTES, DATABASE_RESERVED))
]
BackendDatabaseName = Annotated[
    str, StringConstraints(min_length=1, max_length=63), _UNQUOTED, Holds((DATABASE_BYTES,))
]
Handle = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    matches(LABEL, "must be lower-case letters, digits and '-', and start and end with a letter or digit"),
]
ObjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    matches(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", "must be a name of lower-case letters, digits, '-' and '.'"),
]
FunctionName = Annotated[
    str,
    StringConstraints(max_length=127),
    matches(
        "[a-z_][a-z0-9_]{0,62}[.][a-z_][a-z0-9_]{0,62}",
        "must be schema.function: two names of lower-case letters, digits and '_', never SQL",
    ),
]
# The name of another entry of the spec. A rule says that the entry exists, and the entry has bounds of its own.
Reference = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=f"^{PLAIN}$")]
KeyName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern="^[-._A-Za-z0-9]+$")]
SubdomainName = Annotated[str, StringConstraints(max_length=253, pattern="^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")]
Namespace = Annotated[str, StringConstraints(max_length=63, pattern=f"^{LABEL}$")]

# Kubernetes checks these itself in a pod or Service. A pattern without a message of its own keeps the CRD small.
Text = Annotated[str, StringConstraints(max_length=253, pattern=f"^{PLAIN}$")]
LongText = Annotated[str, StringConstraints(max_length=1024, pattern=f"^{PLAIN}$")]
LabelKey = Annotated[str, StringConstraints(max_length=317, pattern=f"^{QUALIFIED_NAME}$")]
LabelValue = Annotated[str, StringConstraints(max_length=63, pattern="^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$")]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64), Holds((OURS,))]
Annotations = Annotated[dict[LabelKey, LongText], Field(max_length=64), Holds((OURS,))]

Integer = Annotated[int, Field(strict=True)]
Quantity = Annotated[
    int | str,
    IntOrString(
        QUANTITY, 32, 'must be a quantity such as 100m, "0.5" or 128Mi, with quotes around a number that has a point'
    ),
]
SettingValue = Annotated[
    int | str,
    IntOrString(
        r"^([^\x00-\x20\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f])?)?$",
        1024,
        "must be an integer, or a string without control characters and without blanks at its ends",
    ),
]
