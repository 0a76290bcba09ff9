"""Pages as HTML: one file each, nothing from elsewhere, every text escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from stackpin.evidence.record import Record
from stackpin.redact import redact_value
from stackpin.report.view import view

__all__ = ["page", "render"]

_PAGES = Environment(
    loader=PackageLoader("stackpin.report"),
    # Whatever its name is: log lines and answers of services are hostile text.
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(record: Record) -> str:
    """Return the page of one evidence record; secrets are out before they are escaped."""
    about = {
        "inventory": record.inventory,
        "stack": record.stack,
        "version": record.version,
        "run": record.run,
        "command": record.command,
        "outcome": record.outcome,
        "exit_code": record.exit_code,
        "reason": record.reason,
        "who": record.who,
        "git_head": record.git_head,
    }
    names = [*record.documents, *record.texts, "manifest.json", "manifest.sha256"]
    values = view(redact_value(about), redact_value(dict(record.documents)), sorted(names))
    return render("report.html.j2", values)


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill `template`; characters no HTML text may hold become U+FFFD."""
    text = _PAGES.get_template(template).render(values)
    return "".join(one if _plain(ord(one)) else "\ufffd" for one in text)


def _plain(code: int) -> bool:
    if code < 0x20:
        return code in {0x09, 0x0A, 0x0D}
    return not (0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000)
