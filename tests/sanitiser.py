"""What sites that show notebooks leave of an SVG: they put it into their page, with shapes, text and attributes of
presentation, but without style, script, foreign object, link and event."""

from __future__ import annotations

from xml.etree import ElementTree

import bleach

KEPT = {"svg", "g", "title", "desc", "path", "rect", "circle", "line", "polygon", "text", "tspan"}
ATTRIBUTES = [
    *("xmlns", "width", "height", "viewBox", "role", "aria-label", "x", "y", "rx", "d", "transform", "fill", "stroke"),
    *("stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin"),
    *("font-family", "font-size", "font-weight", "text-anchor"),
]


def sanitised(svg: str) -> str:
    return str(bleach.clean(svg, tags=KEPT, attributes={"*": ATTRIBUTES}, strip=True))


def parts(svg: str) -> list[tuple[str, dict[str, str], str]]:
    """Every element with what it says. A parser of HTML spells attributes in small letters."""
    found = ElementTree.fromstring(svg.replace("viewbox=", "viewBox="))
    return [(one.tag, dict(one.attrib), one.text or "") for one in found.iter()]
