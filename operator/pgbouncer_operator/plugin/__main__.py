"""The program `kubectl-pgbouncer`, which kubectl runs as `kubectl pgbouncer`."""

import sys


def main() -> int:
    """Run one command. Returns its exit code: 0 success, 1 a fault was found, 2 the command could not do its work."""
    try:
        from pgbouncer_operator.plugin.commands import run
    except ModuleNotFoundError as error:
        # The operator's image has the package without what only this program needs.
        print(f"kubectl pgbouncer needs the Python package {error.name}:", file=sys.stderr)
        print("install pgbouncer-operator with its extra, as pgbouncer-operator[plugin].", file=sys.stderr)
        return 2
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
