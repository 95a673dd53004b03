"""Every kind of event, as a table."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.nemesis import machines, neighbours, owners, people
from tests.nemesis.promises import FORCED, NO_SERVICE, Exemption
from tests.nemesis.scene import Scene


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event."""

    act: Callable[[Scene, random.Random], str]
    """Does it, and says to what. It does not wait until the pools have settled."""
    what: str
    """For the reader of the documentation."""
    exemption: Exemption | None = None
    """The stated exception of the promises that it falls under."""
    needs_node: bool = False
    """Only where there is a second node."""


KINDS: Mapping[str, Kind] = {
    "scale-up": Kind(people.scale_up, "a person scales the pool's Deployment to 5"),
    "scale-down": Kind(people.scale_down, "a person scales the pool's Deployment to 1"),
    "scale-to-nothing": Kind(people.scale_to_nothing, "a person scales the pool's Deployment to 0"),
    "restart": Kind(people.restart, "`kubectl rollout restart` of the pool's Deployment"),
    "edit-template": Kind(people.edit_template, "a person edits the pod template of the pool's Deployment"),
    "delete-deployment": Kind(people.delete_deployment, "the pool's Deployment is deleted"),
    "delete-replica-sets": Kind(people.delete_replica_sets, "the ReplicaSets of the pool are deleted"),
    "delete-config-map": Kind(people.delete_config_map, "the pool's configuration is deleted"),
    "delete-ledger": Kind(people.delete_ledger, "the pool's ledger, `<pool>-grants`, is deleted"),
    "delete-disruption-budget": Kind(people.delete_disruption_budget, "the PodDisruptionBudget is deleted"),
    "delete-connection-secret": Kind(people.delete_connection_secret, "the connection Secret is deleted"),
    "delete-service": Kind(people.delete_service, "the pool's Service is deleted", NO_SERVICE),
    "clear-pool-status": Kind(people.clear_pool_status, "the status of a pool is removed, as by a restored backup"),
    "clear-server-status": Kind(people.clear_server_status, "the status of the PostgresServer is removed"),
    "remove-label": Kind(people.remove_label, "a pod loses its pool label, and is deleted 45 s later"),
    "delete-pod": Kind(people.delete_pod, "one pod is deleted"),
    "delete-pods": Kind(people.delete_pods, "`kubectl delete pod -l`: all pods of a pool at once"),
    "shorten-grace": Kind(people.shorten_grace, "one pod is deleted with a grace period of 5 or 15 s"),
    "delete-by-force": Kind(people.delete_by_force, "one pod is deleted by force", FORCED),
    "evict-pod": Kind(people.evict_pod, "one pod is evicted"),
    "evict-only-pod": Kind(people.evict_only_pod, "a pool is made to have one pod, and that one is evicted"),
    "evict-pods": Kind(people.evict_pods, "all pods of a pool are evicted at once"),
    "drain-node": Kind(people.drain_node, "a node is drained", needs_node=True),
    "reload": Kind(owners.reload, "a change that PgBouncer reloads"),
    "roll": Kind(owners.roll, "a change that replaces the pods"),
    "more-replicas": Kind(owners.more_replicas, "one more replica"),
    "fewer-replicas": Kind(owners.fewer_replicas, "one replica fewer"),
    "raise-max": Kind(owners.raise_max, "a higher serverConnections.max"),
    "lower-max": Kind(owners.lower_max, "a lower serverConnections.max"),
    "raise-budget": Kind(owners.raise_budget, "a higher budget of the PostgresServer"),
    "lower-budget": Kind(owners.lower_budget, "a lower budget of the PostgresServer"),
    "rewrite-secret": Kind(owners.rewrite_secret, "the login's Secret is made again with the same password"),
    "rotate-password": Kind(owners.rotate_password, "a new password of a second user, in PostgreSQL and in its Secret"),
    "pause": Kind(owners.pause, "traffic is paused for 3 s"),
    "pool-beside": Kind(owners.pool_beside, "one more pool on the server is made, serves, and is deleted"),
    "kill-leader": Kind(machines.kill_leader, "SIGKILL of the operator that leads"),
    "hang-leader": Kind(machines.hang_leader, "the operator that leads is suspended for 20 s"),
    "operator-absent": Kind(machines.operator_absent, "no operator runs for 15 s"),
    "operator-absent-in-roll": Kind(machines.operator_absent_in_roll, "the same, and a person restarts a pool"),
    "operator-absent-in-eviction": Kind(machines.operator_absent_in_eviction, "the same, and one pod is evicted"),
    "second-operator": Kind(machines.second_operator, "a second operator with the same settings for 30 s"),
    "second-operator-other-settings": Kind(
        machines.second_operator_with_other_settings, "a second operator with another endpointDelaySeconds for 30 s"
    ),
    "kill-agent": Kind(machines.kill_agent, "SIGKILL of the agent's worker in one pod"),
    "kill-agent-container": Kind(machines.kill_agent_container, "SIGKILL of the agent's container in one pod"),
    "hang-agent": Kind(machines.hang_agent, "the agent of one pod is suspended for 8 s"),
    "hang-server": Kind(machines.hang_server, "PostgreSQL is suspended for 3 s"),
    "silent-connections": Kind(neighbours.silent_connections, "300 connections to a pool that say nothing for 8 s"),
    "idle-clients": Kind(neighbours.idle_clients, "1,100 idle clients of one pool for 10 s"),
    "forge-ledger": Kind(neighbours.forge_ledger, "a ledger is forged: it charges a pod that does not exist"),
    "forge-foreign-ledger": Kind(neighbours.forge_foreign_ledger, "the ledger of a pool that does not exist"),
    "second-server": Kind(neighbours.second_server, "a second PostgresServer with the same host, and a pool on it"),
    "foreign-server": Kind(neighbours.foreign_server, "a PostgresServer of another namespace names our host"),
}

BROKEN: Mapping[str, str] = {}
"""Kinds that break a promise today, and the fault that is known. They are left out of the campaign and run apart."""


def table() -> str:
    """The kinds for the documentation, without those that break a promise today."""
    rows = ["| event | what happens | stated exception |", "|---|---|---|"]
    for name, kind in ((name, kind) for name, kind in KINDS.items() if name not in BROKEN):
        exemption = kind.exemption
        words = f"{exemption.reason}: {exemption.seconds:.0f} s" if exemption else ""
        rows.append(f"| `{name}` | {kind.what} | {words} |")
    return "\n".join(rows)
