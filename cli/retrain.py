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


@retrain_app.command("capture", epilog="Example: `justlens retrain capture --json`")
def capture(json_output: Json = False) -> None:
    """Write the hours of queries that are over to the object store, as beat does every hour."""
    from cli.retrain_data import capture

    capture(json_output=json_output)


@retrain_app.command(
    "prepare",
    epilog="Examples: `justlens retrain prepare` - `justlens retrain prepare queries.jsonl "
    "triplets.jsonl --run first --json`",
)
def prepare(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Beside the hours of queries: JSON Lines of `justlens report --queries`, or of "
            "triplets with anchor, positive and, if there is one, negative."
        ),
    ] = None,
    run: Annotated[
        str, typer.Option(help="Name of the run; one that is there stays.  [the time]")
    ] = "",
    days: Annotated[
        int | None, typer.Option(help="Only queries of so many days.  [all that are kept]", min=1)
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Another one divides train, dev and test in another way.")
    ] = 20_261_126,
    log: Annotated[bool, typer.Option(help="Log the data card to MLflow.")] = True,
    json_output: Json = False,
) -> None:
    """Make of what people searched for what a text model is trained, chosen and tested on."""
    from cli.retrain_data import prepare

    prepare(files or [], run=run, days=days, seed=seed, log=log, json_output=json_output)


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


Reason = Annotated[str, typer.Option(help="Why; it is noted in the registry.", prompt=True)]
By = Annotated[str, typer.Option(help="Who decides.", prompt=True)]


@retrain_app.command(
    "reembed", epilog="Examples: `justlens retrain reembed` - `justlens retrain reembed 7 --json`"
)
def reembed(
    version: Annotated[
        str, typer.Argument(help="Number of a version.  [the registry's challenger]")
    ] = "",
    json_output: Json = False,
) -> None:
    """Write all images into the space of a new text model, beside the one that serves.

    Images that arrive meanwhile are written into both. Run it again after a kill: it goes on.
    """
    from cli.retrain_spaces import reembed

    reembed(version, json_output=json_output)


@retrain_app.command(
    "cutover",
    epilog='Example: `justlens retrain cutover --by Asha --reason "agrees in the shadow"`',
)
def cutover(reason: Reason, by: By, json_output: Json = False) -> None:
    """Let the challenger serve, everywhere within seconds; `rollback` takes it back."""
    from cli.retrain_spaces import cut_over

    cut_over(reason, by, json_output=json_output)


@retrain_app.command(
    "rollback", epilog='Example: `justlens retrain rollback --by Asha --reason "complaints"`'
)
def rollback(reason: Reason, by: By, json_output: Json = False) -> None:
    """Let the text model that served before serve again; images since then are in its space."""
    from cli.retrain_spaces import roll_back

    roll_back(reason, by, json_output=json_output)


@retrain_app.command(
    "drop", epilog='Example: `justlens retrain drop --by Asha --reason "worse on real queries"`'
)
def drop(reason: Reason, by: By, json_output: Json = False) -> None:
    """Give the challenger up, and remove all that was written in its space."""
    from cli.retrain_spaces import drop

    drop(reason, by, json_output=json_output)
