"""Prepare: from what people searched for to what a text model is trained, chosen and tested on.

Merge, clean, count, find near copies, divide into strata and parts, write: each step is a function
of its own in the modules beside this one, and each leaves its counts on the data card. The result
is the folder ``retraining/<run>/data`` of the data folder:

- ``train.jsonl``, ``dev.jsonl``, ``test.jsonl``: anchor, positive, negative (or null), weight,
  origin, oov_share;
- ``texts.jsonl``: text and count, of all that a tokenizer may learn from: nothing of dev or test;
- ``card.json``: the data card. It holds counts, and no text that anybody typed.
"""

import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.retraining.assembly import SEED, Prepared, Step, assemble
from pipeline.retraining.capture import DAY
from pipeline.retraining.evidence import Evidence, add_file
from pipeline.retraining.oov import Pieces
from pipeline.retraining.pairs import texts_of
from pipeline.retraining.roll import kept_hours, read_hour
from pipeline.settings import Settings
from pipeline.stores import Stores


def prepare(
    stores: Stores,
    settings: Settings,
    pieces: Pieces,
    *,
    encoder: str,
    run: str = "",
    days: int | None = None,
    files: Sequence[Path] = (),
    seed: int = SEED,
    step: Step = lambda name, done, total: None,
) -> Path:
    """Prepare the data of a run; returns its folder. A run that is there already stays as it is.

    Args:
        pieces: into how many pieces the champion's tokenizer breaks a term.
        encoder: the champion's identity, for the card.
        run: its name; empty: the time.
        days: that are looked back; none: all that is kept.
        files: of ``justlens report --queries``, or triplets.

    Raises:
        NothingToPrepare, UnreadableSource, StoreUnavailable.
    """
    now = time.time()
    folder = settings.data_dir / "retraining" / (run or f"{datetime.now(UTC):%Y%m%d-%H%M%S}")
    if (folder / "data" / "card.json").is_file():
        return folder
    remove_old(settings, now)
    evidence, hours = Evidence(), 0
    since = now - days * DAY if days else 0.0
    kept = [(hour, key) for hour, key in kept_hours(stores) if hour >= since]
    for _, day in groupby(kept, key=lambda one: one[0] // DAY):
        keys = [key for _, key in day]
        evidence.add_day(read_hour(stores, key) for key in keys)
        hours += len(keys)
        step("hours", hours, len(kept))
    for path in files:
        add_file(evidence, path)
    made = assemble(evidence, texts_of(stores, evidence), pieces, seed=seed, step=step)
    card = {
        "run": folder.name,
        "made_at": _utc(now),
        "from": _utc(kept[0][0]) if kept else None,
        "until": _utc(kept[-1][0]) if kept else None,
        "sources": {"hours": hours, "files": [path.name for path in files]},
        "encoder": encoder,
        **made.card,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("justlens", "pyarrow", "rapidfuzz")},
        },
    }
    write(folder / "data", Prepared(made.rows, made.texts, card))
    return folder


def write(folder: Path, prepared: Prepared) -> None:
    """Write all files; the folder is there whole or not at all."""
    incoming = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(parents=True)
    for part, rows in prepared.rows.items():
        _write_lines(incoming / f"{part.value}.jsonl", rows)
    lines = ({"text": text, "count": count} for text, count in prepared.texts.items())
    _write_lines(incoming / "texts.jsonl", lines)
    card = json.dumps(prepared.card, ensure_ascii=False, indent=2)
    (incoming / "card.json").write_text(f"{card}\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    incoming.replace(folder)


def remove_old(settings: Settings, now: float) -> int:
    """Remove the data of runs that are older than queries are kept; how many runs."""
    if not settings.queries_days:
        return 0
    count = 0
    for data in (settings.data_dir / "retraining").glob("*/data"):
        if data.stat().st_mtime < now - settings.queries_days * DAY:
            shutil.rmtree(data, ignore_errors=True)
            count += 1
    return count


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
