"""Commands that measure, and what can be measured: list, plan, run."""

from __future__ import annotations

import sys

import click

from lab.cli.group import Invocation, lab


@click.command("list")
@click.argument("kind", type=click.Choice(["workloads", "architectures", "providers", "scenarios", "prices"]), required=False)
@click.pass_obj
def list_(call: Invocation, kind: str | None) -> None:
    """List what can be named: workloads, architectures, providers, scenarios, price books; yours come first.

    A name is a file's name: scenarios/mine.yaml is `mine`.
    """
    from lab import console

    console.names(kind, as_json=call.json)


@click.command()
@click.argument("scenario")
@click.option("--base", metavar="REF", help="Plan a gate: REF and the commit that is checked out, interleaved.")
@click.option("--allow-dirty", is_flag=True, help="With --base: head is a snapshot of the changed tree.")
@click.pass_obj
def plan(call: Invocation, scenario: str, base: str | None, allow_dirty: bool) -> None:
    """Print what SCENARIO would do: cells, budget, isolation, minutes, and the smallest effect it can tell. Starts nothing.

    With --base, each side's own code places its architectures: for that both sides are checked out and built.
    """
    from lab import console, execute

    against = execute.Against(base=base, allow_dirty=allow_dirty) if base is not None else None
    console.plan(execute.plan_of(scenario, call.settings(), against, call.mode), as_json=call.json)


@click.command()
@click.argument("scenario", required=False)
@click.option("--keep", is_flag=True, help="Leave the Lab standing afterwards.")
@click.option("--resume", metavar="RUN", help="Go on with a run that was interrupted: its cells that are done are kept.")
@click.option("--base", metavar="REF", help="Measure REF and the commit that is checked out in one run, interleaved; `lab gate` judges it.")
@click.option("--allow-dirty", is_flag=True, help="With --base: head is a snapshot of the changed tree.")
@click.pass_obj
def run(call: Invocation, scenario: str | None, keep: bool, resume: str | None, base: str | None, allow_dirty: bool) -> None:
    """Deploy, load, measure, analyze, compare and report SCENARIO (a name, or a file).

    Ctrl-C keeps what was measured; `lab run --resume last` goes on. Exit 4 when no cell is valid, or none of one side of a gate.
    """
    if (scenario is None) == (resume is None):
        raise click.UsageError("give a SCENARIO, or --resume RUN")
    if resume and (base is not None or allow_dirty):
        raise click.UsageError("--resume goes on with the commits that the run began with; take --base and --allow-dirty out")
    from lab import console, execute

    settings = call.settings()
    against = execute.Against(base=base, allow_dirty=allow_dirty) if base is not None else None
    found = execute.resume(resume, settings, call.mode, keep) if resume else execute.run(str(scenario), settings, call.mode, keep, against)
    sys.exit(console.finished(found, as_json=call.json, quiet=call.mode == "quiet"))


lab.add("Measuring", list_, plan, run)
