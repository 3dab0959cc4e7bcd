"""``justlens backup``, ``restore`` and ``move``: a directory as files, and to other stores."""

from contextlib import closing
from pathlib import Path

import typer
from rich.table import Table

from cli.output import counting, err, fail, out, print_json
from pipeline.backup.carrying import Carried, carry
from pipeline.backup.folder import BackUp, back_up
from pipeline.backup.parts import StoresSource, stores_by_part
from pipeline.broker import EmbeddedBroker
from pipeline.errors import ConfigurationError, JustLensError
from pipeline.settings import of_file, settings
from pipeline.stores import open_stores

ADDRESSES = ("documents_url", "relational_url", "objects_url", "vectors_url", "events_url")


def backup(folder: Path, *, json_output: bool) -> None:
    """Write the stores of the settings to a folder."""
    with closing(open_stores(settings())) as stores, counting() as step:
        try:
            manifest = back_up(StoresSource(stores), stores_by_part(stores), folder, step)
        except OSError as error:
            raise JustLensError(f"the back-up is not whole: {error}") from error
    counts = {part: file.rows for part, file in manifest.files.items()}
    if json_output:
        told = manifest.model_dump(exclude={"files"})
        print_json({"folder": str(folder.absolute()), **told, "rows": counts})
        return
    _print(counts, {})
    megabytes = manifest.object_bytes / 1e6
    out.print(
        f"{folder} holds the whole directory; {megabytes:,.1f} MB of objects.", highlight=False
    )


def restore(folder: Path, *, merge: bool, json_output: bool) -> None:
    """Read a back-up into the stores of the settings."""
    source = BackUp(folder)
    source.check()
    totals = {part: file.rows for part, file in source.manifest.files.items()}
    with closing(open_stores(settings())) as stores, counting(totals) as step:
        carried = carry(source, stores, merge=merge, step=step)
    _tell(carried, json_output=json_output)


def move(target: Path, *, merge: bool, json_output: bool) -> None:
    """Carry the stores of the settings to those of other settings."""
    here, there = settings(), of_file(target)
    for name in ADDRESSES:
        if getattr(here, name) == getattr(there, name):
            raise ConfigurationError(
                f"JUSTLENS_{name.upper()} is the same in {target} as in the settings of this "
                "process; what works: a file that names other stores for all of it"
            )
    if EmbeddedBroker.wanted(here) and EmbeddedBroker(here).answers():
        raise ConfigurationError(
            f"processes of {here.data_dir} are running, and what they write from now on would "
            "stay behind; end `justlens up` and all workers first"
        )
    with (
        closing(open_stores(here)) as stores,
        closing(open_stores(there)) as others,
        counting() as step,
    ):
        source = StoresSource(stores, here.documents_url.rpartition("@")[2])
        carried = carry(source, others, merge=merge, step=step)
    _tell(carried, json_output=json_output)


def _tell(carried: Carried, *, json_output: bool) -> None:
    """Exit status 1 where an object was refused."""
    if json_output:
        print_json(
            {
                "rows": carried.rows,
                "left_out": +carried.left_out,
                "refused": carried.refused,
            }
        )
    else:
        _print(carried.rows, +carried.left_out)
        out.print("Now `justlens doctor --consistency` tells whether all of it agrees.")
    for what in carried.refused:
        fail(what)
    if carried.refused:
        err.print("All the rest is there. The same command again adds what is missing.")
        raise typer.Exit(1)


def _print(counts: dict[str, int], left_out: dict[str, int]) -> None:
    table = Table(box=None)
    for column in ("what", "count", "left out: of no photo") if left_out else ("what", "count"):
        table.add_column(column)
    for part, count in counts.items():
        row = [part.replace("_", " "), f"{count:,}", str(left_out.get(part, ""))]
        table.add_row(*row[: len(table.columns)])
    out.print(table)
