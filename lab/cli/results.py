"""Commands of runs that have been measured: runs, report, compare, analyze, history."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lab.cli.group import Invocation, lab


@click.command()
@click.pass_obj
def runs(call: Invocation) -> None:
    """List the runs, newest first, with how they ended."""
    from lab import console

    console.runs(Path(call.settings().runs), as_json=call.json)


@click.command()
@click.argument("run")
@click.pass_obj
def report(call: Invocation, run: str) -> None:
    """Write report.html and report.md of RUN again; RUN is a run's name, its folder, or `last`."""
    from lab import report

    for path in report.write(call.run(run)):
        click.echo(path)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN [RUN]...")
@click.option("--force", is_flag=True, help="Compare across machine identities; the result is marked.")
@click.pass_obj
def compare(call: Invocation, names: tuple[str, ...], force: bool) -> None:
    """Compare the architectures of one RUN; two RUNs of one provider; or the rankings of one scenario's RUNs on several providers."""
    from lab import console, rework

    found = [call.run(name) for name in names]
    if len(found) == 1:
        console.comparison(found[0], as_json=call.json)
    elif rework.one_provider(found):
        console.two_runs(*rework.compare(found[0], found[1], force), as_json=call.json)
    else:
        console.side_by_side(*rework.side_by_side(found), as_json=call.json)


@click.command()
@click.argument("run")
@click.option("--prices", help="Another price book: a name or a file (negotiated rates).")
@click.option("--cpu-scale", type=click.FloatRange(min=0.01), default=1.0, show_default=True, help="Local core to cloud vCPU.")
@click.pass_obj
def analyze(call: Invocation, run: str, prices: str | None, cpu_scale: float) -> None:
    """Work RUN out again from its raw samples: summary, comparison (with other prices) and report."""
    from lab import console, history, rework

    found = rework.rework(call.run(run), prices, cpu_scale)
    history.keep(found.run, call.settings())
    sys.exit(console.finished(found, as_json=call.json, quiet=call.mode == "quiet"))


@click.command()
@click.argument("scenario", required=False)
@click.option("--metric", help="Only this one: p50_ms, cpu_ms, achieved_per_s ...; `all` shows every one.  [default: p50_ms]")
@click.option("--export", "form", type=click.Choice(["csv", "json"]), help="Every row as kept, on stdout.")
@click.option("--rebuild", is_flag=True, help="First write the rows of every run directory again.")
@click.pass_obj
def history(call: Invocation, scenario: str | None, metric: str | None, form: str | None, rebuild: bool) -> None:
    """Show how the figures of SCENARIO went from run to run, and where they changed. Machines are never mixed."""
    from lab import console, history

    settings = call.settings()
    if rebuild:
        console.rebuilt(history.rebuild(settings))
    rows = history.rows(settings, scenario, None if metric == "all" else metric or (None if form else "p50_ms"))
    if form:
        return click.echo(history.csv(rows) if form == "csv" else history.as_json(rows), nl=False)
    return console.history(rows, as_json=call.json)


lab.add("Results", runs, report, compare, analyze, history)
