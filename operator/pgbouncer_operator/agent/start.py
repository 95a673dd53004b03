"""The command of the pgbouncer container: raises the limit of open files, then becomes PgBouncer.

containerd 2 starts containers with a soft limit of 1,024 open files and a much higher hard limit. PgBouncer needs one
file for each client and for each server connection.
Run as `python3 -IS start.py <run directory> <program> [argument ...]`; standard library only.
"""

import contextlib
import os
import resource
import signal
import sys

LIMIT_FILE = "open-files"  # read by run_dir.py


def main(arguments: list[str]) -> int:
    """Become the program. Returns 1 when it cannot be started, 2 when none is named, with a line on stderr."""
    if len(arguments) < 2:
        print("usage: start.py <run directory> <program> [argument ...]", file=sys.stderr)
        return 2
    run_dir, *command = arguments
    try:
        _record(run_dir, raised())
    except OSError as error:
        print(f"The limit of open files cannot be recorded in {run_dir}: {error}", file=sys.stderr)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a program inherits that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(command[0], command)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error}", file=sys.stderr)
        return 1


def raised() -> int:
    """Raise the soft limit of open files to the hard one; the limit that is in force then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # the kernel's own maximum is lower: the soft limit stays
        print(f"The limit of {soft} open files stays: {error}", file=sys.stderr)
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _record(run_dir: str, limit: int) -> None:
    """Write the limit for the agent, whole or not at all."""
    path = os.path.join(run_dir, LIMIT_FILE)
    temporary = f"{path}.new"
    try:
        with open(temporary, "w", encoding="ascii", opener=_private) as file:
            file.write(f"{limit}\n")
        os.replace(temporary, path)
    except OSError:
        for each in (temporary, path):  # the record of the container before says nothing about this one
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each)
        raise


def _private(path: str, flags: int) -> int:
    """Open a file for this uid only, like every other file of the run directory."""
    return os.open(path, flags, 0o600)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
