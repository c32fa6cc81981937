"""Writes a page down: one file that needs nothing but itself.

Its content security policy lets only the scripts run that are written into it here, by their
hashes, and nothing be loaded from anywhere; texts of a run are escaped by the template. The text is
ASCII, so that no encoding can spoil it.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import asdict
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from chaos.report.model import Page, StageBar, sign
from chaos.ui.text import clean

_STATIC_ROWS = 50
"""Rows of evidence that can be read without JavaScript."""
_SCRIPTS = ("uplot/uPlot.iife.min.js", "page.js")
_STYLES = ("uplot/uPlot.min.css", "page.css")


def render(page: Page) -> str:
    """The whole text of the file; the same page gives the same text."""
    own = files("chaos.report")
    scripts = [_asset(name) for name in _SCRIPTS]
    style = "\n".join(_asset(name) for name in _STYLES)
    template = _environment(page).from_string(own.joinpath("page.html.j2").read_text("utf-8"))
    text = template.render(
        page=page,
        first=_STATIC_ROWS,
        style=Markup(style),  # noqa: S704 - our own files
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        policy=_policy(scripts, style),
        data={"plots": page.plots, "evidence": _sent(page)},
    )
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _sent(page: Page) -> dict[str, Any]:
    """What the page's script gets of the evidence."""
    found = asdict(page.evidence)
    return {name: found[name] for name in ("columns", "rows")}


def _asset(name: str) -> str:
    return files("chaos.report").joinpath("assets", name).read_text("ascii")


def _policy(scripts: list[str], style: str) -> str:
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _environment(page: Page) -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=_clean,
    )  # fmt: skip
    start_s, end_s = page.span
    whole_s = end_s - start_s

    def place(time_s: float) -> str:
        return f"{100 * (time_s - start_s) / whole_s:.3f}%"

    def width(span: tuple[float, float]) -> str:
        return f"{100 * (span[1] - span[0]) / whole_s:.3f}%"

    def wide(stage: StageBar) -> str:
        # A stage that took no time is still to be seen.
        return percent(max(stage.to_share - stage.from_share, 0.004))

    def percent(share: float) -> str:
        return f"{100 * share:.3f}%"

    environment.filters.update(x=place, width=width, wide=wide, percent=percent)
    environment.globals["sign"] = sign
    return environment


def _clean(value: Any) -> Any:  # noqa: ANN401 - whatever a template shows
    """Texts of brokers and clients without what could steer a terminal or spoil a page."""
    return clean(value) if type(value) is str else value
