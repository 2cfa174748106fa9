"""The command `lab` itself: the options before a command become an Invocation; commands are added, and listed in its help, by theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lab import __version__

if TYPE_CHECKING:
    from lab.progress import Mode
    from lab.rundir import RunDir
    from lab.settings import Settings

LONGEST = 140  # characters of a command's first sentence: whole, over two lines


@dataclass(frozen=True)
class Invocation:
    """What the options before the command say. `mode` auto | quiet | json decides how progress and results are shown."""

    options: dict[str, str | None]
    mode: Mode

    def settings(self) -> Settings:
        from lab.settings import resolve

        return resolve(self.options)

    def run(self, name: str) -> RunDir:
        """The run directory called NAME (or its path, or `last`)."""
        from lab import runs

        return runs.directory(name, self.settings())

    @property
    def json(self) -> bool:
        return self.mode == "json"


class Themes(click.Group):
    """Its help lists the commands theme by theme, in the order in which they were added."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.themes: dict[str, tuple[click.Command, ...]] = {}

    def add(self, theme: str, *commands: click.Command) -> None:
        self.themes[theme] = commands
        for command in commands:
            self.add_command(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        longest = max(len(name) for name in self.commands)
        for theme, commands in self.themes.items():
            with formatter.section(theme):
                formatter.write_dl([(f"{c.name:<{longest}}", c.get_short_help_str(LONGEST)) for c in commands])


@click.group(cls=Themes, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="lab")
@click.option("--provider", help="Where the cloud stands: embedded (default), kind, external ... (`lab list providers`).")
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

    These options stand before the command; RUN is a run's name, its folder, or `last`.
    """
    if wrong := [each for each in given if "=" not in each]:
        raise click.BadParameter(f"found {wrong[0]!r}, wanted KEY=VALUE", param_hint="--set")
    options |= {key.strip(): value for key, _, value in (each.partition("=") for each in given)}
    context.obj = Invocation(options, "json" if as_json else "quiet" if quiet else "auto")
