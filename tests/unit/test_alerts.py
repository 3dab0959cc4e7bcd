"""The alerts: that they ask for figures that exist, and that the runbook explains each of them."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from api.wiring import Services
from cli.main import app
from tests.figures import known_samples

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
GROUPS = yaml.safe_load((ROOT / "docker" / "alerts.yml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}

# Of Prometheus itself, and of every figure that it collects.
OF_PROMETHEUS = {"up"}
LABELS_OF_ALL = {"job", "instance", "le"}

SAMPLE = re.compile(r"\b(up|justlens_\w+)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
# What carries the text of an annotation: {{ $labels.queue }}.
SHOWN = re.compile(r"\$labels\.(\w+)")

each = pytest.mark.parametrize("name", sorted(ALERTS))


def labels_by_metric() -> dict[str, set[str]]:
    """The labels of each metric, as the table in the documentation has them."""
    rows = re.findall(r"^\| (`justlens_.*?) \| (.*?) \|", OPERATIONS, re.MULTILINE)
    return {
        metric: set(re.findall(r"\w+", labels))
        for metrics, labels in rows
        for metric in re.findall(r"justlens_\w+", metrics)
    }


def section(name: str) -> str:
    """What the runbook says of an alert."""
    return RUNBOOK.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def commands() -> list[str]:
    """Every command of ours in the runbook."""
    blocks = re.findall(r"^    (justlens .*)$", RUNBOOK, re.MULTILINE)
    return sorted({*blocks, *re.findall(r"`(justlens [^`…]+)`", RUNBOOK)})


def test_prometheus_reads_the_alerts() -> None:
    config = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text())
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    mounted = {volume.split(":")[1] for volume in compose["services"]["prometheus"]["volumes"]}
    assert config["rule_files"] == ["alerts.yml"]
    assert {"/etc/prometheus/prometheus.yml", "/etc/prometheus/alerts.yml"} <= mounted


def test_what_operators_must_hear_of_has_an_alert() -> None:
    asked = " ".join(rule["expr"] for rule in ALERTS.values())
    for name in (
        "oldest_message_seconds",
        'queue_depth{queue=~"error',
        "images_sent_again_total",
        "stage_seconds_bucket",
        "request_seconds_bucket",
        "workers",
        "broker_up",
        "dependency_up",
        "degraded_answers_total",
        "disk_free_ratio",
        "shadow_questions_total",
    ):
        assert f"justlens_{name}" in asked


@each
def test_an_alert_asks_for_figures_that_exist_by_labels_that_they_have(
    name: str, shops: Services
) -> None:
    expression = ALERTS[name]["expr"]
    known, documented = known_samples(shops) | OF_PROMETHEUS, labels_by_metric()
    asked = SAMPLE.findall(expression)
    assert asked
    labels = set(LABELS_OF_ALL)
    for metric, matchers in asked:
        assert metric in known
        # Without the endings that a histogram and a counter give their samples.
        metric = metric if metric in documented else metric.removesuffix("_bucket")
        own = documented[metric] if metric not in OF_PROMETHEUS else set()
        assert set(MATCHER.findall(matchers)) <= own | LABELS_OF_ALL
        labels |= own
    grouped = [set(re.findall(r"\w+", names)) for names in GROUPING.findall(expression)]
    shown = set(SHOWN.findall(str(ALERTS[name]["annotations"])))
    assert set().union(*grouped, shown) <= labels
    assert shown <= set().union(*grouped, {"instance"})
    assert expression.count("(") == expression.count(")")


@each
def test_an_alert_says_how_bad_it_is_and_what_it_is_about(name: str) -> None:
    rule: dict[str, Any] = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert all(rule["annotations"].values())
    # An increase over half an hour is slow enough by itself.
    assert re.fullmatch(r"\d+m", rule.get("for", "0m"))


@each
def test_the_runbook_says_of_an_alert_what_it_means_and_what_to_do(name: str) -> None:
    assert ALERTS[name]["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    for part in ("**Means.**", "**Look.**", "**Do.**", "**Goes away**"):
        assert part in section(name)


def test_the_runbook_explains_no_alert_that_there_is_not() -> None:
    assert set(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)) == set(ALERTS)


@pytest.mark.parametrize("line", commands())
def test_a_command_in_the_runbook_is_understood(line: str) -> None:
    command: Any = get_command(app)
    words = shlex.split(line)[1:]
    name = ""
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    assert command.make_context(name, words)
