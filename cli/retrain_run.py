"""``justlens retrain run``: from logs to a model that is measured and decided on."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from cli.output import out, print_json, progress
from models.errors import ModelError
from models.text_training.recipe import Recipe, read_recipe
from models.text_training.search import written
from pipeline.errors import JustLensError
from pipeline.retraining.history import remember
from pipeline.retraining.plan import Plan
from pipeline.retraining.recipes import find_recipe
from pipeline.retraining.registry import open_registry
from pipeline.retraining.run import STEPS, Report, Retraining, begin, resume
from pipeline.settings import Settings, settings
from pipeline.stores import open_stores

NAMES = {
    "mrr_at_10": "MRR@10, unknown terms",
    "mrr_at_10_known": "MRR@10, known terms",
    "sts_spearman": "STS Spearman",
    "sts_pearson": "STS Pearson",
    "sts_squared_error": "STS squared error",
    "paraphrase_f1": "paraphrase F1",
    "paraphrase_threshold": "paraphrase threshold",
    "msmarco_mrr_at_10": "MS MARCO MRR@10",
    "latency_ms": "128 sentences, ms",
}


@dataclass(frozen=True)
class Files:
    """What was given on the command line."""

    prepared: Path | None
    logs: Path | None
    dev: Path | None
    test: Path | None
    texts: Path | None
    replay: Path | None
    sts: Path | None
    quora: Path | None
    msmarco: Path | None
    recipe: Path | None


def run(
    files: Files,
    *,
    resumed: str,
    threads: int | None,
    niceness: int,
    folder: Path | None,
    json_output: bool,
) -> None:
    """Retrain, or go on with a retraining, and print what was decided."""
    chosen = _settings(threads)
    os.nice(niceness)
    with _as_errors():
        registry = open_registry(chosen)
        if resumed:
            retraining = resume(resumed, chosen, registry)
        else:
            retraining = begin(plan(files, chosen), chosen, registry)
        report = _with_bars(retraining)
        _remember(retraining, chosen)
        if folder is not None:
            registry.model(report.version, folder)
    if json_output:
        print_json(asdict(report))
    else:
        _show(report, folder)


def plan(files: Files, chosen: Settings) -> Plan:
    """The files of a prepared folder or of the options, and those that the settings name."""
    recipe_file = files.recipe or chosen.retrain_recipe
    recipe = read_recipe(recipe_file) if recipe_file else Recipe()
    logs, test, check, texts = _taught(files)
    return Plan(
        logs=logs,
        test=test,
        check=check,
        texts=texts,
        recipe=recipe,
        replay=files.replay or chosen.retrain_replay,
        sts=files.sts or chosen.retrain_sts,
        quora=files.quora or chosen.retrain_quora,
        msmarco=files.msmarco or chosen.retrain_msmarco,
    )


def _taught(files: Files) -> tuple[Path, Path, Path | None, Path | None]:
    if files.prepared and files.logs:
        raise JustLensError("give a prepared folder or --logs, not both")
    if files.prepared:
        folder = files.prepared
        texts, dev = files.texts or folder / "texts.jsonl", files.dev or folder / "dev.jsonl"
        return (
            folder / "train.jsonl",
            files.test or folder / "test.jsonl",
            # Of few queries none may have come to this part.
            dev if files.dev or (dev.is_file() and dev.stat().st_size) else None,
            texts if files.texts or texts.exists() else None,
        )
    if files.logs is None:
        raise JustLensError("there is nothing to learn from: give a prepared folder, or --logs")
    test = files.test or files.dev
    if test is None:
        raise JustLensError("there is nothing to decide by: give --dev or --test")
    return files.logs, test, files.dev if files.test else None, files.texts


def _settings(threads: int | None) -> Settings:
    chosen = settings()
    return chosen.model_copy(update={"threads": threads}) if threads else chosen


def _remember(retraining: Retraining, chosen: Settings) -> None:
    with closing(open_stores(chosen)) as stores:
        remember(stores.documents, retraining.trial())


def _with_bars(retraining: Retraining) -> Report:
    with progress() as bars:
        steps = bars.add_task("retraining", total=None, note=retraining.name)
        training = bars.add_task("training", total=None, note="", visible=False)

        def show(step: str, done: int, total: int) -> None:
            if step == "training" and done:
                bars.update(training, completed=done, total=total, visible=True)
            bars.update(steps, completed=STEPS.index(step), total=len(STEPS), note=step)

        report = retraining.run(show)
        bars.update(steps, completed=len(STEPS), total=len(STEPS), note=retraining.name)
    return report


@contextmanager
def _as_errors() -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        raise JustLensError(str(error)) from error


def _show(report: Report, folder: Path | None) -> None:
    table = Table(box=None)
    for column in ("", f"champion {report.champion}", f"version {report.version}"):
        table.add_column(column)
    for name, label in NAMES.items():
        values = [each.get(name) for each in (report.champion_figures, report.figures)]
        if values != [None, None]:
            table.add_row(label, *("-" if value is None else f"{value:.4g}" for value in values))
    out.print(table)
    decided = "becomes the challenger" if report.decision.promoted else "is refused"
    out.print(f"\nVersion {report.version} {decided}:", highlight=False)
    for reason in report.decision.reasons:
        out.print(f"- {reason}", highlight=False, markup=False)
    minutes = sum(report.seconds.values()) / 60
    out.print(
        f"\n{report.pieces} new pieces, {report.steps} steps on {report.device}, "
        f"{minutes:.1f} minutes in all; the run is {report.run}.",
        highlight=False,
    )
    if folder is not None:
        out.print(f"The model lies in {folder}.", highlight=False, markup=False)


def search(
    files: Files,
    *,
    trials: int,
    threads: int | None,
    niceness: int,
    target: Path,
    json_output: bool,
) -> None:
    """Look for a recipe and write it to a file that ``run --recipe`` reads."""
    chosen = _settings(threads)
    os.nice(niceness)
    with _as_errors(), progress() as bars:
        bar = bars.add_task("trials", total=trials, note="")
        found = find_recipe(
            plan(files, chosen),
            chosen,
            open_registry(chosen),
            trials,
            lambda trial: bars.update(bar, advance=1, note=f"{trial.score:.4f}"),
        )
    target.write_text(written(found[0].recipe))
    if json_output:
        print_json({"recipe": str(target.absolute()), "trials": [asdict(each) for each in found]})
        return
    table = Table(box=None)
    for column in ("score", "learning rate", "scale", "noise", "replay"):
        table.add_column(column)
    for each in found:
        values = (each.score, each.recipe.learning_rate, each.recipe.scale)
        rest = (each.recipe.noise, each.recipe.replay)
        table.add_row(*(f"{value:.4g}" for value in (*values, *rest)))
    out.print(table)
    out.print(f"The best recipe lies in {target}.", highlight=False, markup=False)
