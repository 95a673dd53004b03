"""The commands of `kubectl pgbouncer`: parses arguments and calls what they name."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pgbouncer_operator import __version__
from pgbouncer_operator.plugin import clients as counting
from pgbouncer_operator.plugin import doctor as doctoring
from pgbouncer_operator.plugin import importing, output, traffic
from pgbouncer_operator.plugin import refresh as refreshing
from pgbouncer_operator.plugin import status as statuses
from pgbouncer_operator.plugin.kubectl import Kubectl, KubectlError, Scope
from pgbouncer_operator.plugin.output import Output
from pgbouncer_operator.plugin.traffic import Outcome
from pgbouncer_operator.plugin.waiting import Clock

app = typer.Typer(name="kubectl pgbouncer", no_args_is_help=True, pretty_exceptions_enable=False)

Pool = Annotated[str | None, typer.Argument(metavar="POOL", help="Name of a pool. Without it: every pool.")]
One = Annotated[str, typer.Argument(metavar="POOL", help="Name of the pool.")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace. Without it: kubectl's current one.")
]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Pools of every namespace.")]
Form = Annotated[Output, typer.Option("--output", "-o", help="text for people, json for programs.")]


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the commands reach the outside by."""

    clock: Clock
    """Time."""
    kubectl: Kubectl
    """The cluster."""


def run(arguments: Sequence[str], clock: Clock | None = None) -> int:
    """Run one command. Returns its exit code: 0 success, 1 a fault was found, 2 the command could not do its work.

    clock: the machine's own by default.
    """
    own = Clock(lambda: datetime.now(UTC), time.sleep)
    try:
        app(args=[*arguments], prog_name="kubectl pgbouncer", obj=clock or own)
    except (KubectlError, importing.ImportFault) as error:
        output.say(str(error))
        return 2
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


@app.callback()
def options(
    ctx: typer.Context,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig. Without it: the current one.")] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="Path of the kubeconfig. Without it: kubectl's own.")] = None,
) -> None:
    """See and handle PgBouncer pools with your own rights, through your own kubectl."""
    pairs = (("--context", context), ("--kubeconfig", kubeconfig))
    chosen = tuple(f"{name}={value}" for name, value in pairs if value is not None)
    ctx.obj = Invocation(ctx.obj, Kubectl(chosen))


@app.command()
def status(
    ctx: typer.Context,
    pool: Pool = None,
    namespace: Namespace = None,
    everywhere: Everywhere = False,
    form: Form = Output.TEXT,
) -> None:
    """Show pools in a table: ready, pods, connections, clients; then the first fault of each, with its remedy."""
    invocation: Invocation = ctx.obj
    lines = [statuses.line(body) for body in invocation.kubectl.pools(Scope(namespace, everywhere), pool)]
    if form is Output.TEXT and not lines:
        output.say("There is no ConnectionPool here. -A shows every namespace.")
    else:
        output.write(form, {"pools": lines}, lambda: output.write_status(lines, namespaces=everywhere))


@app.command()
def doctor(
    ctx: typer.Context,
    pool: Pool = None,
    namespace: Namespace = None,
    everywhere: Everywhere = False,
    form: Form = Output.TEXT,
) -> None:
    """Say everything that is ill about pools, their servers and their operators, with remedy and runbook.

    The exit code is 1 if something is ill.
    """
    invocation: Invocation = ctx.obj
    diagnoses = doctoring.diagnose(invocation.kubectl, Scope(namespace, everywhere), pool, invocation.clock)
    output.write(form, {"objects": diagnoses}, lambda: output.write_diagnoses(diagnoses))
    if any(each.ill for each in diagnoses):
        raise typer.Exit(1)


@app.command()
def clients(ctx: typer.Context, pool: One, namespace: Namespace = None, form: Form = Output.TEXT) -> None:
    """Show who is connected to a pool and who waits, by database and login. Needs the right to get pods/proxy."""
    invocation: Invocation = ctx.obj
    found = counting.clients(invocation.kubectl, Scope(namespace), pool)
    output.write(form, found, lambda: output.write_clients(found))


@app.command()
def pause(
    ctx: typer.Context,
    pool: One,
    namespace: Namespace = None,
    length: Annotated[
        str | None, typer.Option("--for", help="Time such as 30s or 2m, written to spec.pauseTimeoutSeconds.")
    ] = None,
    form: Form = Output.TEXT,
) -> None:
    """Hold queries back on every pod, and wait until running transactions have ended.

    Queries flow again by themselves after spec.pauseTimeoutSeconds. The exit code is 1 if the pool is not paused.
    """
    try:
        limit = None if length is None else traffic.seconds(length)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from None
    invocation: Invocation = ctx.obj
    _write(traffic.pause(invocation.kubectl, Scope(namespace), pool, limit, invocation.clock), form)


@app.command()
def resume(ctx: typer.Context, pool: One, namespace: Namespace = None, form: Form = Output.TEXT) -> None:
    """Let queries flow again after a pause. The exit code is 1 if the status does not say so."""
    invocation: Invocation = ctx.obj
    _write(traffic.resume(invocation.kubectl, Scope(namespace), pool, invocation.clock), form)


@app.command()
def refresh(ctx: typer.Context, pool: One, namespace: Namespace = None, form: Form = Output.TEXT) -> None:
    """Bring new content of Secrets to every pod at once. The exit code is 1 if a pod was not told."""
    invocation: Invocation = ctx.obj
    _write(refreshing.refresh(invocation.kubectl, Scope(namespace), pool, invocation.clock), form)


def _write(outcome: Outcome, form: Output) -> None:
    """Write what a command did. The exit code is 1 if it was not done."""
    output.write(form, outcome, lambda: output.write_outcome(outcome))
    if not outcome.done:
        raise typer.Exit(1)


@app.command("import")
def import_(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A pgbouncer.ini.")] = None,
    userlist: Annotated[Path | None, typer.Option(help="Its userlist.txt, with the logins.")] = None,
    pooler: Annotated[Path | None, typer.Option(help="Instead: a Pooler of CloudNativePG, in YAML.")] = None,
    secrets: Annotated[Path | None, typer.Option(help="New file for Secrets with the plain passwords.")] = None,
    name: Annotated[str, typer.Option(help="Name of the pool of a pgbouncer.ini.")] = "pgbouncer",
) -> None:
    """Print a ConnectionPool made of another pooler's configuration. Needs no cluster.

    What cannot be kept is said line by line on standard error, and in comments at the top of the output. A password
    goes nowhere but into the file of --secrets. The exit code is 1 if the pool still needs a correction.
    """
    if (file is None) == (pooler is None):
        raise typer.BadParameter("give either a pgbouncer.ini or --pooler FILE")
    text, problems = (
        importing.of_pooler(pooler) if pooler else importing.of_ini(file or Path(), userlist, secrets, name)
    )
    print(text, end="")
    for problem in problems:
        output.say(f"error: {problem}")
    if problems:
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)
