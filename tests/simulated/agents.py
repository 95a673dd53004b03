"""Agents of simulated pods: each pod has a real /state on its own loopback address and follows what is mounted.

A pod follows what kubelet would bring it: the intent its annotation names, or what is mounted, and its grant. It raises
its limit as soon as a higher grant is written, asked or not. Everything else it obeys and confirms `lag` seconds later.
It answers in several segments.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from tests.simulated.apiserver.kinds import Kind
from tests.simulated.apiserver.kubelet import Node
from tests.simulated.apiserver.records import Change, Key, Object
from tests.simulated.apiserver.server import ApiServer

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONFIG_MAPS, PODS

SEGMENT = 500  # bytes


@dataclass(slots=True)
class Agent:
    """What a test may set of a pod: clients and busy server connections, problems, whether it answers."""

    key: Key
    uid: str
    pool: str
    digest: str | None = None
    host: str = ""
    seq: int = 0
    cap: int = 0
    keeps: int | None = None
    databases: int = 1
    busy: int = 0
    clients: int = 0
    waiting: int = 0
    totals: Object | None = None
    phase: str = "running"
    silent: bool = False
    backend: Object = field(default_factory=lambda: {"ok": True, "reason": "", "message": ""})
    users: dict[str, Object] = field(default_factory=dict)
    problems: list[Object] = field(default_factory=list)


class Agents:
    """The agents of all pods of a simulated cluster. Use as a context manager inside the server's."""

    def __init__(self, api: ApiServer) -> None:
        self.by_uid: dict[str, Agent] = {}
        self.node = Node(api, self._address)
        self.lag = 0.05  # seconds; a real pod takes 0.1 to 0.35 s to confirm
        self.broken: set[str] = set()  # hosts at which no login works
        self.refused: set[str] = set()  # hosts that PgBouncer does not take
        self._api = api
        self._by_ip: dict[str, Agent] = {}
        self._network = f"127.{20 + os.getpid() % 200}"
        self._starting: list[asyncio.Task[None]] = []
        api.storage.listeners.append(self._hear)
        application = web.Application()
        application.add_routes([web.get("/state", self._state)])
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._starting)
        await self._runner.cleanup()

    def of(self, namespace: str, pool: str) -> list[Agent]:
        """The agents of a pool's living pods, oldest first."""
        pods = self.node.pods(namespace, naming.deployment(pool))
        return [self.by_uid[pod["metadata"]["uid"]] for pod in pods]

    def _address(self, pod: Object) -> str:
        metadata = pod["metadata"]
        if naming.LABEL_POOL not in metadata["labels"]:
            return "127.0.0.1"  # a client's
        key = (metadata["namespace"], metadata["name"])
        number = len(self._by_ip) + 1
        ip = f"{self._network}.{number // 250}.{number % 250 + 1}"
        agent = Agent(key, metadata["uid"], metadata["labels"][naming.LABEL_POOL])
        self._by_ip[ip] = self.by_uid[agent.uid] = agent
        site = web.TCPSite(self._runner, ip, naming.AGENT_PORT)
        self._starting.append(asyncio.ensure_future(site.start()))
        self._tell(agent)
        return ip

    async def _state(self, request: web.Request) -> web.StreamResponse:
        agent = self._by_ip[request.transport.get_extra_info("sockname")[0]]  # type: ignore[union-attr]
        if agent.silent or not self._exists(agent):
            return web.Response(status=503)
        self._tell(agent)
        document = json.dumps(_document(agent)).encode()
        answer = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(document))})
        await answer.prepare(request)
        for at in range(0, len(document), SEGMENT):
            await answer.write(document[at : at + SEGMENT])
            await asyncio.sleep(0)
        return answer

    def _exists(self, agent: Agent) -> bool:
        return self._api.storage.exists(PODS.plural, agent.key)

    def _hear(self, kind: Kind, change: Change) -> None:
        """Tell the pods that a written object concerns."""
        metadata = change.body["metadata"]
        for agent in self.by_uid.values():
            names = (naming.config_map(agent.pool), naming.grants_config_map(agent.pool))
            pod = kind.resource is PODS and metadata["uid"] == agent.uid
            mounted = kind.resource is CONFIG_MAPS and metadata["namespace"] == agent.key[0]
            if (pod or (mounted and metadata["name"] in names)) and not agent.silent and self._exists(agent):
                self._tell(agent)

    def _tell(self, agent: Agent) -> None:
        """Bring a pod what is written now. What it may hold rises at once."""
        namespace = agent.key[0]
        pod = self._api.storage.peek(PODS, *agent.key)
        if "deletionTimestamp" in pod["metadata"]:
            if agent.phase != "draining":
                agent.phase = "draining"
                asyncio.get_running_loop().call_later(self.lag, self._hand_over, agent)
            return
        keys = (naming.INTENT_KEY, naming.CANDIDATE_KEY)
        intents = [self._file(namespace, naming.config_map(agent.pool), key) for key in keys]
        told = (pod["metadata"].get("annotations") or {}).get(naming.ANNOTATION_CONFIG, intents[0].get("hash"))
        intent = next((each for each in intents if each and told == each["hash"]), {})
        grants = self._file(namespace, naming.grants_config_map(agent.pool), naming.GRANTS_KEY)
        mine = (grants.get("pods") or {}).get(agent.uid) or {"cap": agent.cap}
        if grants and grants["seq"] >= agent.seq:
            agent.cap = max(agent.cap, mine["cap"])
        asyncio.get_running_loop().call_later(self.lag, self._obey, agent, intent, grants)

    def _hand_over(self, agent: Agent) -> None:
        """Give half back, as a real agent that leaves."""
        if agent.cap:
            agent.cap = agent.keeps = max(agent.databases, agent.cap // 2)
            agent.busy = min(agent.busy, agent.cap)

    def _obey(self, agent: Agent, intent: Mapping[str, Any], grants: Mapping[str, Any]) -> None:
        """Confirm what the pod was told, as the real agent does once it has verified it."""
        if agent.phase == "draining" or agent.silent:
            return  # its volumes are not refreshed any more; or it does not follow
        if intent:
            self._load(agent, intent)
        if grants and grants["seq"] >= agent.seq:
            agent.seq = grants["seq"]
            mine = (grants.get("pods") or {}).get(agent.uid)
            agent.cap = mine["cap"] if mine else agent.cap

    def _load(self, agent: Agent, intent: Mapping[str, Any]) -> None:
        """Run it, unless PgBouncer would refuse it; then say how a login fares."""
        host = intent["databases"][0]["host"]
        if host in self.refused:
            agent.problems = [{"reason": "CandidateRefused", "message": f"{host} is refused"}]
            return
        agent.problems = []
        agent.digest, agent.databases, agent.host = intent["hash"], len(intent["databases"]), host
        out = {"ok": False, "reason": "BackendUnreachable", "message": f"{host}:5432: Connection refused."}
        agent.backend = out if host in self.broken else {"ok": True, "reason": "", "message": ""}
        agent.users |= {
            user["name"]: {"ok": True, "message": "", "generation": "..1"}
            for user in intent["users"]
            if user["name"] not in agent.users
        }

    def _file(self, namespace: str, name: str, key: str) -> dict[str, Any]:
        if not self._api.storage.exists(CONFIG_MAPS.plural, (namespace, name)):
            return {}
        text = (self._api.storage.peek(CONFIG_MAPS, namespace, name).get("data") or {}).get(key, "{}")
        loaded: dict[str, Any] = json.loads(text)
        return loaded


def _document(agent: Agent) -> Object:
    return {
        "protocol": 1,
        "uid": agent.uid,
        "version": "0.1.0",
        "pgbouncer": "1.26.1",
        "phase": agent.phase if agent.cap else "waiting",
        "hash": agent.digest,
        "seq": agent.seq,
        "cap": agent.cap,
        "keeps": agent.keeps,
        "open": agent.busy,
        "busy": agent.busy,
        "waiting": agent.waiting,
        "totals": agent.totals,
        "lingering": [],
        "clients": agent.clients,
        "problems": agent.problems,
        "users": agent.users,
        "backend": agent.backend,
        "reload": {"hash": agent.digest, "seconds": 0.01, "kind": "start"},
    }
