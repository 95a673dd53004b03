"""A pod without Kubernetes: volumes as kubelet lays them out, the agent and PgBouncer beside each other, one uid."""

import contextlib
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from tests.process import rootfs

import pgbouncer_operator
from pgbouncer_operator import naming
from pgbouncer_operator.agent import wire
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.protocol.intent import Intent

UID = rootfs.UID
OPERATOR = Path(pgbouncer_operator.__file__).parents[1]
MOUNTPOINT = "/mnt"  # the tree, inside the pod's own mount namespace
LOADER = (
    f"{MOUNTPOINT}/lib64/ld-linux-x86-64.so.2 --library-path {MOUNTPOINT}/usr/lib/x86_64-linux-gnu"
    f" {MOUNTPOINT}/usr/sbin/pgbouncer"
)


def free_port() -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def publish(volume: Path, files: Mapping[str, str | bytes]) -> None:
    """Replace a volume's content at once, as kubelet does: a new directory, the `..data` link moved, the old gone."""
    volume.mkdir(parents=True, exist_ok=True)
    old = [each for each in volume.glob("..*") if each.is_dir() and not each.is_symlink()]
    generation = volume / f"..{time.strftime('%Y_%m_%d')}.{secrets.token_hex(5)}"
    generation.mkdir()
    for name, content in files.items():
        (generation / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        link = volume / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    fresh = volume / "..data_tmp"
    fresh.symlink_to(generation.name)
    for path in (volume, generation):
        os.chown(path, UID, UID)
    fresh.replace(volume / "..data")
    for each in old:
        shutil.rmtree(each)


class Pod:
    """One pod of a pool. Everything is under `root`; `close()` ends what was started."""

    uid = "5b6c9d1e-0000-4000-8000-000000000001"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run = root / "run"
        self.run.mkdir(parents=True)
        os.chown(self.run, UID, UID)
        os.chmod(self.run, 0o700)
        self.port, self.http_port = free_port(), free_port()
        self.agent: subprocess.Popen[bytes] | None = None
        self.pgbouncer: subprocess.Popen[bytes] | None = None
        self.annotations: dict[str, str] = {}
        self.caps: dict[str, int] = {}
        self.seq = 0
        self.intent: Intent | None = None
        self.traffic: dict[str, object] = {}

    @property
    def environment(self) -> dict[str, str]:
        own = {
            f"{name}_DIR": self.root / name.lower() for name in ("CONFIG", "GRANTS", "USERS", "CA", "TLS", "POD", "RUN")
        }
        own |= {"PORT": self.port, "HTTP_PORT": self.http_port, "PGBOUNCER": LOADER}
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        ours = {f"PGBOUNCER_AGENT_{key}": str(value) for key, value in own.items()}
        return kept | {"PYTHONPATH": str(OPERATOR)} | ours

    def mount_intent(self, intent: Intent) -> Intent:
        self.intent = intent
        traffic = {naming.TRAFFIC_KEY: json.dumps(self.traffic)} if self.traffic else {}
        publish(self.root / "config", {naming.INTENT_KEY: intent.to_json(), **traffic})
        return intent

    def mount_pause(self, seconds: int | None) -> None:
        """Ask for a pause that ends by itself after so many seconds; None: traffic is to flow."""
        self.traffic = {}
        if seconds is not None:
            self.traffic = {"protocol": 1, "traffic": "Paused", "until": int(time.time()) + seconds}
        assert self.intent is not None
        self.mount_intent(self.intent)

    def mount_grant(self, cap: int | None, static: int = 0, since: int | None = None) -> int:
        """A new ledger with this pod's cap (None: no entry), set at `since` (None: now); its sequence."""
        self.seq += 1
        pods = {} if cap is None else {self.uid: Grant(cap, since or self.seq, cap)}
        publish(self.root / "grants", {naming.GRANTS_KEY: Grants(self.seq, static, pods).to_json()})
        return self.seq

    def mount_user(self, mount: str, files: Mapping[str, str]) -> str:
        """A user's Secret; the generation it got."""
        publish(self.root / "users" / mount, files)
        return os.readlink(self.root / "users" / mount / "..data")

    def mount_pod(self, **annotations: str) -> None:
        """The downward API volume."""
        lines = [f'{naming.GROUP}/{key}="{value}"' for key, value in sorted(annotations.items())]
        publish(self.root / "pod", {"uid": self.uid, "name": "shop-0", "annotations": "\n".join(lines)})

    def start_agent(self, *prefix: str, module: str = "supervisor", **settings: str) -> None:
        extra = {f"PGBOUNCER_AGENT_{key.upper()}": value for key, value in settings.items()}
        argv = [*prefix, sys.executable, "-m", f"pgbouncer_operator.agent.{module}"]
        self.agent = self._start(argv, "agent.log", self.environment | extra)

    def start_pgbouncer(self, *prefix: str) -> None:
        """PgBouncer as its container's command starts it."""
        start = OPERATOR / "pgbouncer_operator" / "agent" / "start.py"
        argv = [sys.executable, "-IS", str(start), str(self.run), *shlex.split(LOADER), str(self.run / "pgbouncer.ini")]
        self.pgbouncer = self._start([*prefix, *argv], "pgbouncer.log", {})

    def start(self) -> None:
        """Both containers, in the order of the pod: PgBouncer only when the agent is ready."""
        self.start_agent()
        eventually("the agent is ready", lambda: self.http("/startupz")[0] == 200)
        self.start_pgbouncer()

    def _start(self, argv: list[str], log: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        # The capability lets that uid read an interpreter under /root; peer checks see the uid only.
        capability = "--inh-caps +dac_override --ambient-caps +dac_override"
        become = f"setpriv --reuid {UID} --regid {UID} --clear-groups {capability}"
        script = f'mount --bind "$0" {MOUNTPOINT} && exec {become} -- "$@"'
        wrapped = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(rootfs.ROOT), *argv]
        with (self.root / log).open("ab") as sink:
            return subprocess.Popen(wrapped, env=dict(environment), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)

    def http(self, path: str) -> tuple[int, str]:
        """Status and body of the agent's answer; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def state(self) -> dict[str, Any]:
        """GET /state; empty while nobody listens."""
        status, body = self.http("/state")
        found: dict[str, Any] = json.loads(body) if status == 200 else {}
        return found

    def runs(self, intent: Intent, seq: int = 0) -> dict[str, Any]:
        """Wait until the agent says that `intent` and the grant of `seq` are in force; its state."""
        return eventually(
            f"{intent.digest} with seq ≥ {seq} in force",
            lambda: (state := self.state()) and state["hash"] == intent.digest and state["seq"] >= seq and state,
            on_failure=lambda: f"{self.state()}\n{self.logs()}",
        )

    def connect(self, database: str, user: str, password: str, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, dbname=database, user=user, password=password, autocommit=True, **options
        )

    def logs_in(self, database: str, user: str, password: str) -> bool:
        """Whether a client gets in, up to PostgreSQL."""
        try:
            with self.connect(database, user, password) as client:
                client.execute("select 1")
        except psycopg.OperationalError:
            return False
        return True

    @contextlib.contextmanager
    def console(self) -> Iterator[wire.Session]:
        """The admin console, as another process of the pod's uid."""
        os.seteuid(UID)  # the kernel tells PgBouncer the effective uid of who connects
        try:
            session = wire.console(str(self.run / f".s.PGSQL.{self.port}"), 5.0)
        finally:
            os.seteuid(0)
        with session:
            yield session

    def kill_worker(self) -> None:
        """SIGKILL the worker that runs now, and wait until another answers."""
        assert self.agent is not None
        before = children(self.agent.pid)
        os.kill(before[0], signal.SIGKILL)
        eventually("another worker", lambda: (now := children(self.agent.pid)) and now != before)  # type: ignore[union-attr]
        eventually("it answers", lambda: self.http("/livez")[0] == 200)

    def stop_pgbouncer(self) -> None:
        """End PgBouncer at once, as a crash does."""
        assert self.pgbouncer is not None
        self.pgbouncer.kill()
        self.pgbouncer.wait()

    def script(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """One of the plain scripts of PgBouncer's container, started as the pod's spec starts it."""
        path = OPERATOR / "pgbouncer_operator" / "agent" / f"{name}.py"
        return self._start([sys.executable, "-IS", str(path), *arguments], f"{name}.log", {})

    def logs(self) -> str:
        return "".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.root.glob("*.log")))

    def close(self) -> None:
        for process in (self.pgbouncer, self.agent):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM if process is self.agent else signal.SIGQUIT)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that still run."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def eventually(
    what: str, look: Callable[[], Any], seconds: float = 15.0, on_failure: Callable[[], str] = lambda: ""
) -> Any:
    """Wait until `look` gives something true, and return it; AssertionError with `what` after `seconds`."""
    until = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what}\n{on_failure()}")
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def pod() -> Iterator[Pod]:
    """A pod in a short directory of its own: a Unix socket's path holds 107 bytes."""
    root = Path("/tmp") / f"pod-{secrets.token_hex(4)}"
    root.mkdir()
    root.chmod(0o755)
    found = Pod(root)
    try:
        yield found
    finally:
        found.close()
        shutil.rmtree(root)


def with_settings(intent: Intent, **settings: str | int) -> Intent:
    """The same intent with other settings."""
    return replace(intent, settings={**intent.settings, **settings})
