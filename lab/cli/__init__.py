"""The command line: what a user types in, calls into the modules below out; imports happen inside commands so that --help is quick."""

from __future__ import annotations

import sys

import click

from lab.cli.group import lab

# In the order of the help page: importing a theme adds its commands.
# isort: off
from lab.cli import measuring, results, gate, cloud, learning  # noqa: F401
# isort: on

__all__ = ["lab", "main"]


def main() -> None:
    """Prints every error in one place; its class owns the exit code. SIGTERM ends a command as ctrl-C does, with everything stopped."""
    import signal

    from lab.errors import LabError

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        lab.main(standalone_mode=False)
    except LabError as error:
        sys.stderr.write(f"error: {error.what}\n")
        sys.stderr.writelines(f"  {problem}\n" for problem in getattr(error, "problems", ()))
        sys.stderr.write(f"next:  {error.hint}\n" if error.hint else "")
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was measured so far is kept\n")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
