"""The one table of all benchmarks: as rows, as Markdown, in the README, as a plot."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
COLUMNS = ("what", "", "ours", "baseline", "unit", "ratio (95 %)", "target", "holds")

MEANING = {
    "graph_rabbitmq": (
        "photos through six stages with free models, RabbitMQ, vs the graph in plain Celery"
    ),
    "graph_embedded": "the same on the embedded broker",
    "queue_image_text": "image-text worker vs a plain batched loop",
    "queue_enhance": "enhancement worker vs a plain batched loop",
    "enhance_cpu": "enhancing on a CPU vs the fastest other runtime with equal output",
    "text_int8": "embedding 128 sentences in int8 vs sentence-transformers in fp32",
    "text_small": "embedding 128 sentences, small encoder, vs sentence-transformers in fp32",
    "describer": "describing through Triton vs tritonclient's own loop",
    "describer_p99": "the same, 99th percentile of a request",
    "page_category": "choosing a page for a category, stores left out, vs returning it ready-made",
    "page_query": "the same for a new, misspelt query",
    "growth_page": "page of 5 businesses, largest directory vs smallest",
    "growth_image": "processing a photo, largest directory vs smallest",
    "soak_memory": "memory of a server under steady load, end vs beginning",
    "planner": "throughput, planned vs measured",
    "page_category_p99": (
        "99th percentile of category pages, 20 a second, vs an idle server's median"
    ),
    "page_query_p99": "the same for new queries",
    "growth_page_of_25": "page of 25 businesses, largest directory vs smallest",
    "load_page": "pages answered of 200 asked for a second vs when asked for one by one",
    "load_wait": "99th percentile at that rate vs the time of all pages that may wait",
    "text_int8_spearman": "agreement with people on STS-B dev, int8 vs fp32",
    "text_small_spearman": "the same, small encoder vs fp32",
    "queries_by_hand": "hand-written queries taken for the right category vs the best simple way",
    "ranking_ndcg": "ranking quality on the hold-out vs ConSE as published",
    "backfill_memory": "memory of a backfill, end vs beginning",
    "backfill_memory_slope": "what it grows by for each photo vs what is allowed",
    "backfill_in_flight": "most messages of a backfill that waited vs the bound",
    "backfill_upload_delay": "an upload beside a backfill vs an idle system's and one batch",
    "enhance_cpu_plain": "enhancing on a CPU vs a plain basicsr loop",
    "enhance_cpu_memory": "the same, peak memory",
    "serving_beside_training": "a page while the text model is trained vs one without",
    "serving_beside_training_p99": "the same, 99th percentile at 10 a second",
}
"""The claims in the order of the table, and what each compares. Others come after them."""


def ordered(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows in the order of the table."""
    places = {name: place for place, name in enumerate(MEANING)}
    return sorted(rows, key=lambda row: (places.get(row["name"], len(places)), row["name"]))


def number(value: float) -> str:
    """Three significant digits, and all of a whole number."""
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table, without a newline at its end."""
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    for row in ordered(rows):
        sign = "≥" if row["better"] == "higher" else "≤"
        of = {"ratio": "", "ours": f" {row['unit']}", "spread": ", the whole interval"}
        lines.append(
            (
                f"`{row['name']}`",
                MEANING.get(row["name"], ""),
                number(row["ours"]),
                number(row["baseline"]),
                row["unit"],
                _ratio(row),
                f"{sign} {row['target']:g}{of[row['target_of']]}",
                "yes" if row["holds"] else "**no**",
            )
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _ratio(row: Mapping[str, Any]) -> str:
    """With its interval, which a single reading has not."""
    low, high = row["spread"]
    return f"{row['ratio']:.3f}" + (f" ({low:.3f} to {high:.3f})" if low < high else "")


def in_page(page: str, content: str) -> str:
    """A page with `content` between the markers. Raises `ValueError` where there are none."""
    found = re.subn(
        f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})",
        lambda _: f"\n{content}\n\n",
        page,
        flags=re.DOTALL,
    )
    if found[1] != 1:
        raise ValueError(f"the page has no lines {BEGIN} and {END}, or several")
    return found[0]


def write(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Rows as JSON, a row a line, so that a change of one is a change of one line."""
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in ordered(rows))
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Every ratio with its interval, as a multiple of its target; one panel a direction."""
    from .plots import save, subplots

    # What cannot be drawn on a logarithmic scale is left to the table.
    drawn = [row for row in ordered(rows) if row["ratio"] > 0 and _target(row) > 0]
    parts = {
        better: [row for row in drawn if row["better"] == better] for better in ("higher", "lower")
    }
    parts = {better: part for better, part in parts.items() if part}
    if not parts:
        return
    figure, panels = subplots(
        len(parts),
        1,
        figsize=(8, 1.2 + 0.36 * len(drawn) + 0.8 * len(parts)),
        sharex=True,
        squeeze=False,
        height_ratios=[len(part) + 1 for part in parts.values()],
    )
    for panel, (better, part) in zip(panels[:, 0], parts.items(), strict=True):
        for place, row in enumerate(part):
            target = _target(row)
            middle = row["ratio"] / target
            ends = [max(end / target, 2**-10) for end in row["spread"]]
            colour = "tab:blue" if row["holds"] else "tab:red"
            panel.plot(ends, [place, place], color=colour, linewidth=2)
            panel.plot([middle], [place], "o", color=colour)
            panel.annotate(
                f"{row['ratio']:.2f}",
                (middle, place),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        panel.axvline(1, color="black", linewidth=1)
        panel.set_xscale("log", base=2)
        panel.set_yticks(range(len(part)), [row["name"] for row in part])
        panel.set_ylim(len(part) - 0.3, -0.9)
        panel.set_title(f"{better} is better", loc="left", fontsize=10)
        panel.grid(axis="x", alpha=0.3)
    panels[-1, 0].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panels[-1, 0].set_xlabel(
        "ratio to the baseline, as a multiple of its target (beside the point: the ratio itself)"
    )
    save(figure, path)


def _target(row: Mapping[str, Any]) -> float:
    """What is claimed, as a ratio."""
    if row["target_of"] != "ours":
        return float(row["target"])
    return float(row["target"] / row["baseline"]) if row["baseline"] else math.nan
