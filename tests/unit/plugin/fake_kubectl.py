"""A kubectl that answers from the objects in a file, and patches them there. Standard library only.

The file's members: `objects`; `forbidden`, resources that may not be read; `context`, the only one that exists; `raw`,
texts by path.
"""

import json
import sys
from pathlib import Path

KINDS = {
    "connectionpools.pgbouncer-operator.io": "ConnectionPool",
    "postgresservers.pgbouncer-operator.io": "PostgresServer",
    "leases.coordination.k8s.io": "Lease",
    "events": "Event",
    "pods": "Pod",
}
WITH_VALUE = {"--namespace", "--patch", "--raw"}


def main(path: Path, arguments: list[str]) -> int:
    world = json.loads(path.read_text(encoding="utf-8"))
    options, words = parsed(arguments)
    if "--raw" in options:
        return raw(world["raw"], options["--raw"])
    verb, resource, *names = words
    fault = refusal(world, verb, resource, options)
    if fault:
        return failed(fault)
    namespace = options.get("--namespace", "default")
    print("a credential plugin says hello", file=sys.stderr)
    found = [each for each in world["objects"] if each["kind"] == KINDS[resource]]
    if "--all-namespaces" not in options:
        found = [each for each in found if each["metadata"]["namespace"] == namespace]
    found = selected(found, options)
    if not names:
        print(json.dumps({"kind": "List", "items": found}))
        return 0
    (name,) = names
    body = next((each for each in found if each["metadata"]["name"] == name), None)
    if body is None:
        return failed(f'Error from server (NotFound): {resource} "{name}" not found')
    if verb == "patch":
        patch = json.loads(options["--patch"])
        merge(body, patch)
        if "spec" in patch:  # as the API server counts changes of the spec
            body["metadata"]["generation"] += 1
        path.write_text(json.dumps(world), encoding="utf-8")
    print(json.dumps(body))
    return 0


def refusal(world: dict, verb: str, resource: str, options: dict[str, str]) -> str:
    """Why the request is refused; empty if it is not."""
    if options.get("--context", world["context"]) != world["context"]:
        return f'error: context "{options["--context"]}" does not exist'
    if resource in world["forbidden"]:
        return f'Error from server (Forbidden): {resource} is forbidden: User "eve" cannot {verb} resource'
    if resource not in world["served"]:
        return f'error: the server doesn\'t have a resource type "{resource.partition(".")[0]}"'
    return ""


def parsed(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options by their name, and the other words."""
    options, words, rest = {}, [], iter(arguments)
    for each in rest:
        if each == "--":
            words += rest
        elif each in WITH_VALUE:
            options[each] = next(rest)
        elif each.startswith("--"):
            name, _, value = each.partition("=")
            options[name] = value
        else:
            words.append(each)
    return options, words


def selected(found: list[dict], options: dict[str, str]) -> list[dict]:
    """What a field selector or a label selector leaves."""
    for key, _, value in (options[name].partition("=") for name in ("--field-selector",) if name in options):
        found = [each for each in found if (each.get(key) if key == "type" else each["metadata"]["name"]) == value]
    for key, _, value in (options[name].partition("=") for name in ("--selector",) if name in options):
        found = [each for each in found if each["metadata"].get("labels", {}).get(key) == value]
    return found


def merge(body: dict, patch: dict) -> None:
    """A JSON merge patch: https://www.rfc-editor.org/rfc/rfc7396"""
    for key, value in patch.items():
        if isinstance(value, dict):
            merge(body.setdefault(key, {}), value)
        elif value is None:
            body.pop(key, None)
        else:
            body[key] = value


def raw(texts: dict[str, str], path: str) -> int:
    if path not in texts:
        return failed("Error from server (ServiceUnavailable): the server is currently unable to handle the request")
    if texts[path] == "forbidden":
        return failed('Error from server (Forbidden): pods is forbidden: User "eve" cannot get resource "pods/proxy"')
    print(texts[path], end="")
    return 0


def failed(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
