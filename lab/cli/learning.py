"""Commands of people and models that learn: workshop, train."""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.group import Invocation, lab


@click.command()
@click.argument("scenario")
@click.pass_obj
def train(call: Invocation, scenario: str) -> None:
    """Train the models of SCENARIO (kind: train) again; needs the extra `train`."""
    from lab import execute

    for path in execute.train(scenario):
        click.echo(path)


@click.group()
def workshop() -> None:
    """Lessons of predict, run, explain: at most 20 minutes each, checked from your own run."""


@workshop.command("list")
@click.pass_obj
def workshop_list(call: Invocation) -> None:
    """List the lessons and what each is about; folders in scenarios/workshops/ of your own come first."""
    from lab import console
    from lab.workshops import learner, words

    found = learner.lessons()
    titles = {name: one.title for name, one in found.items()}
    console.said(words.lessons(titles), titles, as_json=call.json)


@workshop.command("start")
@click.argument("name")
@click.pass_obj
def workshop_start(call: Invocation, name: str) -> None:
    """Copy the lesson NAME into this folder, with predictions to fill in, and say what comes next."""
    from lab import console
    from lab.workshops import learner, words

    begun = learner.start(name, Path.cwd())
    console.said(words.begun(begun), begun, as_json=call.json)


@workshop.command("check")
@click.argument("name")
@click.argument("run", nargs=-1)
@click.pass_obj
def workshop_check(call: Invocation, name: str, run: tuple[str, ...]) -> None:
    """Hold your predictions for the lesson NAME against your own runs of it: your newest ones, or RUN."""
    from lab import console
    from lab.workshops import words
    from lab.workshops.check import check

    found = check(name, Path.cwd(), Path(call.settings().runs), [call.run(each) for each in run])
    console.said(words.checked(found), found, as_json=call.json)


lab.add("Learning", workshop, train)
