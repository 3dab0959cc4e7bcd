"""The subcommands and their options; what they do is in the module of the same name."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.retrain import retrain_app
from pipeline.api_keys import Scope

app = typer.Typer(
    name="justlens",
    help="Chooses, improves and describes the pictures of a business directory.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Port = Annotated[int, typer.Option(help="Port of the web applications; 0: a free one.")]


@app.callback()
def choose(
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Folder of the embedded stores and broker.  [./var]"),
    ] = None,
) -> None:
    """Settings come from `JUSTLENS_*` environment variables; see docs/operations.md."""
    if data_dir is not None:
        os.environ["JUSTLENS_DATA_DIR"] = str(data_dir.absolute())


@app.command(epilog="Example: `justlens demo`")
def demo(port: Port = 0, json_output: Json = False) -> None:
    """Send real photos through the running system and show what comes out."""
    from cli.demo import demo

    demo(port=port, json_output=json_output)


@app.command(epilog="Examples: `justlens up` - `justlens up --port 8080 --flower admin:secret`")
def up(
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of the web applications; 0: a free one.  [JUSTLENS_API_PORT, 8000]"
        ),
    ] = None,
    flower: Annotated[
        str,
        typer.Option(help="Start Flower, too, behind this user:password.  [JUSTLENS_FLOWER_AUTH]"),
    ] = "",
    json_output: Json = False,
) -> None:
    """Run the whole system in the foreground: broker, workers, beat, web applications."""
    from cli.up import up

    up(port=port, flower=flower, json_output=json_output)


@app.command(
    epilog="Examples: `justlens ingest photos/ --docid shop-1 --name 'Corner Cafe' "
    "--category 'Coffee Shops'` - `justlens ingest --csv catalogue.csv` - "
    "`justlens ingest catalogue.csv --in-flight 500 --no-wait`"
)
def ingest(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Photos, folders of photos, or CSV files with the columns docid, product_id, "
            "product_url (an address or a file), business_name, categories (separated by `|`)."
        ),
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option("--csv", help="Such a CSV file, whatever its name ends in."),
    ] = None,
    docid: Annotated[str, typer.Option(help="The business that photos belong to.")] = "",
    name: Annotated[str, typer.Option(help="Its name.")] = "",
    category: Annotated[
        list[str] | None, typer.Option(help="A category it is listed under; first is hot.")
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="A file with all category names of the directory.")
    ] = None,
    lane: Annotated[
        Literal["auto", "interactive", "bulk"],
        typer.Option(help="bulk lets uploads go first; auto: bulk for a CSV file and many photos."),
    ] = "auto",
    in_flight: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Most messages in the queues and workers at a time; an image is up to two.  "
            "[JUSTLENS_INGEST_IN_FLIGHT, 2000]",
        ),
    ] = None,
    refused: Annotated[
        Path | None,
        typer.Option(
            help="File for the rows that cannot be taken in.  [the CSV file's name, .refused.csv]"
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Enhance even what is large enough.")] = False,
    wait: Annotated[
        bool, typer.Option(help="Wait until all photos are through; else until all are in a queue.")
    ] = True,
    json_output: Json = False,
) -> None:
    """Take photos in and wait until they are through; the same call again goes on where it was.

    A CSV file may have any length: rows are read as there is room for them in the queues. Starts
    the system for as long as it takes, when it does not run.
    """
    from cli.ingest import ingest

    ingest(
        sources or [],
        catalogue=catalogue,
        docid=docid,
        name=name,
        categories=category or [],
        vocabulary=vocabulary,
        lane=lane,
        in_flight=in_flight,
        refused=refused,
        force=force,
        wait=wait,
        json_output=json_output,
    )


@app.command(epilog="Example: `justlens rank shop-1 --query 'cofee'`")
def rank(
    docid: Annotated[str, typer.Argument(help="The business.")],
    query: Annotated[str, typer.Option(help="Free text, as people type it.")] = "",
    category: Annotated[str, typer.Option(help="A category by its name.")] = "",
    limit: Annotated[int, typer.Option(help="Most pictures in the dynamic order.")] = 10,
    json_output: Json = False,
) -> None:
    """Print the pictures that a business shows, and why."""
    from cli.rank import rank

    rank(docid, query=query, category=category, limit=limit, json_output=json_output)


@app.command(
    epilog="Examples: `justlens enhance small.jpg large.jpg` - "
    "`justlens enhance photos/ enhanced/ --model x4plus`"
)
def enhance(
    source: Annotated[Path, typer.Argument(help="A photo, or a folder of photos.")],
    target: Annotated[Path, typer.Argument(help="Where the result goes: a file, or a folder.")],
    model: Annotated[
        str,
        typer.Option(
            help="compact, x4plus, x4plus_anime, path:WEIGHTS or some.module:Class.  "
            "[JUSTLENS_ENHANCER, compact]"
        ),
    ] = "",
    image_type: Annotated[
        Literal["general", "text", "face"], typer.Option("--type", help="What the photos show.")
    ] = "general",
    force: Annotated[bool, typer.Option(help="Enhance even what is large enough.")] = False,
    raw: Annotated[
        bool, typer.Option(help="The network's plain output at its own scale, as PNG.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Enhance photos here and now, without queues."""
    from cli.enhance import enhance

    enhance(
        source,
        target,
        model=model,
        image_type=image_type,
        force=force,
        raw=raw,
        json_output=json_output,
    )


@app.command(
    "finetune-enhancer",
    epilog="Example: `justlens finetune-enhancer photos/ --from compact --out tuned/ --steps 2000`",
)
def finetune_enhancer(
    folder: Annotated[Path, typer.Argument(help="Good photos of one's own, large and sharp.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, losses and the weights.")],
    start: Annotated[
        str, typer.Option("--from", help="compact, x4plus, x4plus_anime or path:WEIGHTS.")
    ] = "compact",
    steps: Annotated[int, typer.Option(help="Of training in all, those done before included.")] = (
        5000
    ),
    crop: Annotated[int, typer.Option(help="Side of the crops to be regained, pixels.")] = 128,
    batch: Annotated[int, typer.Option(help="Crops in a step.")] = 4,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 100,
    vgg: Annotated[
        Path | None,
        typer.Option(help="torchvision's VGG19 weights, for a perceptual loss; without, none."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Train an enhancer further on photos of one's own (SRGAN); the same call again goes on."""
    from cli.finetune import finetune

    finetune(
        folder,
        out=out,
        start=start,
        steps=steps,
        crop=crop,
        batch=batch,
        checkpoint_every=checkpoint_every,
        vgg=vgg,
        json_output=json_output,
    )


@app.command(epilog="Example: `justlens describe photo.jpg --business 'Corner Cafe'`")
def describe(
    source: Annotated[Path, typer.Argument(help="A photo.")],
    business: Annotated[str, typer.Option(help="Name of the business.")] = "",
    category: Annotated[
        list[str] | None, typer.Option(help="A category to score the photo against.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Say what a photo shows, how good it is and what it would be called."""
    from cli.describe import describe

    describe(source, business=business, categories=category or [], json_output=json_output)


@app.command(
    epilog="Examples: `justlens evaluate photo_cases --json` - "
    "`justlens evaluate photo_cases --rename benchmarks/data/renamed_categories.tsv`"
)
def evaluate(
    folder: Annotated[
        Path, typer.Argument(help="A folder with businesses.json, its photos, categories.txt.")
    ],
    rename: Annotated[
        Path | None,
        typer.Option(
            help="A table with the columns category and renamed: businesses are listed under the "
            "other name. Names of categories.txt stay as they are."
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Send labelled photos through the real graph and measure the order that is served."""
    from cli.evaluate import evaluate

    evaluate(folder, rename=rename, json_output=json_output)


@app.command(epilog="Example: `justlens calibrate photo_cases --json`")
def calibrate(
    folder: Annotated[
        Path, typer.Argument(help="A folder with businesses.json, its photos, categories.txt.")
    ],
    json_output: Json = False,
) -> None:
    """Find the threshold from which a photo counts as showing its business's categories."""
    from cli.calibrate import calibrate

    calibrate(folder, json_output=json_output)


@app.command(
    epilog="Examples: `justlens report --days 7` - `justlens report --queries queries.jsonl`"
)
def report(
    days: Annotated[float, typer.Option(help="How far back.", min=0)] = 30,
    docid: Annotated[str, typer.Option(help="Only of this business.")] = "",
    queries: Annotated[
        Path | None,
        typer.Option(
            help="A file for the queries of all businesses and what was clicked on for each, as "
            "JSON Lines: what the text model is trained on further."
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Print click-through by position and by source, and what was looked for."""
    from cli.report import report

    report(days=days, docid=docid, queries=queries, json_output=json_output)


Merge = Annotated[
    bool,
    typer.Option(
        "--merge", help="Into stores that hold a directory: adds what is missing, changes nothing."
    ),
]


@app.command(
    epilog="Examples: `justlens backup /srv/backups/directory` - `justlens backup DIR --json`; "
    "the same folder again is brought up to date, and only new objects are copied."
)
def backup(
    folder: Annotated[
        Path, typer.Argument(help="An empty folder, or one with an earlier back-up.")
    ],
    json_output: Json = False,
) -> None:
    """Write all that the stores hold to a folder, whatever they are; may run beside everything."""
    from cli.backup import backup

    backup(folder, json_output=json_output)


@app.command(
    epilog="Examples: `justlens restore /srv/backups/directory` - "
    "`JUSTLENS_PROFILE=services justlens restore DIR` - `justlens restore DIR --merge`"
)
def restore(
    folder: Annotated[Path, typer.Argument(help="That `justlens backup` has written.")],
    merge: Merge = False,
    json_output: Json = False,
) -> None:
    """Read a back-up into the stores of these settings, whatever they are.

    One that was cut off goes on when it is called again.
    """
    from cli.backup import restore

    restore(folder, merge=merge, json_output=json_output)


@app.command(
    epilog="Examples: `justlens move services.env`, where the file says "
    "`JUSTLENS_PROFILE=services` and the addresses of the servers - "
    "`justlens --data-dir var move services.env --json`"
)
def move(
    target: Annotated[
        Path, typer.Argument(help="A file with the settings of the other stores, a line each.")
    ],
    merge: Merge = False,
    json_output: Json = False,
) -> None:
    """Carry a directory from the stores of these settings to other ones, such as servers.

    What is here stays here. One that was cut off goes on when it is called again.
    """
    from cli.backup import move

    move(target, merge=merge, json_output=json_output)


@app.command(epilog="Examples: `justlens forget shop-1 42` - `justlens forget shop-1 --yes`")
def forget(
    docid: Annotated[str, typer.Argument(help="The business.")],
    product_id: Annotated[
        int | None, typer.Argument(help="One of its images; none: all, and the business itself.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_output: Json = False,
) -> None:
    """Remove an image or a business and all that was kept of it; the same call again goes on.

    Objects and what was found in them stay where another image has the same bytes. Of the image a
    tombstone stays, which stops what is in flight, and its events stay in the counts.
    """
    from cli.forget import forget

    forget(docid, product_id, yes=yes, json_output=json_output)


@app.command(epilog="Example: `JUSTLENS_PROFILE=services justlens setup`")
def setup(json_output: Json = False) -> None:
    """Make tables, indexes, the bucket, collections and queues on the servers; safe to repeat."""
    from cli.setup import setup

    setup(json_output=json_output)


@app.command(
    epilog="Examples: `justlens doctor` - `JUSTLENS_PROFILE=services justlens doctor` - "
    "`justlens doctor --consistency` - `justlens doctor --consistency --mend --json`"
)
def doctor(
    consistency: Annotated[
        bool,
        typer.Option(
            "--consistency", help="Check instead whether objects, rows and vectors agree."
        ),
    ] = False,
    mend: Annotated[
        bool, typer.Option("--mend", help="With --consistency: mend what can be mended.")
    ] = False,
    grace: Annotated[
        str,
        typer.Option(
            help="With --consistency: what is younger may be on its way: 90s, 15m, 2h, 7d."
        ),
    ] = "1h",
    json_output: Json = False,
) -> None:
    """Check what the system needs: packages, models, stores, broker, workers.

    With --consistency, whether what the stores hold of each image agrees. Exit status 1 says that
    something is missing, or does not agree and was not mended.
    """
    if mend and not consistency:
        raise typer.BadParameter("it goes with --consistency", param_hint="--mend")
    if consistency:
        from cli.ages import seconds
        from cli.consistency import consistency as check

        check(mend=mend, grace=seconds(grace), json_output=json_output)
        return
    from cli.doctor import doctor

    doctor(json_output=json_output)


@app.command(
    epilog="Examples: `JUSTLENS_FLOWER_AUTH=admin:secret justlens flower` - "
    "`justlens flower --auth admin:secret --port 5556`"
)
def flower(
    auth: Annotated[
        str, typer.Option(help="user:password; in the environment nobody else sees it.")
    ] = "",
    host: Annotated[
        str, typer.Option(help="Address to listen on.  [JUSTLENS_FLOWER_HOST, 127.0.0.1]")
    ] = "",
    port: Annotated[
        int | None, typer.Option(help="Port to listen on.  [JUSTLENS_FLOWER_PORT, 5555]")
    ] = None,
) -> None:
    """Run Flower, Celery's dashboard, in the foreground; it does not start without a password."""
    from cli.flower import flower

    flower(auth=auth, host=host, port=port)


dead_letters = typer.Typer(
    help="Look at what was parked, send it again, or forget it.", no_args_is_help=True
)
app.add_typer(dead_letters, name="dlq")

Queue = Annotated[str, typer.Option(help="Only of this queue.")]
Cause = Annotated[str, typer.Option(help="Only with this cause, such as FetchFailed.")]
Business = Annotated[str, typer.Option(help="Only of this business.")]
NewerThan = Annotated[str, typer.Option(help="Only last parked since: 90s, 15m, 2h, 7d ago.")]
OlderThan = Annotated[str, typer.Option(help="Only last parked before: 90s, 15m, 2h, 7d ago.")]
Keys = Annotated[list[str] | None, typer.Argument(help="As `dlq list` prints them.")]


@dead_letters.command("list", epilog="Example: `justlens dlq list --queue image_enhance_process`")
def list_dead_letters(
    queue: Queue = "",
    exception: Cause = "",
    docid: Business = "",
    newer_than: NewerThan = "",
    older_than: OlderThan = "",
    limit: Annotated[int, typer.Option(help="Most rows.")] = 50,
    json_output: Json = False,
) -> None:
    """Dead letters, newest first, and how many there are by their causes."""
    from cli.dlq import Filters, show_list

    filters = Filters(queue, exception, docid, newer_than, older_than)
    show_list(filters, limit=limit, json_output=json_output)


@dead_letters.command("show", epilog="Example: `justlens dlq show image_tag_process/4f1c...`")
def show_dead_letter(
    key: Annotated[str, typer.Argument(help="As `dlq list` prints it.")],
    json_output: Json = False,
) -> None:
    """One dead letter with its traceback."""
    from cli.dlq import show_one

    show_one(key, json_output=json_output)


@dead_letters.command(
    "replay",
    epilog="Examples: `justlens dlq replay image_tag_process/4f1c...` - "
    "`justlens dlq replay --queue image_relevance_process --exception StoreUnavailable`",
)
def replay_dead_letters(
    keys: Keys = None,
    queue: Queue = "",
    exception: Cause = "",
    docid: Business = "",
    newer_than: NewerThan = "",
    older_than: OlderThan = "",
    json_output: Json = False,
) -> None:
    """Run the rest of the graph from the stage that failed; safe to repeat."""
    from cli.dlq import Filters, replay

    filters = Filters(queue, exception, docid, newer_than, older_than)
    replay(keys or [], filters, json_output=json_output)


@dead_letters.command(
    "drop",
    epilog="Examples: `justlens dlq drop image_tag_process/4f1c...` - "
    "`justlens dlq drop --exception UndecodableImage --older-than 30d`",
)
def drop_dead_letters(
    keys: Keys = None,
    queue: Queue = "",
    exception: Cause = "",
    docid: Business = "",
    newer_than: NewerThan = "",
    older_than: OlderThan = "",
    json_output: Json = False,
) -> None:
    """Forget them; their images stay as they are."""
    from cli.dlq import Filters, drop

    filters = Filters(queue, exception, docid, newer_than, older_than)
    drop(keys or [], filters, json_output=json_output)


capacity_app = typer.Typer(
    help="Says what a load needs: workers, machines, servers, storage, money.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
    epilog="Examples: `justlens capacity --images-per-day 2_000_000 --backfill 100_000_000 "
    "--days 14` - `justlens capacity --images-per-day 50_000 --prices mine.toml --plot day.svg` - "
    "`justlens capacity --images-per-day 2e6 --gpu example --describer example --json`",
)
app.add_typer(capacity_app, name="capacity")


@capacity_app.callback()
def capacity(
    context: typer.Context,
    images_per_day: Annotated[float, typer.Option(help="Uploads.", min=0)] = 0,
    backfill: Annotated[float, typer.Option(help="Images in the bulk lane.", min=0)] = 0,
    days: Annotated[float, typer.Option(help="Within which the backfill is through.")] = 14,
    peak_factor: Annotated[
        float, typer.Option(help="Uploads at the busiest moment to their mean, 1 to 2.")
    ] = 2.0,
    peak_hour: Annotated[float, typer.Option(help="When that is, 0 to 24.", min=0, max=24)] = 14.0,
    profile: Annotated[
        str,
        typer.Option(help="The day in place of that: 24 numbers with commas, one for each hour."),
    ] = "",
    pages_per_second: Annotated[
        float, typer.Option(help="Result pages at the busiest moment.", min=0)
    ] = 0,
    page_ms: Annotated[
        float, typer.Option(help="On a core, of a page; 0: as the service times say.", min=0)
    ] = 0,
    stored: Annotated[float, typer.Option(help="Images that are there already.", min=0)] = 0,
    keep_days: Annotated[
        float, typer.Option(help="Days of uploads that the storage is for.", min=0)
    ] = 365,
    times: Annotated[
        Path | None,
        typer.Option("--service-times", help="That `justlens capacity measure` has written."),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="What nodes do and cost, as TOML; without, an example.")
    ] = None,
    gpu: Annotated[
        str, typer.Option(help="Networks on GPUs: the name of a table `gpus.NAME` there.")
    ] = "",
    describer: Annotated[
        str, typer.Option(help="Descriptions by Triton: a table `describers.NAME` there.")
    ] = "",
    utilisation: Annotated[
        float, typer.Option(help="Most of their time that workers are planned to be busy.")
    ] = 0.75,
    wait: Annotated[
        float,
        typer.Option(help="Seconds within which 95 of 100 uploads begin each stage at the peak."),
    ] = 5.0,
    simulate: Annotated[
        bool, typer.Option(help="Check the formulas by simulating the busiest moment.")
    ] = True,
    images: Annotated[int, typer.Option(help="That are simulated.", min=100)] = 4_000,
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the day there, as SVG: what comes in, what waits.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Say how many workers, machines, servers, how much storage and money a load needs.

    Prices and limits of servers are given in a file; docs/capacity.md tells the model.
    """
    if context.invoked_subcommand:
        return
    from cli.capacity import capacity, read_profile
    from pipeline.capacity.demand import Demand
    from pipeline.capacity.plan import Goal

    capacity(
        Demand(
            images_per_day=images_per_day,
            backfill=backfill,
            days=days,
            peak_factor=peak_factor,
            peak_hour=peak_hour,
            profile=read_profile(profile),
            pages_per_second=pages_per_second,
            stored=stored,
            keep_days=keep_days,
        ),
        Goal(utilisation, wait),
        times=times,
        prices=prices,
        gpu=gpu,
        describer=describer,
        page_ms=page_ms,
        simulated=images if simulate else 0,
        seed=seed,
        picture=plot,
        json_output=json_output,
    )


@capacity_app.command(
    "measure",
    epilog="Examples: `justlens capacity measure photos/ --to times.json` - "
    "`justlens capacity measure --from http://worker-1:8001/metrics "
    "--from http://worker-2:8001/metrics --seconds 600 --to times.json`",
)
def measure_capacity(
    to: Annotated[Path, typer.Option(help="The file that is written.")],
    folder: Annotated[
        Path | None, typer.Argument(help="Photos as they come in, 40 or more, all different.")
    ] = None,
    addresses: Annotated[
        list[str] | None,
        typer.Option("--from", help="Where a running worker tells its figures, for each of them."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long to measure.", min=1)] = 60,
    json_output: Json = False,
) -> None:
    """Measure what stages take: of photos through workers of its own, or in running workers.

    Nothing else should run on the machine meanwhile.
    """
    from cli.capacity_measure import measure

    measure(folder, addresses=addresses or [], seconds=seconds, to=to, json_output=json_output)


app.add_typer(retrain_app, name="retrain")

keys = typer.Typer(
    help="Make, list and revoke the keys of the web applications.", no_args_is_help=True
)
app.add_typer(keys, name="keys")


@keys.command(
    "make",
    epilog="Examples: `justlens keys make 'The importer' --scope ingest` - "
    "`justlens keys make 'Search team' --scope read --json` - "
    "`justlens keys make Prometheus --scope admin`",
)
def make_api_key(
    name: Annotated[str, typer.Argument(help="Whose it is.", min=1)],
    scope: Annotated[
        list[Scope],
        typer.Option(help="What it opens, several times for several; admin opens everything."),
    ],
    json_output: Json = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    from cli.keys import make

    make(name, scope, json_output=json_output)


@keys.command("list", epilog="Example: `justlens keys list --json`")
def list_api_keys(json_output: Json = False) -> None:
    """All keys, without their secret part."""
    from cli.keys import show_list

    show_list(json_output=json_output)


@keys.command("revoke", epilog="Example: `justlens keys revoke 4f1c09aa31be`")
def revoke_api_key(
    key_id: Annotated[str, typer.Argument(help="As `keys list` prints it.")],
    json_output: Json = False,
) -> None:
    """End a key for good; it opens nothing any more within seconds."""
    from cli.keys import revoke

    revoke(key_id, json_output=json_output)
