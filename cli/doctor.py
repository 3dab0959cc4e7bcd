"""``justlens doctor``: what the system needs, and whether it is there."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import version

import typer

import models
from cli.output import out, print_json
from models import artefacts
from models.errors import ModelError
from pipeline.broker import EmbeddedBroker
from pipeline.errors import BrokerUnavailable, JustLensError, StoreUnavailable
from pipeline.graph import Sender
from pipeline.joins import join_server
from pipeline.purge import open_purge
from pipeline.settings import Settings, settings
from pipeline.stores import Stores, open_stores

PACKAGES = ("celery", "kombu", "torch", "onnxruntime", "fastapi", "sqlalchemy", "numpy")
LEAST_DISK = 2 * 1024**3

# Where the address of each server is set.
ADDRESSES = {
    "documents": "JUSTLENS_DOCUMENTS_URL",
    "directory": "JUSTLENS_RELATIONAL_URL",
    "objects": "JUSTLENS_OBJECTS_URL",
    "vectors": "JUSTLENS_VECTORS_URL",
    "events": "JUSTLENS_EVENTS_URL",
    "shadow": "JUSTLENS_EVENTS_URL",
    "queries": "JUSTLENS_EVENTS_URL",
    "keys": "JUSTLENS_RELATIONAL_URL",
    "broker": "JUSTLENS_BROKER_URL",
    "joins": "JUSTLENS_RESULT_URL",
}


@dataclass(frozen=True)
class Finding:
    """What was found out about one dependency.

    Attributes:
        detail: its version, or what is wrong.
        latency_ms: of an answer; none where nothing was asked, or nothing answered.
        advice: what to do about it; empty: nothing.
    """

    ok: bool
    detail: str
    latency_ms: float | None = None
    advice: str = ""


def doctor(*, json_output: bool) -> None:
    """Exit status 1 when something that is needed is missing."""
    chosen = settings()
    findings = {name: _find(name, check) for name, check in _checks(chosen)}
    if json_output:
        print_json({name: vars(finding) for name, finding in findings.items()})
    else:
        _show(findings)
    if not all(finding.ok for finding in findings.values()):
        raise typer.Exit(1)


def _checks(chosen: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "packages", _packages
    yield "disk", partial(_disk, chosen)
    yield "models", partial(_models, chosen)
    if chosen.cdn_purge != "none":
        yield "cdn", partial(_cdn, chosen)
    stores = open_stores(chosen)
    for field in fields(stores):
        yield field.name, partial(_store, stores, field.name)
    yield "broker", partial(_running, chosen, chosen.broker_url, Sender().broker)
    joins = chosen.result_url
    yield "joins", partial(_running, chosen, joins, partial(join_server, joins))
    yield "workers", partial(_running, chosen, chosen.broker_url, _workers)
    stores.close()


def _find(name: str, check: Callable[[], str]) -> Finding:
    began = time.perf_counter()
    try:
        detail = check()
    except (StoreUnavailable, BrokerUnavailable) as error:
        advice = f"start it where {ADDRESSES[name]} says, or set that to where it runs"
        return Finding(False, str(error), advice=advice)
    except (JustLensError, ModelError, OSError) as error:
        return Finding(False, str(error))
    latency = round((time.perf_counter() - began) * 1000, 1) if name in ADDRESSES else None
    return Finding(True, detail, latency)


def _show(findings: dict[str, Finding]) -> None:
    for name, finding in findings.items():
        mark = "[green]ok[/]     " if finding.ok else "[red]missing[/]"
        latency = "" if finding.latency_ms is None else f" ({finding.latency_ms} ms)"
        out.print(f"{mark} [bold]{name:9}[/] {finding.detail}{latency}", highlight=False)
        if finding.advice:
            out.print(f"{'':18}{finding.advice}", highlight=False)


def _packages() -> str:
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
        "detector": chosen.people_detector,
        "quality": chosen.quality,
    }
    if chosen.text_enhancer:
        names["text_enhancer"] = chosen.text_enhancer
    if chosen.face_restorer:
        names["face_restorer"] = chosen.face_restorer
    options = {
        "enhancer": chosen.enhancer_options("enhancer"),
        "text_enhancer": chosen.enhancer_options("text_enhancer"),
        "describer": chosen.describer_options(),
        "image_text": chosen.image_text_options(),
    }
    identities = [
        models.create(
            kind, name, weights=chosen.model_dir, threads=1, **options.get(kind, {})
        ).identity
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


def _cdn(chosen: Settings) -> str:
    open_purge(chosen)
    return f"{chosen.cdn_purge}, its settings fit; nothing was sent"


def _store(stores: Stores, name: str) -> str:
    store = getattr(stores, name)
    store.check()
    return str(store.version())


def _running(chosen: Settings, url: str, ask: Callable[[], str]) -> str:
    """What a server says; the embedded one need not run when nothing else does."""
    if EmbeddedBroker.is_at(url, chosen) and not EmbeddedBroker(chosen).answers():
        return "not running; it starts with `justlens up` or a worker"
    return ask()


def _workers() -> str:
    try:
        found = Sender().workers()
    except BrokerUnavailable:
        return "unknown while the broker does not answer"
    if not found:
        return "none runs; `justlens up` starts them"
    return "; ".join(f"{name}: {', '.join(queues)}" for name, queues in sorted(found.items()))
