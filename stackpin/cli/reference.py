"""Write docs/reference/commands/: one page per command, from the commands themselves.

    python -m stackpin.cli.reference docs/reference/commands

A unit test runs the same function and compares, so a page cannot drift from what is accepted.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import click

from stackpin.cli import main as stackpin


def option_rows(command: click.Command, context: click.Context) -> list[str]:
    """Markdown table rows of a command's arguments and options, in declared order."""
    rows = []
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Argument):
            rows.append(f"| `{parameter.make_metavar(context)}` | argument |")
            continue
        record = parameter.get_help_record(context)
        if record is not None:
            flags, meaning = (text.replace("|", "\\|") for text in record)
            rows.append(f"| `{flags}` | {meaning} |")
    return rows


def page(command: click.Command, context: click.Context) -> str:
    """One command's page: usage, what it does, its options, and its subcommands."""
    usage = " ".join(command.collect_usage_pieces(context))
    text = inspect.cleandoc(command.help or "").replace("\b\n", "").strip()
    lines = [f"# {context.command_path}", "", "```", f"{context.command_path} {usage}", "```", ""]
    lines += [example_block(text), "", "| argument or option | meaning |", "|---|---|"]
    lines += option_rows(command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            sub = command.get_command(context, name)
            if sub is not None and not sub.hidden:
                inner = click.Context(sub, info_name=name, parent=context)
                lines += ["", page(sub, inner).replace("# ", "## ", 1)]
    return "\n".join(lines).rstrip() + "\n"


def example_block(text: str) -> str:
    """Help text with its indented example lines as a fenced block."""
    out: list[str] = []
    fenced = False
    for line in text.splitlines():
        code = line.startswith("  ")
        if code and not fenced:
            out.append("```sh")
        if fenced and not code and line.strip():
            out.insert(len(out) - (out[-1] == ""), "```")
        fenced = code or (fenced and not line.strip())
        out.append(line.strip() if code else line)
    if fenced:
        out.append("```")
    return "\n".join(out)


def pages() -> dict[str, str]:
    """File name to content for every visible top-level command, and an index."""
    root = click.Context(stackpin, info_name="stackpin")
    found: dict[str, str] = {}
    index = ["# Commands", "", "| command | what it does |", "|---|---|"]
    for name in stackpin.list_commands(root):
        command = stackpin.get_command(root, name)
        if command is None or command.hidden:
            continue
        context = click.Context(command, info_name=name, parent=root)
        found[f"{name}.md"] = page(command, context)
        index.append(f"| [{name}]({name}.md) | {command.get_short_help_str(100)} |")
    found["README.md"] = "\n".join(index) + "\n"
    return found


def write(folder: Path) -> None:
    """Replace the pages in `folder` by the current ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.md"):
        stale.unlink()
    for name, content in pages().items():
        (folder / name).write_text(content)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
