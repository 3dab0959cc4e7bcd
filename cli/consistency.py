"""``justlens doctor --consistency``: whether objects, rows and vectors of the images agree."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict

import typer
from celery import Celery
from rich.table import Table

from cli.output import counting, err, out, print_json
from pipeline.backlog import depths
from pipeline.broker import EmbeddedBroker
from pipeline.consistency import Consistency, Finding, Kind
from pipeline.dead_letters import Parking, Publisher
from pipeline.errors import BrokerUnavailable
from pipeline.forgetting import Forgetting
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.purge import purge_of_objects
from pipeline.settings import Settings, settings
from pipeline.stores import Stores, open_stores

# Of each kind; more are counted.
SHOWN = 20


def consistency(*, mend: bool, grace: float, json_output: bool) -> None:
    """Exit status 1 when something does not agree and was not mended."""
    chosen = settings()
    counts: Counter[Kind] = Counter()
    mended: Counter[Kind] = Counter()
    shown: dict[Kind, list[Finding]] = {}
    with closing(open_stores(chosen)) as stores, counting() as step:
        check = _check(chosen, stores, mend, grace, step)
        for finding in check.findings(mend=mend):
            counts[finding.kind] += 1
            mended[finding.kind] += finding.is_mended
            examples = shown.setdefault(finding.kind, [])
            if len(examples) < SHOWN:
                examples.append(finding)
    if json_output:
        print_json(
            {
                "consistent": not counts,
                "mended": counts == mended,
                "findings": {
                    kind: {
                        "count": counts[kind],
                        "mended": mended[kind],
                        "first": [asdict(finding) for finding in shown.get(kind, [])],
                    }
                    for kind in Kind
                },
            }
        )
    else:
        _print(counts, mended, shown, mend=mend)
    if counts != mended:
        raise typer.Exit(1)


def _check(
    chosen: Settings, stores: Stores, mend: bool, grace: float, step: Callable[[str, int], None]
) -> Consistency:
    app = Celery("justlens")
    app.config_from_object("celeryconfig")
    sender = Sender(app)
    if mend and EmbeddedBroker.wanted(chosen):
        EmbeddedBroker(chosen).ensure()
    return Consistency(
        stores,
        intake=Intake(stores, chosen, sender),
        parking=Parking(stores.documents, Publisher(app)),
        forgetting=Forgetting(
            stores, sender.error_queues.withdraw, purge_of_objects(chosen, stores.objects)
        ),
        depths=_depths(sender, mend),
        grace=grace,
        step=step,
    )


def _depths(sender: Sender, mend: bool) -> Mapping[str, int]:
    """What waits in the queues; nothing does, as far as a report goes, where no broker runs."""
    try:
        return depths(sender.backlog())
    except BrokerUnavailable as error:
        if mend:
            raise
        err.print(f"[yellow]no image counts as waiting:[/] {error}", highlight=False)
        return {}


def _print(
    counts: Counter[Kind],
    mended: Counter[Kind],
    shown: dict[Kind, list[Finding]],
    *,
    mend: bool,
) -> None:
    if not counts:
        out.print("Objects, rows and vectors agree.")
        return
    table = Table(box=None)
    for column in ("finding", "what", "detail", "outcome"):
        table.add_column(column, overflow="fold")
    for findings in shown.values():
        for finding in findings:
            table.add_row(finding.kind.value, finding.what, finding.detail, finding.outcome)
    out.print(table)
    for kind, count in counts.items():
        after = f", {mended[kind]} mended" if mend else ""
        out.print(f"{count} {kind.value}{after}", highlight=False)
    if not mend:
        out.print("docs/operations.md says what each means; --mend mends what can be mended.")
