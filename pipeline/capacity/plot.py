"""The day of a plan as a picture: what comes in, what goes through, what waits."""

from pathlib import Path

from pipeline.capacity.day import Course
from pipeline.capacity.plan import Plan
from pipeline.queues import Lane

COLOURS = {"gpu": "#b5541c", "io": "#1c6fb5", "cpu": "#3d8b37"}


def plot(plan: Plan, path: Path) -> None:
    """Write it as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    course = plan.course
    # Text stays text, and the same plan gives the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "justlens"}):
        figure = Figure(figsize=(8, 6), layout="constrained")
        flow, queues = figure.subplots(2, 1, sharex=True)
        bulk_and_uploads = [a + b for a, b in zip(course.uploads, course.bulk, strict=True)]
        flow.plot(course.hours, course.uploads, label="uploads", color="#1c6fb5")
        if plan.demand.backfill:
            flow.plot(course.hours, bulk_and_uploads, label="uploads and backfill", color="#888888")
        flow.plot(course.hours, course.through, "--", label="through all stages", color="#111111")
        flow.set_ylabel("images a second")
        flow.set_ylim(bottom=0)
        flow.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
        _draw_queues(queues, course)
        queues.set_xlim(0, 24)
        queues.set_xticks(range(0, 25, 3))
        queues.set_xlabel("hour of the day")
        for axes in (flow, queues):
            axes.grid(alpha=0.3)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_queues(axes: object, course: Course) -> None:
    for (pool, lane), depth in course.depth.items():
        if lane is Lane.BULK and not max(depth):
            continue
        axes.plot(  # type: ignore[attr-defined]
            course.hours,
            depth,
            "-" if lane is Lane.INTERACTIVE else ":",
            linewidth=1.3 if lane is Lane.INTERACTIVE else 2,
            color=COLOURS[pool],
            label=f"{pool}, {'uploads' if lane is Lane.INTERACTIVE else 'backfill'}",
        )
    # From a few to millions.
    axes.set_yscale("symlog", linthresh=1)  # type: ignore[attr-defined]
    axes.set_ylim(bottom=0)  # type: ignore[attr-defined]
    axes.set_ylabel("images that wait")  # type: ignore[attr-defined]
    axes.legend(  # type: ignore[attr-defined]
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=6, frameon=False, fontsize=8
    )
