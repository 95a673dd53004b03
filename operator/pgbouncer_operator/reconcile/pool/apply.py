"""The writes of a plan. Decides nothing, except what an error means for the next look."""

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.kube import errors, resources
from pgbouncer_operator.kube.client import Kube, Object
from pgbouncer_operator.kube.events import Event, EventRecorder, EventType, Regarding
from pgbouncer_operator.reconcile.cache import projections, views
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache, project
from pgbouncer_operator.reconcile.memory import Memory, Refusal
from pgbouncer_operator.reconcile.observed import Observation
from pgbouncer_operator.reconcile.pool.managed_fields import handed_over
from pgbouncer_operator.reconcile.steps import Action, Announcement, Plan, Step

logger = logging.getLogger(__name__)

SOON = 0.1  # seconds to the next look after a conflict, or while an object of a former pool is being deleted


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of a plan."""

    memory: Memory
    """What the next reconcile knows."""
    requeue_after: float | None
    """Seconds to the next look; None: when something changes."""
    conflict: bool = False
    """Whether a write has to be planned again, with what the next look observes."""


@dataclass(frozen=True, slots=True)
class _Again:
    """A write that the next look repeats, with what it then observes."""


class Applier:
    """Writes to the API server, and puts every answer into the stores, so that the next look observes it."""

    def __init__(self, kube: Kube, world: ClusterCache, events: EventRecorder) -> None:
        """kube, world, events: of the event loop that calls `apply`."""
        self._kube = kube
        self._world = world
        self._events = events

    async def apply(self, observed: Observation, plan: Plan) -> Applied:
        """Run the phases in order. Raises ApiError when the API server fails: some writes may have been done."""
        memory, soon, conflict = plan.memory, False, False
        for phase in plan.phases:
            results = await asyncio.gather(*(self._try(observed, step) for step in phase), return_exceptions=True)
            failed: BaseException | None = None
            for step, result in zip(phase, results, strict=True):
                refusals = {key: each for key, each in memory.refusals.items() if key != step.key}
                match result:
                    case Refusal():
                        refusals[step.key] = result
                        soon = soon or step.key[0] != naming.KIND  # another look cannot report a refused status
                    case _Again():
                        soon = conflict = True
                    case BaseException():
                        failed = failed or result
                memory = replace(memory, refusals=refusals)
            if failed is not None:
                raise failed
            if soon:
                break
        else:
            await self._announce(observed, plan.announcements)
        return Applied(memory, SOON if soon else plan.requeue_after, conflict)

    async def _try(self, observed: Observation, step: Step) -> Refusal | _Again | None:
        try:
            return await self._do(observed, step)
        except errors.Conflict:
            return _Again()
        except errors.NotFound:
            if step.action is Action.CREATE:
                raise  # the namespace does not exist any more
            return _Again()
        except (errors.Invalid, errors.Forbidden) as error:
            logger.warning("The API server refused a write", extra={"step": str(step), "error": str(error)})
            return Refusal(Reason.OBJECT_REFUSED, str(error), observed.now)

    async def _do(self, observed: Observation, step: Step) -> Refusal | _Again | None:
        resource = resources.of(step.body["apiVersion"], step.body["kind"])
        body = dict(step.body)
        match step.action:
            case Action.CREATE:
                return await self._create(observed, step)
            case Action.APPLY:
                if step.posted:
                    body = await self._hand_over(resource, body)
                self._learn(resource, await self._kube.apply(resource, body, subresource=step.subresource))
            case Action.REPLACE:
                self._learn(resource, await self._kube.replace(resource, body))
            case Action.PATCH:
                self._learn(resource, await self._kube.merge_patch(resource, body, subresource=step.subresource))
            case Action.DELETE:
                await self._kube.delete(resource, body)
        return None

    async def _create(self, observed: Observation, step: Step) -> Refusal | _Again | None:
        """POST. An object of this name belongs to this pool, to a former pool of this name, or to somebody else."""
        resource = resources.of(step.body["apiVersion"], step.body["kind"])
        try:
            self._learn(resource, await self._kube.create(resource, dict(step.body)))
        except errors.AlreadyExists:
            kind, name = step.key
            live = await self._kube.get(resource, observed.view.namespace, name)
            owner = projections.controller(live["metadata"])
            if owner.get("uid") == observed.view.uid:
                if resource is resources.SECRETS:  # written just before a crash: its content may be older
                    version = live["metadata"]["resourceVersion"]
                    metadata = {**step.body["metadata"], "resourceVersion": version}
                    await self._kube.replace(resource, {**step.body, "metadata": metadata})
                    return None
                await self._label(resource, live, step)
                return _Again()
            if owner.get("kind") == naming.KIND and owner.get("name") == observed.view.name:
                return _Again()  # the garbage collector is about to delete it
            message = (
                f"a {kind} of this name exists and does not belong to this pool; it is left as it is. "
                "Delete or rename it, or give the pool another name."
            )
            return Refusal(Reason.NAME_CONFLICT, message, observed.now)
        return None

    async def _label(self, resource: resources.Resource, live: Object, step: Step) -> None:
        """Learn an object of this pool, and give its labels back to it: without them no watch brings it."""
        labels = step.body["metadata"]["labels"]
        if not labels.items() <= (live["metadata"].get("labels") or {}).items():
            live = await self._patch_metadata(resource, live, labels=labels)
        self._learn(resource, live)

    async def _hand_over(self, resource: resources.Resource, body: Object) -> Object:
        """Give the fields of our POST to our applies, because an apply removes only what an apply has set.

        Returns the body with the version that follows. Raises Conflict if the object is not as it was observed.
        """
        metadata = body["metadata"]
        live = await self._kube.get(resource, metadata["namespace"], metadata["name"])
        if live["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise errors.Conflict(f"{body['kind']} {metadata['name']} has changed", 409)
        owners = handed_over(live["metadata"].get("managedFields") or ())
        patched = await self._patch_metadata(resource, live, managedFields=owners)
        return {**body, "metadata": {**metadata, "resourceVersion": patched["metadata"]["resourceVersion"]}}

    async def _patch_metadata(self, resource: resources.Resource, live: Object, **metadata: Any) -> Object:
        """The object with other metadata. Raises Conflict if it is not of the version of `live` any more."""
        identity = {key: live["metadata"][key] for key in ("namespace", "name", "uid", "resourceVersion")}
        patch = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {**identity, **metadata}}
        return await self._kube.merge_patch(resource, patch)

    def _learn(self, resource: resources.Resource, body: Object) -> None:
        """Put the answer to a write into the stores, which keep no Secrets and no pods without a pool's label."""
        if resource is resources.SECRETS or (resource is resources.PODS and not projections.pool_label(body)):
            return
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        self._world.put(project(resource, body))

    async def _announce(self, observed: Observation, announcements: tuple[Announcement, ...]) -> None:
        view: views.PoolView = observed.view
        regarding = Regarding(resources.CONNECTION_POOLS, view.namespace, view.name, view.uid)
        for each in announcements:
            kind = EventType.WARNING if each.warning else EventType.NORMAL
            await self._events.record(regarding, Event(kind, each.reason, each.message))
