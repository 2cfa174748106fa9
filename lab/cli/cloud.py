"""Commands of the machine and of the cloud on it: doctor, up, status, logs, down, clean."""

from __future__ import annotations

import sys

import click

from lab.cli.group import Invocation, lab


@click.command()
@click.option("--noise", is_flag=True, help="How fit this machine is to measure, in some 15 seconds: score, and what to do about it.")
@click.option("--aa", is_flag=True, help="With --noise: measure the spread between deployments of the same thing now.")
@click.option("--driver", is_flag=True, help="With --noise: measure the requests/s that one driver process holds.")
@click.pass_obj
def doctor(call: Invocation, noise: bool, aa: bool, driver: bool) -> None:
    """Say what works on this machine, what is missing, and how to get it. Exit 3 when the chosen provider cannot work."""
    from lab import console, doctor

    settings = call.settings()
    if (aa or driver) and not noise:
        raise click.UsageError("--aa and --driver belong to --noise")
    if noise:
        from lab.noise.fitness import measure

        return console.noise(measure(settings, call.mode, aa=aa, driver=driver), as_json=call.json)
    found = doctor.findings(settings)
    console.doctor(found, settings, as_json=call.json)
    sys.exit(3 if any(f.needed and f.state == "missing" for f in found) else 0)


@click.command()
@click.pass_obj
def up(call: Invocation) -> None:
    """Stand the cloud up: object store, database and gateway. All of it, or nothing."""
    from lab import console, standing

    endpoints, took_s = standing.up(call.settings(), call.mode)
    console.endpoints(endpoints, took_s=took_s, as_json=call.json)


@click.command()
@click.pass_obj
def status(call: Invocation) -> None:
    """Show the standing cloud: services, endpoints, where the credentials are, memory and CPU."""
    from lab import console, standing

    endpoints, usage = standing.status(call.settings())
    console.endpoints(endpoints, usage=usage, as_json=call.json)


@click.command()
@click.argument("service", default="")
@click.option("-n", "--lines", default=50, show_default=True, help="How many of the last lines.")
@click.pass_obj
def logs(call: Invocation, service: str, lines: int) -> None:
    """Print the last log lines of SERVICE, or of every service."""
    from lab import standing

    for line in standing.logs(call.settings(), service, lines):
        click.echo(line)


@click.command()
@click.pass_obj
def down(call: Invocation) -> None:
    """Stop the cloud and keep its data: `lab up` stands it up again."""
    from lab import standing

    click.echo(standing.down(call.settings()))


@click.command()
@click.option("--dry-run", is_flag=True, help="Only name what would be deleted.")
@click.option("--all", "everything", is_flag=True, help="Every Lab below the home, not only the one named.")
@click.pass_obj
def clean(call: Invocation, dry_run: bool, everything: bool) -> None:
    """Delete the Lab: its processes, data, and whatever a killed process left. Run directories stay."""
    from lab import console, standing

    console.removed(standing.clean(call.settings(), dry_run=dry_run, everything=everything), dry_run=dry_run, as_json=call.json)


lab.add("The machine and the cloud on it", doctor, up, status, logs, down, clean)
