"""`spec.service`: the Service that applications connect to."""

from typing import Annotated

from pydantic import Field

from pgbouncer_operator.api.model import Model
from pgbouncer_operator.api.strings import Annotations, Host, Integer, Labels
from pgbouncer_operator.naming import PGBOUNCER_PORT


class Service(Model):
    """The Service in front of a pool's pods."""

    port: Annotated[Integer, Field(ge=1, le=65535)] = PGBOUNCER_PORT
    """TCP port of the Service. Default: 6432. The pods always listen on 6432. A change is applied at once and cuts
    nothing, but applications must follow."""
    annotations: Annotations | None = None
    """Annotations for the Service, at most 64. Default: none. A change is applied at once."""
    labels: Labels | None = None
    """Labels for the Service besides the operator's own, at most 64. Default: none. A change is applied at once."""
    external_host: Host | None = None
    """Host that connection Secrets name instead of the Service, for applications that reach the pool by another way.
    Default: the Service's DNS name. A change is applied at once."""
