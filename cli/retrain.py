"""The subcommands of ``justlens retrain`` and their options."""

from pathlib import Path
from typing import Annotated

import typer

retrain_app = typer.Typer(
    help="Retrain the text model on what was searched for.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


# A group of a single command would be that command.
@retrain_app.callback()
def steps() -> None:
    """Retrain the text model on what was searched for."""


@retrain_app.command(
    "shadow",
    epilog="Examples: `justlens retrain shadow` - `justlens retrain shadow --last-days 7` - "
    "`justlens retrain shadow --replay queries.jsonl --requests 1000 --json`",
)
def shadow(
    replay: Annotated[
        Path | None,
        typer.Option(
            help="Ask both models the queries of a file: one in a line, or JSON Lines of "
            "`justlens report --queries`."
        ),
    ] = None,
    last_days: Annotated[
        float | None, typer.Option(help="Ask both models the queries of so many days.", min=0)
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(help="Most questions of a replay.  [JUSTLENS_SHADOW_LEAST, 500]", min=1),
    ] = None,
    json_output: Json = False,
) -> None:
    """Print the verdict on the challenger, from what it was asked in the champion's shadow.

    With --replay or --last-days, ask both of them first: enough for a verdict in a few minutes. The
    same question again counts once. Exit status 1 says that the challenger fails.
    """
    from cli.retrain_shadow import shadow

    shadow(replay=replay, last_days=last_days, requests=requests, json_output=json_output)
