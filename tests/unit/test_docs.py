"""The documentation says what the program does: generated pages, examples, links, variables."""

import inspect
import re
from pathlib import Path

import click
import pytest

from stackpin.cli import main
from stackpin.cli.exit import Exit
from stackpin.cli.reference import help_text, pages
from stackpin.config.checks import CHECK_KINDS, BaseCheck
from stackpin.config.common import INTERNAL, Shared
from stackpin.config.crm import CrmSettings
from stackpin.config.portal import PortalSettings
from stackpin.host import checks_local
from stackpin.rollout.performing import STAGES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def commands(
    command: click.Command = main, path: tuple[str, ...] = ()
) -> list[tuple[str, click.Command]]:
    context = click.Context(command, info_name="stackpin")
    found = [(" ".join(path), command)] if path else []
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                found += commands(inner, (*path, name))
    return found


def test_command_pages_are_current():
    folder = DOCS / "reference/commands"
    written = {path.name: path.read_text() for path in folder.glob("*.md")}
    assert written == pages(), f"python -m stackpin.cli.reference {folder.relative_to(ROOT)}"


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*found, id=found[0]) for found in commands()]
)
def test_every_command_has_an_example_of_itself(path, command):
    example = help_text(command).partition("Example")[2]
    # A group's default subcommand may be left out: `stackpin lock INVENTORY STACK`.
    assert f"stackpin {path.split()[0]}" in example
    if not isinstance(command, click.Group):
        words = [f"stackpin {path} ", f"stackpin {path}\n"]
        assert any(word in f"{example}\n" for word in words)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file) if file else page
        assert found.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(found), f"{page.name}: {target}"


def anchors(page):
    """Ids GitHub gives the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize(
    ("model", "prefix"),
    [(Shared, "stackpin_"), (CrmSettings, "crm_"), (PortalSettings, "portal_")],
)
def test_every_variable_is_on_its_page(model, prefix):
    page = (DOCS / "reference/variables.md").read_text()
    for name in set(model.model_fields) - set(getattr(model, "also", ())) - set(INTERNAL):
        assert f"`{prefix}{name}`" in page


@pytest.mark.parametrize("kind", CHECK_KINDS)
def test_every_check_kind_and_field_is_on_its_page(kind):
    page = (DOCS / "reference/checks.md").read_text()
    section = page.partition(f"## `{kind}`")[2].partition("\n## ")[0]
    assert section, kind
    for name, info in CHECK_KINDS[kind].model_fields.items():
        if name not in BaseCheck.model_fields and name != "kind":
            assert f"`{info.alias or name}`" in section, name
    for name in BaseCheck.model_fields:
        assert f"`{name}`" in page


def test_every_entry_of_a_check_is_read_by_the_host():
    unread = {
        f"{kind}.{name}"
        for kind, function in checks_local.KINDS.items()
        for name in set(CHECK_KINDS[kind].model_fields) - set(BaseCheck.model_fields) - {"kind"}
        if f'"{name}"' not in inspect.getsource(function)
        and not (name == "unit" and "probe.unit" in inspect.getsource(function))
    }
    assert unread == set()


def test_every_exit_code_is_on_its_page():
    page = (DOCS / "reference/exit-codes.md").read_text()
    assert re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE) == [str(int(e)) for e in Exit]


def test_every_hook_stage_is_on_its_page():
    page = (DOCS / "how-to/hooks.md").read_text()
    for stage in STAGES:
        assert f"`{stage}`" in page


def test_readme_lists_every_page():
    """Nobody finds a page that nothing links to."""
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s:]+)\)", page.read_text())
    }
    for page in DOCS.rglob("*.md"):
        assert page.resolve() in linked or page.parent.resolve() in linked, page
