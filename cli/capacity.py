"""``justlens capacity``: what a load needs, as a table, as JSON, and as a plot of the day."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from cli.output import err, out, print_json
from pipeline.capacity import figures as priced
from pipeline.capacity import service_times
from pipeline.capacity.check import Check, check
from pipeline.capacity.demand import Demand
from pipeline.capacity.figures import Figures
from pipeline.capacity.plan import Goal, Plan, PoolPlan, make
from pipeline.capacity.plot import plot
from pipeline.capacity.service_times import ServiceTimes
from pipeline.errors import ConfigurationError
from pipeline.queues import Lane

# As people know them; the prices and the JSON have the keys.
NODES = {
    "rabbitmq": "RabbitMQ",
    "joins": "Valkey or Redis",
    "documents": "MongoDB",
    "relational": "MariaDB or MySQL",
    "objects": "object store",
    "vectors": "Milvus",
    "triton": "Triton",
}


def capacity(
    demand: Demand,
    goal: Goal,
    *,
    times: Path | None,
    prices: Path | None,
    gpu: str,
    describer: str,
    page_ms: float,
    simulated: int,
    seed: int,
    picture: Path | None,
    json_output: bool,
) -> None:
    """Print a plan for the days of the backfill, and one for the time after it.

    Args:
        gpu, describer: names of tables of the prices; empty: as measured.
        page_ms: of a result page on a core; 0: as the service times say.
        simulated: images that the busiest moment is simulated with; 0: it is not.
        picture: where the day is drawn; none: nowhere.

    Raises:
        ConfigurationError: something was given that cannot be; the message says what.
    """
    figures = priced.read(prices or priced.EXAMPLE)
    measured = service_times.read(times or service_times.MEASURED)
    taken = measured
    if page_ms:
        taken = taken.model_copy(update={"page_seconds": page_ms / 1000})
    triton = 0.0
    if gpu:
        taken, figures = priced.on_gpu(taken, figures, gpu), _on_gpu_machines(figures, gpu)
    if describer:
        taken = priced.with_describer(taken, figures, describer)
        triton = figures.describers[describer].images_per_second
    plans = {"during": make(demand, taken, figures, goal, images_per_triton_gpu=triton)}
    if demand.backfill and demand.images_per_day:
        later = replace(demand, backfill=0.0, stored=demand.stored + demand.backfill)
        plans["after"] = make(later, taken, figures, goal, images_per_triton_gpu=triton)
    checked = None
    if simulated:
        err.print("Simulating the busiest moment ...", highlight=False)
        checked = check(plans["during"], taken, figures, images=simulated, seed=seed)
    if picture:
        if picture.suffix != ".svg":
            raise ConfigurationError(f"{picture}: the plot is an SVG file, such as day.svg")
        plot(plans["during"], picture)
    if json_output:
        print_json(
            {
                "measured": measured.measured,
                "currency": figures.currency,
                **{name: _as_json(plan) for name, plan in plans.items()},
                "simulated": None if checked is None else _checked_as_json(checked),
            }
        )
        return
    _show(plans, taken, figures, checked, assumed=_assumptions(figures, gpu, describer))
    if prices is None:
        out.print(
            "\nPrices and limits are the example's: put your own in a file, see "
            f"{priced.EXAMPLE}, and give it with --prices.",
            highlight=False,
        )


def read_profile(text: str) -> list[float]:
    """The hours of a day as people type them; none where nothing is given.

    Raises:
        ConfigurationError: one of them is no number.
    """
    try:
        return [float(number) for number in text.split(",")] if text.strip() else []
    except ValueError as error:
        raise ConfigurationError(f"a profile is 24 numbers with commas; {error}") from error


def _on_gpu_machines(figures: Figures, gpu: str) -> Figures:
    """Workers of the pool `gpu` on the first kind of machine that has one."""
    kind = next((name for name, machine in figures.machines.items() if machine.gpus), None)
    if kind is None:
        raise ConfigurationError("the prices know no machine with a GPU")
    shape = figures.workers["gpu"]
    slots = figures.gpus[gpu].slots or shape.slots
    shape = shape.model_copy(update={"machine": kind, "slots": slots})
    return figures.model_copy(update={"workers": {**figures.workers, "gpu": shape}})


def _assumptions(figures: Figures, gpu: str, describer: str) -> list[str]:
    """Where the figures of what was not measured here are from."""
    given = []
    if gpu:
        given.append(f"GPU {gpu}: {figures.gpus[gpu].source}")
    if describer:
        given.append(f"describer {describer}: {figures.describers[describer].source}")
    return given


def _show(
    plans: Mapping[str, Plan],
    times: ServiceTimes,
    figures: Figures,
    checked: Check | None,
    assumed: list[str],
) -> None:
    now = plans["during"]
    demand = now.demand
    out.print(
        f"{demand.images_per_day:,.0f} images a day, {demand.peak:,.1f} a second at the peak"
        + (f"; {demand.backfill:,.0f} within {demand.days:g} days" if demand.backfill else ""),
        highlight=False,
    )
    out.print(f"Service times: {times.measured or 'of a file'}", highlight=False)
    for line in assumed:
        out.print(line, highlight=False)
    if not now.gpus:
        out.print(
            "No GPUs, no Triton: they are planned with --gpu and --describer.", highlight=False
        )
    out.print(_pools(plans), _nodes(plans), _money(plans, figures), sep="\n")
    deepest = {
        lane: max(sum(depths) for depths in zip(*_depths(now, lane), strict=True)) for lane in Lane
    }
    out.print(
        f"At most {deepest[Lane.INTERACTIVE]:,.0f} uploads and {deepest[Lane.BULK]:,.0f} images of "
        "the backfill wait at a time.",
        highlight=False,
    )
    if checked:
        out.print(_simulated(checked))


def _depths(plan: Plan, lane: Lane) -> list[list[float]]:
    return [depth for (_, of), depth in plan.course.depth.items() if of is lane]


def _columns(plans: Mapping[str, Plan]) -> list[str]:
    return ["during the backfill", "after it"] if len(plans) > 1 else ["needed"]


def _table(first: str, *columns: str) -> Table:
    table = Table(first, box=None, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _pools(plans: Mapping[str, Plan]) -> Table:
    table = _table(
        "\nworkers", *_columns(plans), "one does", "limited by", "busy", "held up (95 %)"
    )
    for name, pool in plans["during"].pools.items():
        table.add_row(
            name,
            *(_processes(plan.pools[name]) for plan in plans.values()),
            f"{pool.images_per_second:,.2f}/s",
            pool.limit,
            f"{pool.busy_day:.0%}",
            f"{pool.at_peak.interactive_p95:.2f} s",
        )
    return table


def _processes(pool: PoolPlan) -> str:
    gpus = f", {pool.gpus} GPUs" if pool.gpus else ""
    return f"{pool.workers:,} on {pool.machines:,} {pool.machine}{gpus}"


def _nodes(plans: Mapping[str, Plan]) -> Table:
    table = _table("\nnodes", *_columns(plans), "because of", "at the busiest", "stored in all")
    for name, node in plans["during"].nodes.items():
        table.add_row(
            NODES[name],
            *(str(plan.nodes[name].nodes) for plan in plans.values()),
            node.because,
            f"{node.calls_per_second:,.0f}/s",
            f"{node.stored_gb:,.0f} GB" if node.stored_gb else "",
        )
    return table


def _money(plans: Mapping[str, Plan], figures: Figures) -> Table:
    table = _table(f"\n{figures.currency}, at the prices given", *_columns(plans))
    rows: dict[str, list[str]] = {
        "an hour": [f"{plan.price_per_hour:,.2f}" for plan in plans.values()],
        "in all": [f"{plan.price:,.0f} for {plan.hours / 24:.1f} days" for plan in plans.values()],
        "a million images": [f"{1e6 * plan.price / plan.images:,.0f}" for plan in plans.values()],
    }
    if any(plan.price_per_month for plan in plans.values()):
        months = [f"{plan.price_per_month:,.0f}" for plan in plans.values()]
        rows["a month of storage"] = months
    for name, row in rows.items():
        table.add_row(name, *row)
    return table


def _simulated(checked: Check) -> Table:
    title = f"\nsimulated, {checked.images:,} images at the peak"
    columns = ("mean, formula", "simulated", "95 % interval", "95 of 100, formula", "simulated")
    table = _table(title, "lane", *columns)
    for row in checked.rows:
        table.add_row(
            row.pool,
            row.lane.name.lower(),
            f"{row.formula:.3f} s",
            f"{row.simulated:.3f} s",
            f"{row.low:.3f} to {row.high:.3f}",
            "" if row.formula_p95 is None else f"{row.formula_p95:.3f} s",
            f"{row.simulated_p95:.3f} s",
        )
    table.add_row("images a second", "both", f"{checked.arrived:.1f}", f"{checked.rate:.1f}")
    return table


def _as_json(plan: Plan) -> dict[str, Any]:
    course = plan.course
    return {
        "demand": asdict(plan.demand),
        "pools": {name: asdict(pool) for name, pool in plan.pools.items()},
        "gpus": plan.gpus,
        "nodes": {name: asdict(node) for name, node in plan.nodes.items()},
        "price_per_hour": round(plan.price_per_hour, 2),
        "price_per_month_of_storage": round(plan.price_per_month, 2),
        "price": round(plan.price, 2),
        "days": plan.hours / 24,
        "images": round(plan.images),
        "day": {
            "hours": course.hours,
            "uploads_per_second": course.uploads,
            "bulk_per_second": course.bulk,
            "through_per_second": course.through,
            "depth": [
                {"pool": pool, "lane": lane.name.lower(), "images": depth}
                for (pool, lane), depth in course.depth.items()
            ],
        },
    }


def _checked_as_json(checked: Check) -> dict[str, Any]:
    rows = [{**asdict(row), "lane": row.lane.name.lower()} for row in checked.rows]
    return {**asdict(checked), "rows": rows}
