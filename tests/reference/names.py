"""Annotations and labels, made of the package's names."""

from tests.reference.markdown import code, table

from pgbouncer_operator import naming

# constant: (where, written by, meaning)
ANNOTATIONS = {
    "ANNOTATION_REFRESH": (
        "ConnectionPool",
        "you",
        (
            "Any new value: the operator reads the users' Secrets again, and the kubelet brings their content to "
            "every pod at once."
        ),
    ),
    "ANNOTATION_APPLIED": (
        "every object of a pool",
        "the operator",
        "Hash of what the operator last applied. An object that still matches is not written.",
    ),
    "ANNOTATION_TEMPLATE": (
        "Deployment",
        "the operator",
        (
            "Hash of the inputs from the spec that the pod template is made of, and hash of the template. Pods roll "
            "only when the inputs differ."
        ),
    ),
    "ANNOTATION_RESTART": (
        "pod template",
        "the operator",
        "Hash of the settings that PgBouncer reads only when it starts. A new value rolls the pods.",
    ),
    "ANNOTATION_TEMPLATE_VERSION": (
        "ConnectionPool, pod template",
        "you on the pool, the operator on the template",
        (
            "Version of the pod template, which grows with security fixes. On a pool: pods of an older version are "
            "replaced."
        ),
    ),
    "ANNOTATION_CONFIG": ("pod", "the operator", "Hash of the configuration that the pod is to run."),
    "ANNOTATION_POKE": (
        "pod",
        "the operator",
        "Changes with every message to the pod, which makes the kubelet refresh the pod's files at once.",
    ),
    "ANNOTATION_RECONNECT": (
        "pod",
        "the operator",
        (
            "The Service in front of PostgreSQL and its ready addresses. When an address has gone, the agent renews "
            "every server connection between two transactions, and again for two minutes."
        ),
    ),
}
LABELS = {
    "LABEL_POOL": ("Deployment, pods and other objects of a pool", "Name of the pool. The only label in selectors."),
    "LABEL_NAME": ("every object of a pool", "`pgbouncer`"),
    "LABEL_INSTANCE": ("every object of a pool", "Name of the pool."),
    "LABEL_COMPONENT": ("every object of a pool", f"`{naming.COMPONENT}`"),
    "LABEL_PART_OF": ("every object of a pool", f"`{naming.MANAGED_BY}`"),
    "LABEL_MANAGED_BY": ("every object of a pool", f"`{naming.MANAGED_BY}`"),
    "LABEL_SERVICE": ("EndpointSlices, by Kubernetes", "The Service that a slice belongs to. The operator reads it."),
}


def annotations() -> str:
    """Every annotation. ValueError: see `_named`."""
    rows = _named("ANNOTATION_", ANNOTATIONS)
    return table(("annotation", "on", "written by", "meaning"), rows)


def labels() -> str:
    """Every label. ValueError: see `_named`."""
    return table(("label", "on", "value"), _named("LABEL_", LABELS))


def objects() -> str:
    """The objects of a pool by kind and name."""
    rows = [
        ("Service", naming.service("<pool>"), "What applications connect to."),
        ("Deployment", naming.deployment("<pool>"), "The pods."),
        ("PodDisruptionBudget", naming.pod_disruption_budget("<pool>"), "Limits evictions to one pod at a time."),
        (
            "ConfigMap",
            naming.config_map("<pool>"),
            (
                f"The configuration: {_keys(naming.INTENT_KEY)}; while one pod tries "
                f"a change {_keys(naming.CANDIDATE_KEY)}; during a pause {_keys(naming.TRAFFIC_KEY)}."
            ),
        ),
        ("ConfigMap", naming.grants_config_map("<pool>"), f"The ledger: {_keys(naming.GRANTS_KEY)}."),
        ("Secret", naming.connection_secret("<pool>"), "URLs and login through the pool."),
        ("Secret", naming.direct_secret("<pool>"), "URL and login straight to the server."),
    ]
    return table(("kind", "name", "content"), [(kind, code(name), text) for kind, name, text in rows])


def ports() -> str:
    """The TCP ports of pods and of the operator."""
    rows = [
        ("a pool's pod", naming.PGBOUNCER_PORT, naming.PORT_NAME_PGBOUNCER, "PgBouncer, for clients"),
        ("a pool's pod", naming.AGENT_PORT, naming.PORT_NAME_METRICS, "`/metrics`, `/state`, `/livez`"),
        ("the operator", naming.OPERATOR_HTTP_PORT, "http", "`/metrics`, `/livez`, `/readyz`"),
    ]
    return table(
        ("of", "port", "name", "serves"), [(who, code(port), code(name), what) for who, port, name, what in rows]
    )


def _keys(*names: str) -> str:
    return ", ".join(f"`{each}`" for each in names)


def _named(prefix: str, rows: dict[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows with each constant's value. ValueError names constants without a row, and rows without a constant."""
    constants = {name for name in vars(naming) if name.startswith(prefix)}
    if wrong := sorted(constants ^ rows.keys()):
        raise ValueError(f"tests/reference/names.py: {', '.join(wrong)} is a row or a constant of naming.py, not both.")
    return [(code(getattr(naming, name)), *cells) for name, cells in rows.items()]
