"""The colours of a report by role, for light and dark pages: Okabe-Ito for architectures, Tol's light scheme for the parts of a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lab.analysis.results import Group

# role -> (light page, dark page); light values are unique, because a drawn SVG is recognised by them.
COLOURS: Mapping[str, tuple[str, str]] = {
    "ink": ("#1b1f24", "#e8eaed"),
    "soft": ("#5c6570", "#a3acb7"),
    "rule": ("#e2e5e9", "#343a42"),
    "page": ("#fffffe", "#15181c"),
    "wash": ("#eef0f3", "#262b32"),
    "s0": ("#0072b2", "#4aa8e0"),
    "s1": ("#d55e00", "#ff8b3d"),
    "s2": ("#009e73", "#2fc79a"),
    "s3": ("#cc79a7", "#e39cc3"),
    "s4": ("#e69f00", "#f2b632"),
    "s5": ("#56b4e9", "#8fd0f7"),
    "s6": ("#6b6b6b", "#b5b5b5"),
    "t0": ("#00609a", "#6cbcec"),
    "t1": ("#a84800", "#ffa263"),
    "t2": ("#007052", "#4fd8ae"),
    "t3": ("#9a4a76", "#ecb2d1"),
    "t4": ("#8a5f00", "#f6c65c"),
    "t5": ("#1f74a3", "#a9dcfa"),
    "t6": ("#555555", "#c8c8c8"),
    "p0": ("#77aadd", "#77aadd"),
    "p1": ("#ee8866", "#ee8866"),
    "p2": ("#eedd88", "#eedd88"),
    "p3": ("#ffaabb", "#ffaabb"),
    "p4": ("#99ddff", "#99ddff"),
    "p5": ("#44bb99", "#44bb99"),
    "p6": ("#bbcc33", "#bbcc33"),
    "p7": ("#d3d6da", "#8b939c"),
    "on": ("#1b1f25", "#1b1f25"),
}
SERIES, PARTS = 7, 8
DASHES = ((0, ()), (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)), (0, (1, 1)), (0, (4, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def colour(role: str) -> str:
    return COLOURS[role][0]


@dataclass(frozen=True, slots=True)
class Look:
    """How one architecture is drawn everywhere: colour, dash and marker, so that no reader depends on colour."""

    index: int

    @property
    def role(self) -> str:
        return f"s{self.index % SERIES}"

    @property
    def line(self) -> str:
        return colour(self.role)

    @property
    def text(self) -> str:
        return colour(f"t{self.index % SERIES}")

    @property
    def dash(self) -> tuple[int, tuple[float, ...]]:
        return DASHES[self.index % len(DASHES)]

    @property
    def marker(self) -> str:
        return MARKERS[self.index % len(MARKERS)]


def looks(groups: Iterable[Group]) -> dict[str, Look]:
    """By group name; groups of one architecture and variant (at other model sizes, say) look alike."""
    found: dict[tuple[str, str], Look] = {}
    return {g.name: found.setdefault((g.architecture, g.variant), Look(len(found))) for g in groups}


def parts(kinds: Iterable[str], order: Sequence[str]) -> dict[str, str]:
    """A fill for each kind: those of `order` keep theirs, whatever else occurs takes the next ones."""
    known = [*order, *sorted(set(kinds) - set(order))]
    return {kind: colour(f"p{i % PARTS}") for i, kind in enumerate(known)}


def roles() -> dict[str, str]:
    """light value -> role."""
    return {light: role for role, (light, _) in COLOURS.items()}


def variables(dark: bool) -> str:
    return "".join(f"--{role}:{pair[dark]};" for role, pair in COLOURS.items())


def rules(used: Iterable[str]) -> str:
    """The classes that a drawn SVG carries: f-ROLE fills, k-ROLE strokes."""
    return "".join(f".f-{role}{{fill:var(--{role})}}.k-{role}{{stroke:var(--{role})}}" for role in used)
