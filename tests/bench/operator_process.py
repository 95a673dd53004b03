"""The operator as a process of this machine, and what it uses."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds, user and system."""

    cpu: float

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.cpu - other.cpu)


class OperatorProcess:
    """Runs while the `with` block does, for all namespaces; its log is kept in a temporary file."""

    def __init__(self, kubeconfig: Path) -> None:
        self._port = _free_port()
        self._log = tempfile.NamedTemporaryFile(prefix="operator-", suffix=".log", delete=False)  # noqa: SIM115
        prefix = "PGBOUNCER_OPERATOR_"
        self._env = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            f"{prefix}POOL_IMAGE": "bench.invalid/pool:none",
            f"{prefix}LEADER_ELECTION": "false",
            f"{prefix}HTTP_PORT": str(self._port),
            f"{prefix}LOG_FORMAT": "text",
        }

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "pgbouncer_operator", "run"]
        self._process = subprocess.Popen(command, env=self._env, stderr=self._log)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()

    async def ready(self) -> None:
        """Return once everything is listed; RuntimeError with the log's path when it never is."""
        deadline = asyncio.get_running_loop().time() + 30
        async with aiohttp.ClientSession() as session:
            while asyncio.get_running_loop().time() < deadline and self._process.poll() is None:
                try:
                    async with session.get(f"http://127.0.0.1:{self._port}/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
        raise RuntimeError(f"the operator did not become ready; its log: {self._log.name}")

    def usage(self) -> Usage:
        """CPU so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return Usage((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))

    def memory(self) -> tuple[int, int]:
        """Resident memory now and at its highest so far, in MiB."""
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines())
        now, most = (int(fields[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM"))
        return now, most


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
