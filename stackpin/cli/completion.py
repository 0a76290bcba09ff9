"""`stackpin completion`: tab completion for a shell."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Examples:
      eval "$(stackpin completion bash)"          # in ~/.bashrc
      eval "$(stackpin completion zsh)"           # in ~/.zshrc
      stackpin completion fish > ~/.config/fish/completions/stackpin.fish
    """
    from click.shell_completion import get_completion_class

    from stackpin.cli import main

    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"no completion for {shell}")
    made = complete(main, {}, "stackpin", "_STACKPIN_COMPLETE")
    # source() would first run bash to ask its version; the script itself is the same.
    click.echo(made.source_template % made.source_vars())
