"""Every name, label, annotation, port and path of the project, in one place. Pure."""

GROUP = "pgbouncer-operator.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ConnectionPool"
PLURAL = "connectionpools"
SINGULAR = "connectionpool"
SHORT_NAMES = ("cpool",)
CATEGORY = "pgbouncer-operator"
SERVER_KIND = "PostgresServer"
SERVER_PLURAL = "postgresservers"
SERVER_SINGULAR = "postgresserver"
SERVER_SHORT_NAMES = ("pgserver",)

FIELD_MANAGER = "pgbouncer-operator"
EVENT_STANDS_BY = "OperatorStandsBy"  # reason of the event of an operator that leaves an object to another one

# Labels. Selectors use LABEL_POOL only: a Deployment's selector is immutable, so it holds nothing that may change.
LABEL_POOL = f"{GROUP}/pool"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "pgbouncer-operator"
COMPONENT = "connection-pooler"

# On the pool's objects: hash of the body that the operator last applied, so that an unchanged object is not written.
ANNOTATION_APPLIED = f"{GROUP}/applied"
# On the Deployment: hash of the fields of the spec that the pod template depends on, and hash of the template.
ANNOTATION_TEMPLATE = f"{GROUP}/template"
# On the pod template: hash of the settings that PgBouncer reads only at its start, so that a change rolls the pods.
ANNOTATION_RESTART = f"{GROUP}/restart"
# On the pod template: its version. On a ConnectionPool, written by users: the least version that its pods should have.
ANNOTATION_TEMPLATE_VERSION = f"{GROUP}/template-version"
# On pods. The agent reads them through the downward API.
ANNOTATION_CONFIG = f"{GROUP}/config"
ANNOTATION_POKE = f"{GROUP}/poke"
ANNOTATION_RECONNECT = f"{GROUP}/reconnect"
# On a ConnectionPool, written by users: each new value brings new content of Secrets to the pods at once.
ANNOTATION_REFRESH = f"{GROUP}/refresh"

# Of Kubernetes, on EndpointSlices: the Service that they belong to.
LABEL_SERVICE = "kubernetes.io/service-name"

PGBOUNCER_PORT = 6432
AGENT_PORT = 9127
PORT_NAME_PGBOUNCER = "pgbouncer"
PORT_NAME_METRICS = "metrics"
OPERATOR_HTTP_PORT = 8080

CONTAINER_AGENT = "agent"
CONTAINER_PGBOUNCER = "pgbouncer"
RUN_AS_ID = 65532  # uid and gid of every container: PgBouncer's console admits its own uid on the Unix socket

PGBOUNCER_BINARY = "/usr/sbin/pgbouncer"
CONFIG_DIR = "/etc/pgbouncer/config"
GRANTS_DIR = "/etc/pgbouncer/grants"
USERS_DIR = "/etc/pgbouncer/users"
CA_DIR = "/etc/pgbouncer/ca"
TLS_DIR = "/etc/pgbouncer/tls"
POD_DIR = "/etc/pgbouncer/pod"
RUN_DIR = "/run/pgbouncer"
AUTH_QUERY_MOUNT = "_auth-query"  # beside the directories of users, whose handles never start with an underscore
INTENT_KEY = "current.json"
CANDIDATE_KEY = "candidate.json"
TRAFFIC_KEY = "traffic.json"
GRANTS_KEY = "grants.json"
CA_KEY = "ca.crt"
TLS_KEYS = ("tls.crt", "tls.key")  # of a kubernetes.io/tls Secret; its ca.crt is for clients
SYSTEM_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"

LEASE_NAME = "pgbouncer-operator"

# `<pool>-pgbouncer-xxxxxxxxxx`, a ReplicaSet's name, has at most 63 characters; the API server shortens pods' names.
POOL_NAME_MAX = 40


def service(pool: str) -> str:
    """Name of the pool's Service: the name of the pool, because applications use it as a host name."""
    return pool


def deployment(pool: str) -> str:
    """Name of the pool's Deployment."""
    return f"{pool}-pgbouncer"


def config_map(pool: str) -> str:
    """Name of the ConfigMap that carries the intent (`current.json`)."""
    return f"{pool}-pgbouncer"


def grants_config_map(pool: str) -> str:
    """Name of the ConfigMap that carries the ledger (`grants.json`)."""
    return f"{pool}-grants"


def pod_disruption_budget(pool: str) -> str:
    """Name of the pool's PodDisruptionBudget."""
    return f"{pool}-pgbouncer"


def connection_secret(pool: str) -> str:
    """Name of the default connection Secret that points at the pool."""
    return f"{pool}-connection"


def direct_secret(pool: str) -> str:
    """Name of the default connection Secret that points at the PostgreSQL server."""
    return f"{pool}-direct"


def service_host(pool: str, namespace: str) -> str:
    """DNS name of the pool's Service. It resolves in every namespace, whatever the cluster domain is."""
    return f"{service(pool)}.{namespace}.svc"


def labels(pool: str) -> dict[str, str]:
    """The recommended labels of every object of a pool."""
    return {
        LABEL_NAME: "pgbouncer",
        LABEL_INSTANCE: pool,
        LABEL_COMPONENT: COMPONENT,
        LABEL_PART_OF: MANAGED_BY,
        LABEL_MANAGED_BY: MANAGED_BY,
    }
