"""Requests through the person's own kubectl.

With it contexts, exec credentials, OIDC, proxies and impersonation work as the person is used to. A client library
would have to be taught each of them.
"""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from pgbouncer_operator import naming
from pgbouncer_operator.plugin.findings import Finding, Severity

Body = dict[str, Any]
POOLS = f"{naming.PLURAL}.{naming.GROUP}"
SERVERS = f"{naming.SERVER_PLURAL}.{naming.GROUP}"
LEASES = "leases.coordination.k8s.io"
_ERROR = re.compile(r"(?:Error from server(?: \((?P<reason>\w+)\))?|error): (?P<text>.*)")
_NO_DEFINITIONS = "doesn't have a resource type"


class KubectlError(Exception):
    """kubectl did not answer. The message has kubectl's own words, and what to do."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        """The API server's reason, such as NotFound or Forbidden; empty where there is none."""

    def finding(self, subject: str) -> Finding:
        """The finding that `subject` could not be read."""
        return Finding(Severity.UNKNOWN, subject, self.reason or "NotRead", str(self))


@dataclass(frozen=True, slots=True)
class Scope:
    """The namespaces that a command is about."""

    namespace: str | None = None
    """The only namespace. None: kubectl's current one."""
    everywhere: bool = False
    """Every namespace instead."""

    @property
    def options(self) -> tuple[str, ...]:
        """kubectl's options."""
        if self.everywhere:
            return ("--all-namespaces",)
        return ("--namespace", self.namespace) if self.namespace else ()


def find() -> str:
    """Path of the person's kubectl. Raises KubectlError."""
    program = shutil.which("kubectl")
    if program is None:
        raise KubectlError("kubectl is not on PATH: install it, see https://kubernetes.io/docs/tasks/tools/")
    return program


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with the options that choose a cluster."""

    options: tuple[str, ...] = ()
    """Such as --context and its value; empty: kubectl's current context."""
    program: Callable[[], str] = find
    """Returns the path of kubectl."""

    def pools(self, scope: Scope, name: str | None = None) -> list[Body]:
        """Every ConnectionPool of the scope, or the one of that name, by namespace and name. Raises KubectlError."""
        if name is not None and scope.everywhere:
            found = self.items(POOLS, *scope.options, f"--field-selector=metadata.name={name}")
            if not found:
                raise KubectlError(f"No namespace has a {naming.KIND} {name}: correct the name.", "NotFound")
        elif name is not None:
            found = [self.get(POOLS, *scope.options, "--", name)]
        else:
            found = self.items(POOLS, *scope.options)
        return sorted(found, key=lambda body: (body["metadata"]["namespace"], body["metadata"]["name"]))

    def pods(self, namespace: str, pool: str) -> list[Body]:
        """The pods of a pool. Raises KubectlError."""
        return self.items("pods", "--namespace", namespace, f"--selector={naming.LABEL_POOL}={pool}")

    def items(self, resource: str, *arguments: str) -> list[Body]:
        """The objects of a list. Raises KubectlError."""
        items: list[Body] = self.get(resource, *arguments).get("items") or []
        return items

    def get(self, resource: str, *arguments: str) -> Body:
        """One object, or a list of objects as one. Raises KubectlError."""
        return self._json("get", resource, "--output=json", *arguments)

    def raw(self, path: str) -> str:
        """The text at a path of the API server. Raises KubectlError."""
        return self._run("get", "--raw", path)

    def merge(self, resource: str, namespace: str, name: str, patch: Mapping[str, Any]) -> Body:
        """The object after a merge patch. Raises KubectlError."""
        text = json.dumps(patch)
        options = ("--output=json", "--namespace", namespace, "--type=merge", "--patch", text)
        return self._json("patch", resource, *options, "--", name)

    def _json(self, *arguments: str) -> Body:
        text = self._run(*arguments)
        try:
            body: Body = json.loads(text)
        except ValueError:
            raise KubectlError(f"kubectl {arguments[0]} {arguments[1]} printed no JSON: look at its version.") from None
        return body

    def _run(self, *arguments: str) -> str:
        """What kubectl prints. Other lines of its standard error, as of a credential plugin, pass through at once."""
        command = [self.program(), *self.options, *arguments]
        errors: list[str] = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            reader = threading.Thread(target=_split, args=(process.stderr, errors))
            reader.start()
            text = process.stdout.read()
            reader.join()
        if process.returncode != 0:
            raise _error(arguments, errors)
        return text


def _split(stream: IO[str], errors: list[str]) -> None:
    """Keep kubectl's error, whose words become ours, and show every other line."""
    for line in stream:
        if errors or _ERROR.match(line):
            errors.append(line.strip())
        else:
            sys.stderr.write(line)
            sys.stderr.flush()


def _error(arguments: tuple[str, ...], lines: list[str]) -> KubectlError:
    text = " ".join(filter(None, lines))
    found = _ERROR.match(text)
    reason, words = (found["reason"] or "", found["text"]) if found else ("", text)
    resource = "pods/proxy" if arguments[1] == "--raw" else arguments[1]
    what = f"kubectl {arguments[0]} {resource}"
    if _NO_DEFINITIONS in words:
        return KubectlError(f"{what}: {words}. Install the operator, or choose its cluster with --context.", reason)
    if reason == "Forbidden":
        question = f"`kubectl auth can-i {arguments[0]} {resource}`"
        return KubectlError(f"{what}: {words}. Ask for this right; {question} says whether you have it.", reason)
    return KubectlError(f"{what}: {words or 'failed; see its own words above'}", reason)
