"""``justlens doctor``: what the system needs, and whether it is there."""

import shutil
from collections.abc import Callable
from importlib.metadata import version

import typer

import models
from cli.output import out, print_json
from models import artefacts
from models.errors import ModelError
from pipeline.broker import EmbeddedBroker
from pipeline.errors import JustLensError
from pipeline.settings import Settings, settings
from pipeline.stores import open_stores

PACKAGES = ("celery", "kombu", "torch", "onnxruntime", "fastapi", "sqlalchemy", "numpy")
LEAST_DISK = 2 * 1024**3


def doctor(*, json_output: bool) -> None:
    """Exit status 1 when something that is needed is missing."""
    chosen = settings()
    checks: dict[str, Callable[[Settings], str]] = {
        "packages": _packages,
        "disk": _disk,
        "models": _models,
        "stores": _stores,
        "broker": _broker,
        "workers": _workers,
    }
    results = {}
    for name, check in checks.items():
        try:
            results[name] = {"ok": True, "detail": check(chosen)}
        except (JustLensError, ModelError, OSError) as error:
            results[name] = {"ok": False, "detail": str(error)}
    if json_output:
        print_json(results)
    else:
        for name, result in results.items():
            mark = "[green]ok[/]     " if result["ok"] else "[red]missing[/]"
            out.print(f"{mark} [bold]{name:9}[/] {result['detail']}", highlight=False)
    if not all(result["ok"] for result in results.values()):
        raise typer.Exit(1)


def _packages(_: Settings) -> str:
    return ", ".join(f"{package} {version(package)}" for package in PACKAGES)


def _disk(chosen: Settings) -> str:
    folder = next(path for path in (chosen.data_dir, *chosen.data_dir.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free < LEAST_DISK:
        raise JustLensError(f"{free / 1e9:.1f} GB free for {chosen.data_dir}, 2 GB are needed")
    return f"{free / 1e9:.0f} GB free for {chosen.data_dir}"


def _models(chosen: Settings) -> str:
    names = {
        "enhancer": chosen.enhancer,
        "image_text": chosen.image_text_encoder,
        "describer": chosen.describer,
        "text": chosen.text_encoder,
        "reader": chosen.text_reader,
    }
    identities = [
        models.create(kind, name, weights=chosen.model_dir, threads=1).identity
        for kind, name in names.items()
    ]
    missing = [
        name for name in artefacts.VERSIONS if not artefacts.folder(chosen.model_dir, name).exists()
    ]
    if missing:
        raise JustLensError(
            f"not exported yet: {', '.join(missing)}; "
            f"run `python -m models.export all --to {chosen.model_dir}`"
        )
    return ", ".join(identities)


def _stores(chosen: Settings) -> str:
    stores = open_stores(chosen)
    problems = {name: problem for name, problem in stores.check().items() if problem}
    stores.close()
    if problems:
        raise JustLensError("; ".join(f"{name}: {text}" for name, text in problems.items()))
    return f"documents, directory, objects and vectors answer in {chosen.data_dir}"


def _broker(chosen: Settings) -> str:
    if EmbeddedBroker.wanted(chosen) and not EmbeddedBroker(chosen).answers():
        return "the embedded broker is not running; it starts with `justlens up` or a worker"
    return chosen.broker_url


def _workers(chosen: Settings) -> str:
    if EmbeddedBroker.wanted(chosen) and not EmbeddedBroker(chosen).answers():
        return "none runs; `justlens up` starts them"
    from tasks import app

    found = app.control.inspect(timeout=2).active_queues() or {}
    if not found:
        return "none runs; `justlens up` starts them"
    return "; ".join(
        f"{name}: {', '.join(queue['name'] for queue in queues)}"
        for name, queues in sorted(found.items())
    )
