"""A matplotlib figure becomes a small SVG: same input, same bytes; colours are classes that a page themes, text is text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from lab.report import palette

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMESPACE = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
KEPT_STYLES = (
    "stroke-width",
    "stroke-dasharray",
    "stroke-linecap",
    "fill-opacity",
    "stroke-opacity",
    "opacity",
    "text-anchor",
    "font-size",
)
SETTINGS: dict[Any, Any] = {  # of matplotlib, which declares each key
    "svg.fonttype": "none",
    "svg.hashsalt": "lab",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.unicode_minus": False,
    "text.color": palette.colour("ink"),
    "lines.solid_capstyle": "round",
    "lines.scale_dashes": False,
    "path.simplify": False,
}
DEFAULTS = {"text-anchor": "start", "stroke-linecap": "butt", "stroke-width": "1"}


@contextmanager
def canvas(width: int, height: int) -> Iterator[Figure]:
    """A figure of `width` x `height` units; drawn on inside the block and turned into text by `text` inside it too."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # the browser has the glyph, the measuring font need not
        yield Figure(figsize=(width / 72, height / 72), dpi=72)


def text(figure: Figure, name: str, title: str, description: str) -> str:
    """`name` prefixes every id, so that many SVGs can stand in one page. `title` and `description` are what a screen reader says."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    for tag in ("metadata", "defs/" + NAMESPACE + "style"):
        _drop(root, tag)
    _restyle(root)
    _rename(root, name)
    _flatten(root)
    root.attrib.pop("version", None)
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.attrib.update({"class": "chart", "role": "img", "aria-labelledby": f"{name}-title {name}-desc"})
    for index, (tag, words) in enumerate((("title", title), ("desc", description))):
        element = Element(NAMESPACE + tag, {"id": f"{name}-{tag}"})
        element.text = words
        root.insert(index, element)
    return _serialise(root)


def standalone(svg: str) -> str:
    """The same picture as a file of its own: it carries its colours for light and dark pages and its font."""
    used = sorted(set(re.findall(r"\b[fk]-(\w+)", svg)))
    light = "".join(f"--{role}:{palette.COLOURS[role][0]};" for role in used)
    dark = "".join(f"--{role}:{palette.COLOURS[role][1]};" for role in used)
    style = f"svg{{{light}font-family:{FONT}}}@media (prefers-color-scheme:dark){{svg{{{dark}}}}}{palette.rules(used)}"
    box = re.search(r'viewBox="0 0 (\S+) (\S+)"', svg)
    assert box is not None
    opening, rest = svg.split(">", 1)
    size = f' width="{box[1]}" height="{box[2]}"'
    return f'{opening} xmlns="http://www.w3.org/2000/svg"{size}><style>{style}</style>{rest}\n'


def _drop(root: Element, path: str) -> None:
    parents = {child: parent for parent in root.iter() for child in parent}
    for element in root.findall(".//" + NAMESPACE + path):
        parents[element].remove(element)


def _restyle(root: Element) -> None:
    """Style declarations become attributes, and colours of the palette classes too."""
    roles = palette.roles()
    for element in root.iter():
        declared = dict(part.split(":", 1) for part in element.attrib.pop("style", "").split(";") if ":" in part)
        styles = {key.strip(): value.strip() for key, value in declared.items()}
        classes = []
        for key, prefix in (("fill", "f"), ("stroke", "k")):
            value = styles.get(key)
            if value is None:
                continue
            element.set(key, value)
            if value in roles:
                classes.append(f"{prefix}-{roles[value]}")
        for key in KEPT_STYLES:
            if key in styles and styles[key] != DEFAULTS.get(key):
                element.set(key, styles[key].removesuffix("px"))
        if styles.get("font-weight") not in (None, "400", "normal"):
            element.set("font-weight", "600")
        if classes:
            element.set("class", " ".join(classes))
        _shorten(element)


def _shorten(element: Element) -> None:
    if "d" in element.attrib:
        element.set("d", re.sub(r"\s+", " ", re.sub(r"-?\d+\.\d+", _rounded, element.get("d", ""))).strip())
    for key in ("x", "y", "width", "height"):
        if key in element.attrib:
            element.set(key, re.sub(r"-?\d+\.\d+", _rounded, element.get(key, "")))
    turn = element.get("transform", "")
    if re.match(r"rotate\(-?0[ )]", turn):
        del element.attrib["transform"]
    elif turn:
        element.set("transform", re.sub(r"-?\d+\.\d+", _rounded, turn))


def _rounded(match: re.Match[str]) -> str:
    short = f"{float(match[0]):.1f}".removesuffix(".0")
    return "0" if short == "-0" else short


def _rename(root: Element, name: str) -> None:
    """Ids that something refers to are numbered in order of appearance; the others go."""
    referred: dict[str, str] = {}
    for element in root.iter():
        for value in (element.get(LINK, "").removeprefix("#"), element.get("clip-path", "").removeprefix("url(#").removesuffix(")")):
            if value:
                referred.setdefault(value, f"{name}-{len(referred)}")
    for element in root.iter():
        old = element.attrib.pop("id", "")
        if old in referred:
            element.set("id", referred[old])
        if LINK in element.attrib:
            element.set("href", "#" + referred[element.attrib.pop(LINK).removeprefix("#")])
        if "clip-path" in element.attrib:
            element.set("clip-path", f"url(#{referred[element.attrib['clip-path'][5:-1]]})")


def _flatten(root: Element) -> None:
    """Groups without attributes are replaced by what they hold; empty defs go."""
    children: list[Element] = []
    for child in list(root):
        _flatten(child)
        child.tail = None
        if child.tag == NAMESPACE + "g" and not child.attrib:
            children.extend(child)
        elif len(child) or child.tag not in (NAMESPACE + "g", NAMESPACE + "defs"):
            children.append(child)
    root[:] = children
    if root.text and not root.text.strip():
        root.text = None


def _serialise(root: Element) -> str:
    for element in root.iter():
        element.tag = element.tag.removeprefix(NAMESPACE)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)
