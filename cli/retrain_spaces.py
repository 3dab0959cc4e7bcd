"""``justlens retrain reembed | cutover | rollback | drop``: from one text model to another."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.output import out, print_json, progress
from pipeline.retraining.changeover import ChangeOver, Step
from pipeline.retraining.registry import CHALLENGER, Registry, open_registry
from pipeline.settings import settings
from pipeline.text_spaces import TextSpaces
from tasks.runtime import Runtime


def reembed(version: str, *, json_output: bool) -> None:
    """Make a version the challenger, and write all images into its space."""
    with _changeover() as (changeover, registry), tempfile.TemporaryDirectory() as folder:
        number = registry.version(version or CHALLENGER).number
        name = changeover.challenge(registry.onnx(number, Path(folder) / "onnx"), number)
        with _counting(changeover, name) as step:
            written = changeover.fill(step)
    if json_output:
        print_json({"version": number, "space": name, "images": written})
    else:
        out.print(
            f"{written} images are written into the space of version {number}. Ask both models:\n"
            "  justlens retrain shadow --last-days 7",
            highlight=False,
        )


def cut_over(reason: str, by: str, *, json_output: bool) -> None:
    """Let the challenger serve, here and in the registry."""
    with _changeover() as (changeover, _), _counting(changeover, "what is missing") as step:
        spaces = changeover.cut_over(reason, by, step)
    _tell(spaces, json_output=json_output)


def roll_back(reason: str, by: str, *, json_output: bool) -> None:
    """Let what served before serve again, here and in the registry."""
    with _changeover() as (changeover, _), _counting(changeover, "what is missing") as step:
        spaces = changeover.roll_back(reason, by, step)
    _tell(spaces, json_output=json_output)


def drop(reason: str, by: str, *, json_output: bool) -> None:
    """Give the challenger up, with all that was written in its space."""
    with _changeover() as (changeover, _):
        spaces = changeover.drop(reason, by)
    _tell(spaces, json_output=json_output)


def _tell(spaces: TextSpaces, *, json_output: bool) -> None:
    if json_output:
        print_json(spaces.model_dump())
        return
    out.print(f"{_named(spaces.serving)} serves.", highlight=False)
    if spaces.previous is not None:
        out.print(f"{_named(spaces.previous)} is kept up, for a rollback.", highlight=False)
    if spaces.challenger is not None:
        out.print(f"{_named(spaces.challenger)} is the challenger.", highlight=False)


def _named(space: str) -> str:
    return space or f"the text model of the settings ({settings().text_encoder})"


@contextmanager
def _changeover() -> Iterator[tuple[ChangeOver, Registry]]:
    here, registry = Runtime(settings()), open_registry(settings())
    try:
        yield ChangeOver(here.stores, here.rescoring, registry), registry
    finally:
        here.close()


@contextmanager
def _counting(changeover: ChangeOver, note: str) -> Iterator[Step]:
    images = changeover.images()
    with progress() as bars:
        bar = bars.add_task("images looked at", total=images, note=note)

        def step(count: int) -> None:
            if bars.tasks[0].finished:
                # What was being scored when the pass went by is found by another one.
                bars.reset(bar, total=images, description="looked at again")
            bars.advance(bar, count)

        yield step
