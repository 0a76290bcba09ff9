"""Templates to text. An undefined variable is an error, never an empty string."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


@cache
def _environment() -> Environment:
    # What is rendered is configuration text, not HTML: nothing may be escaped.
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )


def render(template: str, **values: object) -> str:
    """Return the text of `templates/<template>` with `values`.

    Raises jinja2.UndefinedError when one is missing.
    """
    return _environment().get_template(template).render(**values)
