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


PreparedFolder = Annotated[
    Path | None, typer.Argument(help="The folder `data` of a run of `justlens retrain prepare`.")
]
ReplayedPairs = Annotated[
    Path | None,
    typer.Option(help="STS CSV, keeps general similarity.  [JUSTLENS_RETRAIN_REPLAY]"),
]
Threads = Annotated[int | None, typer.Option(help="Of the training.  [JUSTLENS_THREADS]", min=1)]
Niceness = Annotated[
    int, typer.Option("--nice", help="0 to 19: how far serving goes first.", min=0, max=19)
]


@retrain_app.command(
    "run",
    epilog="Examples: `justlens retrain run var/retraining/2026-11-26/data` - `justlens retrain "
    "run --logs triplets.jsonl --dev dev.jsonl --replay stsb_train.csv --sts stsb_dev.csv` - "
    "`justlens retrain run --resume 1-4f1c09aa31be`",
)
def run(
    prepared: PreparedFolder = None,
    logs: Annotated[
        Path | None, typer.Option(help="Triplets to learn from: JSON Lines, anchor and positive.")
    ] = None,
    dev: Annotated[
        Path | None,
        typer.Option(help="Triplets that the training is checked by; without --test, decided by."),
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="Triplets, or a folder of MS MARCO, to decide by.")
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="Texts and counts (JSON Lines) for the tokenizer.  [the logs]"),
    ] = None,
    replay: ReplayedPairs = None,
    sts: Annotated[
        Path | None, typer.Option(help="STS CSV to measure on.  [JUSTLENS_RETRAIN_STS]")
    ] = None,
    quora: Annotated[
        Path | None, typer.Option(help="Quora TSV to measure on.  [JUSTLENS_RETRAIN_QUORA]")
    ] = None,
    msmarco: Annotated[
        Path | None, typer.Option(help="MS MARCO's folder, likewise.  [JUSTLENS_RETRAIN_MSMARCO]")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="TOML or JSON of the training.  [JUSTLENS_RETRAIN_RECIPE]")
    ] = None,
    resume: Annotated[str, typer.Option(help="Name of a run that was begun.")] = "",
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Put the sentence-transformers folder here, too; it must not exist."
        ),
    ] = None,
    threads: Threads = None,
    niceness: Niceness = 10,
    json_output: Json = False,
) -> None:
    """Retrain the champion, measure it, and make it the challenger if it meets the rule.

    The same call again, after a kill as well, goes on where it was.
    """
    from cli.retrain_run import Files
    from cli.retrain_run import run as retrain

    files = Files(prepared, logs, dev, test, texts, replay, sts, quora, msmarco, recipe)
    retrain(
        files,
        resumed=resume,
        threads=threads,
        niceness=niceness,
        folder=folder,
        json_output=json_output,
    )


@retrain_app.command(
    "search",
    epilog="Example: `justlens retrain search --logs triplets.jsonl --dev dev.jsonl "
    "--replay stsb_train.csv --trials 8 --out recipe.toml`",
)
def search(
    target: Annotated[Path, typer.Option("--out", help="The recipe that is written, as TOML.")],
    prepared: PreparedFolder = None,
    logs: Annotated[Path | None, typer.Option(help="Triplets to learn from.")] = None,
    dev: Annotated[Path | None, typer.Option(help="As of `run`.")] = None,
    test: Annotated[Path | None, typer.Option(help="As of `run`; it is not looked at.")] = None,
    replay: ReplayedPairs = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Where to start from.  [JUSTLENS_RETRAIN_RECIPE]")
    ] = None,
    trials: Annotated[int, typer.Option(help="Trainings, those before a kill included.", min=1)] = (
        8
    ),
    threads: Threads = None,
    niceness: Niceness = 10,
    json_output: Json = False,
) -> None:
    """Look for a recipe that trains better, by a few trainings; the same call again goes on."""
    from cli.retrain_run import Files
    from cli.retrain_run import search as look

    files = Files(prepared, logs, dev, test, None, replay, None, None, None, recipe)
    look(
        files,
        trials=trials,
        threads=threads,
        niceness=niceness,
        target=target,
        json_output=json_output,
    )


@retrain_app.command("status", epilog="Example: `justlens retrain status --json`")
def status(json_output: Json = False) -> None:
    """The text models in the registry, which of them serves, and what was decided of each."""
    from cli.retrain_models import status

    status(json_output=json_output)


@retrain_app.command(
    "promote",
    epilog="Example: `justlens retrain promote 7 --by Asha --reason 'the test set is too small'`",
)
def promote(
    version: Annotated[str, typer.Argument(help="As `retrain status` prints it.")],
    by: Annotated[str, typer.Option(help="Who decides so.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    json_output: Json = False,
) -> None:
    """Make a version the challenger whatever the rule says; it is kept who did so and why."""
    from cli.retrain_models import promote

    promote(version, by=by, reason=reason, json_output=json_output)


@retrain_app.command(
    "export",
    epilog="Examples: `justlens retrain export model/ --version challenger` - "
    "`justlens retrain export onnx/ --version 7 --onnx`",
)
def export(
    target: Annotated[Path, typer.Argument(help="The folder that is made.")],
    version: Annotated[
        str, typer.Option(help="A number, or champion, challenger, previous.")
    ] = "champion",
    onnx: Annotated[
        bool, typer.Option("--onnx", help="What serves, instead of the sentence-transformers.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Copy a model out of the registry, as sentence-transformers reads it."""
    from cli.retrain_models import export

    export(target, version=version, onnx=onnx, json_output=json_output)
