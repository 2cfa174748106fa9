"""The command that judges: gate, of a run or of files of pytest-benchmark, with the exit code that a pipeline stops at."""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.group import Invocation, lab


@click.command()
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
        verdict = gating.judge_run(call.run(str(run)))
    console.verdict(verdict, as_json=call.json)
    gating.settle(verdict)


lab.add("Judging a change", gate)
