"""The command line: what a user types in, calls into the modules below out; imports happen inside commands so that --help is quick."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab import __version__

if TYPE_CHECKING:
    from lab.progress import Mode
    from lab.rundir import RunDir
    from lab.settings import Settings


@dataclass(frozen=True)
class Invocation:
    """What the options before the command say. `mode` auto | quiet | json decides how progress and results are shown."""

    options: dict[str, str | None]
    mode: Mode

    def settings(self) -> Settings:
        from lab.settings import resolve

        return resolve(self.options)

    @property
    def json(self) -> bool:
        return self.mode == "json"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="lab")
@click.option("--provider", help="Where the cloud stands: embedded (default), fake, external, ... (`lab list providers`).")
@click.option("--name", help="The Lab's name; two names are two clouds.")
@click.option("--home", type=click.Path(), help="Folder of all Labs' state (default ~/.lab).")
@click.option("--object-store", help="seaweedfs (default), minio, or the URL of any S3 endpoint.")
@click.option("--url", help="The service under test, for --provider external.")
@click.option("--set", "given", metavar="KEY=VALUE", multiple=True, help="Any other setting, e.g. kind.image=kindest/node:v1.34.4.")
@click.option("--quiet", is_flag=True, help="No progress, only results.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: results as JSON on stdout, progress as JSON lines on stderr.")
@click.pass_context
def lab(context: click.Context, /, quiet: bool, as_json: bool, given: tuple[str, ...], **options: str | None) -> None:
    """A local AI cloud, and the instrument that measures it.

    Deploys ONE AI workload as several architectures, loads each honestly, and says which one wins for which traffic, at which cost, and
    how sure that is.

    \b
      lab run quick            three architectures, under a minute
      lab run compare          the comparison, under five minutes
      lab plan compare         what that would do; starts nothing
      lab doctor               what this machine can and cannot do
    """
    if wrong := [each for each in given if "=" not in each]:
        raise click.BadParameter(f"found {wrong[0]!r}, wanted KEY=VALUE", param_hint="--set")
    options |= {key.strip(): value for key, _, value in (each.partition("=") for each in given)}
    context.obj = Invocation(options, "json" if as_json else "quiet" if quiet else "auto")


@lab.command()
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


@lab.command()
@click.pass_obj
def up(call: Invocation) -> None:
    """Stand the cloud up: object store, database and gateway. All of it, or nothing."""
    from lab import console, standing

    endpoints, took_s = standing.up(call.settings(), call.mode)
    console.endpoints(endpoints, took_s=took_s, as_json=call.json)


@lab.command()
@click.pass_obj
def status(call: Invocation) -> None:
    """Show the standing cloud: services, endpoints, where the credentials are, memory and CPU."""
    from lab import console, standing

    endpoints, usage = standing.status(call.settings())
    console.endpoints(endpoints, usage=usage, as_json=call.json)


@lab.command()
@click.argument("service", default="")
@click.option("-n", "--lines", default=50, show_default=True, help="How many of the last lines.")
@click.pass_obj
def logs(call: Invocation, service: str, lines: int) -> None:
    """Print the last log lines of SERVICE, or of every service."""
    from lab import standing

    for line in standing.logs(call.settings(), service, lines):
        click.echo(line)


@lab.command()
@click.pass_obj
def down(call: Invocation) -> None:
    """Stop the cloud and keep its data."""
    from lab import standing

    click.echo(standing.down(call.settings()))


@lab.command()
@click.option("--dry-run", is_flag=True, help="Only name what would be deleted.")
@click.option("--all", "everything", is_flag=True, help="Every Lab below the home, not only the one named.")
@click.pass_obj
def clean(call: Invocation, dry_run: bool, everything: bool) -> None:
    """Delete the Lab: its processes, data, and whatever a killed process left. Run directories stay."""
    from lab import console, standing

    console.removed(standing.clean(call.settings(), dry_run=dry_run, everything=everything), dry_run=dry_run, as_json=call.json)


@lab.command("list")
@click.argument("kind", type=click.Choice(["workloads", "architectures", "providers", "scenarios", "prices"]), required=False)
@click.pass_obj
def list_(call: Invocation, kind: str | None) -> None:
    """List what can be named: workloads, architectures, providers, scenarios, price books; yours come first."""
    from lab import console

    console.names(kind, as_json=call.json)


@lab.command()
@click.argument("scenario")
@click.option("--base", metavar="REF", help="Plan a gate: REF and the commit that is checked out, interleaved.")
@click.option("--allow-dirty", is_flag=True, help="With --base: head is a snapshot of the changed tree.")
@click.pass_obj
def plan(call: Invocation, scenario: str, base: str | None, allow_dirty: bool) -> None:
    """Print what SCENARIO would do: cells, budget, isolation, minutes, and the smallest effect it can tell. Starts nothing."""
    from lab import console, execute

    against = execute.Against(base=base, allow_dirty=allow_dirty) if base is not None else None
    console.plan(execute.plan_of(scenario, call.settings(), against, call.mode), as_json=call.json)


@lab.command()
@click.argument("scenario", required=False)
@click.option("--keep", is_flag=True, help="Leave the Lab standing afterwards.")
@click.option("--resume", metavar="RUN", help="Go on with a run that was interrupted: its cells that are done are kept.")
@click.option("--base", metavar="REF", help="Measure REF and the commit that is checked out in one run, interleaved; `lab gate` judges it.")
@click.option("--allow-dirty", is_flag=True, help="With --base: head is a snapshot of the changed tree.")
@click.pass_obj
def run(call: Invocation, scenario: str | None, keep: bool, resume: str | None, base: str | None, allow_dirty: bool) -> None:
    """Deploy, load, measure, analyze, compare and report SCENARIO (a name, or a file)."""
    if (scenario is None) == (resume is None):
        raise click.UsageError("give a SCENARIO, or --resume RUN")
    if resume and (base is not None or allow_dirty):
        raise click.UsageError("--resume goes on with the commits that the run began with; take --base and --allow-dirty out")
    from lab import console, execute

    settings = call.settings()
    against = execute.Against(base=base, allow_dirty=allow_dirty) if base is not None else None
    found = execute.resume(resume, settings, call.mode, keep) if resume else execute.run(str(scenario), settings, call.mode, keep, against)
    sys.exit(console.finished(found, as_json=call.json, quiet=call.mode == "quiet"))


@lab.command()
@click.argument("run")
@click.option("--prices", help="Another price book: a name or a file (negotiated rates).")
@click.option("--cpu-scale", type=click.FloatRange(min=0.01), default=1.0, show_default=True, help="Local core to cloud vCPU.")
@click.pass_obj
def analyze(call: Invocation, run: str, prices: str | None, cpu_scale: float) -> None:
    """Work RUN out again from its raw samples: summary, comparison (with other prices) and report."""
    from lab import console, history, rework

    found = rework.rework(_run(call, run), prices, cpu_scale)
    history.keep(found.run, call.settings())
    sys.exit(console.finished(found, as_json=call.json, quiet=call.mode == "quiet"))


@lab.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN [RUN]...")
@click.option("--force", is_flag=True, help="Compare across machine identities; the result is marked.")
@click.pass_obj
def compare(call: Invocation, names: tuple[str, ...], force: bool) -> None:
    """Compare the architectures of one RUN; two RUNs of one provider; or the rankings of one scenario's RUNs on several providers."""
    from lab import console, rework

    runs = [_run(call, name) for name in names]
    if len(runs) == 1:
        console.comparison(runs[0], as_json=call.json)
    elif rework.one_provider(runs):
        console.two_runs(*rework.compare(runs[0], runs[1], force), as_json=call.json)
    else:
        console.side_by_side(*rework.side_by_side(runs), as_json=call.json)


@lab.command()
@click.argument("run", required=False)
@click.option(
    "--from", "files", nargs=2, metavar="BASE HEAD", help="Files of pytest-benchmark instead of a run; several of a side: a.json,b.json."
)
@click.option("--threshold", "texts", multiple=True, help="With --from: e.g. 'median vs base < +5 %'.  [default: mean vs base < +5 %]")
@click.option("--out", type=click.Path(), help="With --from: folder for verdict.json, junit.xml and gate.md.")
@click.pass_obj
def gate(call: Invocation, run: str | None, files: tuple[str, str] | None, texts: tuple[str, ...], out: str | None) -> None:
    """Judge RUN by the thresholds in its scenario: exit 0 PASS, 1 FAIL, 4 INCONCLUSIVE, 2 where there is nothing to judge.

    A run of `lab run SCENARIO --base REF` has base and head, interleaved. Writes verdict.json, junit.xml and gate.md into the run.
    """
    if (run is None) == (files is None) or (run is not None and (texts or out)):
        raise click.UsageError(
            "give a RUN, or --from BASE HEAD; --threshold and --out go with --from (a run's thresholds are its scenario's)"
        )
    from lab import console, gating

    if files is not None:
        base, head = ([Path(p) for p in side.split(",") if p] for side in files)
        verdict = gating.judge_files(base, head, texts or gating.DEFAULT_THRESHOLDS, Path(out) if out else None)
    else:
        verdict = gating.judge_run(_run(call, str(run)))
    console.verdict(verdict, as_json=call.json)
    gating.settle(verdict)


@lab.command()
@click.argument("run")
@click.pass_obj
def report(call: Invocation, run: str) -> None:
    """Write report.html and report.md of RUN again."""
    from lab import report

    for path in report.write(_run(call, run)):
        click.echo(path)


@lab.command()
@click.pass_obj
def runs(call: Invocation) -> None:
    """List the runs, newest first, with how they ended."""
    from lab import console

    console.runs(Path(call.settings().runs), as_json=call.json)


@lab.command()
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


@lab.command()
@click.argument("scenario")
@click.pass_obj
def train(call: Invocation, scenario: str) -> None:
    """Train the models of SCENARIO (kind: train) again; needs the extra `train`."""
    from lab import execute

    for path in execute.train(scenario):
        click.echo(path)


@lab.group()
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

    found = check(name, Path.cwd(), Path(call.settings().runs), [_run(call, each) for each in run])
    console.said(words.checked(found), found, as_json=call.json)


def _run(call: Invocation, name: str) -> RunDir:
    """The run directory called NAME (or its path, or `last`)."""
    from lab import runs

    return runs.directory(name, call.settings())


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
