"""What a stage takes of one image, measured: time on a core, time waiting, and how that varies.

They are read from a file that ``justlens capacity measure`` has written, or made from what running
workers tell Prometheus.
"""

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigurationError
from pipeline.messages import explain
from pipeline.queues import CPU_QUEUES, GPU_QUEUES, IO_QUEUES, Stage

MEASURED = Path(__file__).with_name("service_times.json")
"""Times of the embedded models, taken on two cores; see `measured` in it."""

POOLS: Mapping[str, tuple[Stage, ...]] = {
    name: tuple(stage for stage in Stage if stage.value in queues)
    for name, queues in (("gpu", GPU_QUEUES), ("io", IO_QUEUES), ("cpu", CPU_QUEUES))
}
"""The stages of each pool of workers."""

# Of times that nobody has seen vary: halfway between constant and exponential.
UNKNOWN_SCV = 0.5


class StageTime(BaseModel):
    """One stage of one image.

    Attributes:
        cpu_seconds: on a core, in the slot's own thread; many slots compute at a time.
        serial_cpu_seconds: on a core, in a thread that a process has one of: the forward pass
            behind the batcher, and the consumer of messages.
        wait_seconds: in a slot without a core: stores, servers, a batch that fills.
        scv: squared coefficient of variation of all three together.
        batch: most images that one forward pass takes.
        gpu_seconds: of one forward pass on a GPU, however many images are in it; 0: on cores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu_seconds: float = Field(ge=0)
    serial_cpu_seconds: float = Field(0.0, ge=0)
    wait_seconds: float = Field(0.0, ge=0)
    scv: float = Field(UNKNOWN_SCV, ge=0)
    batch: int = Field(1, ge=1)
    gpu_seconds: float = Field(0.0, ge=0)

    @property
    def core_seconds(self) -> float:
        """On cores, in whichever thread."""
        return self.cpu_seconds + self.serial_cpu_seconds

    @property
    def seconds(self) -> float:
        """In a slot, when nothing else runs."""
        return self.core_seconds + self.wait_seconds + self.gpu_seconds


class ServiceTimes(BaseModel):
    """What an image takes of workers and stores.

    Attributes:
        measured: where, when and of how many images, in words.
        stages: all six.
        bytes_per_image: that each store keeps of an image: ``originals``, ``enhanced``,
            ``documents``, ``relational``, ``vectors``.
        calls_per_image: of each store, by its name.
        worker_gib: memory of a worker process, by pool.
        page_seconds: on a core, of one result page.
        page_reads: calls of the document store for one result page, on whichever machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    measured: str = ""
    stages: Mapping[Stage, StageTime]
    bytes_per_image: Mapping[str, float] = Field(default_factory=dict)
    calls_per_image: Mapping[str, float] = Field(default_factory=dict)
    worker_gib: Mapping[str, float] = Field(default_factory=dict)
    page_seconds: float = Field(0.0, ge=0)
    page_reads: float = Field(2.0, ge=0)

    def model_post_init(self, _: Any) -> None:
        """A plan without one of the stages would be too small."""
        if missing := [stage.value for stage in Stage if stage not in self.stages]:
            raise ValueError(f"no times of {', '.join(missing)}")

    @property
    def core_seconds(self) -> float:
        """Time on cores of all stages together."""
        return sum(time.core_seconds for time in self.stages.values())


def read(path: Path) -> ServiceTimes:
    """Service times of a JSON or TOML file.

    Raises:
        ConfigurationError: there is none, or it is not in this form; the message names the field.
    """
    try:
        return ServiceTimes.model_validate(read_table(path))
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {explain(error)}") from error


def read_table(path: Path) -> dict[str, Any]:
    """What a JSON or TOML file holds.

    Raises:
        ConfigurationError: it cannot be read as either.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON or TOML: {error}") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} is no table of names and values")
    return found


class Figures:
    """The figures of worker processes at one moment, or between two.

    Args:
        texts: what each process serves under ``/metrics``.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._samples: dict[tuple[int, str, tuple[tuple[str, str], ...]], float] = {
            (process, sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
            for process, text in enumerate(texts)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def since(self, before: "Figures") -> "Figures":
        """What has been added since; both of the same processes in the same order."""
        found = Figures(())
        found._samples = {
            key: value - before._samples.get(key, 0.0) for key, value in self._samples.items()
        }
        return found

    def total(self, name: str, /, process: int | None = None, **labels: str) -> float:
        """The sum of all samples of that name that have these labels."""
        return sum(value for _, value in self._with(name, process, labels))

    def buckets(self, name: str, **labels: str) -> dict[float, float]:
        """Observations up to each bound of a histogram, all that fit together."""
        counts: dict[float, float] = {}
        for found, value in self._with(f"{name}_bucket", None, labels):
            bound = float(found["le"])
            counts[bound] = counts.get(bound, 0.0) + value
        return dict(sorted(counts.items()))

    def by(self, name: str, label: str) -> dict[str, float]:
        """The sums of all samples of that name for each value of a label."""
        sums: dict[str, float] = {}
        for found, value in self._with(name, None, {}):
            sums[found.get(label, "")] = sums.get(found.get(label, ""), 0.0) + value
        return sums

    @property
    def processes(self) -> set[int]:
        """Their numbers."""
        return {process for process, _, _ in self._samples}

    def _with(
        self, name: str, process: int | None, labels: Mapping[str, str]
    ) -> list[tuple[dict[str, str], float]]:
        return [
            (dict(found), value)
            for (number, sample, found), value in self._samples.items()
            if sample == name
            and process in (None, number)
            and all(dict(found).get(key) == wanted for key, wanted in labels.items())
        ]


def stage_times(
    figures: Figures, batches: Mapping[Stage, int] | None = None
) -> dict[Stage, StageTime]:
    """The times of the stages that workers have run, by their figures.

    What a process has computed outside its slots, in its batcher and its consumer, is shared out
    among its stages by the time that their slots have waited; with a worker for each stage nothing
    has to be shared out. Time in a slot that was not spent on a core is waiting; on a machine whose
    cores are all busy it is waiting for a core as well, so that measurements are best taken with
    few images at a time.

    Args:
        batches: most images in a forward pass of a stage; 1 where it is not named.
    """
    found: dict[Stage, StageTime] = {}
    serial = _outside_slots(figures)
    for stage in Stage:
        labels: dict[str, str] = {"stage": stage.value, "outcome": "done"}
        runs = figures.total("justlens_stage_seconds_count", None, **labels)
        if not runs:
            continue
        seconds = figures.total("justlens_stage_seconds_sum", None, **labels) / runs
        cpu = figures.total("justlens_stage_cpu_seconds_total", stage=stage.value) / runs
        alone = serial.get(stage, 0.0) / runs
        found[stage] = StageTime(
            cpu_seconds=cpu,
            serial_cpu_seconds=alone,
            wait_seconds=max(0.0, seconds - cpu - alone),
            scv=_scv(figures.buckets("justlens_stage_seconds", **labels)),
            batch=(batches or {}).get(stage, 1),
        )
    return found


def _outside_slots(figures: Figures) -> dict[Stage, float]:
    """CPU seconds of processes that none of their slots has used, by stage."""
    shared: dict[Stage, float] = {}
    for process in figures.processes:
        whole = figures.total("process_cpu_seconds_total", process)
        waited: dict[Stage, float] = {}
        for stage in Stage:
            cpu = figures.total("justlens_stage_cpu_seconds_total", process, stage=stage.value)
            seconds = figures.total(
                "justlens_stage_seconds_sum", process, stage=stage.value, outcome="done"
            )
            whole -= cpu
            if seconds:
                waited[stage] = max(0.0, seconds - cpu)
        among = sum(waited.values())
        for stage, seconds in waited.items():
            share = seconds / among if among else 1 / len(waited)
            shared[stage] = shared.get(stage, 0.0) + max(0.0, whole) * share
    return shared


def _scv(buckets: Mapping[float, float]) -> float:
    """From a cumulative histogram, each observation taken for the middle of its bucket."""
    counted, lower, squares, sums = 0.0, 0.0, 0.0, 0.0
    for bound, upto in buckets.items():
        here = upto - counted
        middle = lower if math.isinf(bound) else (lower + bound) / 2
        squares += here * middle**2
        sums += here * middle
        counted, lower = upto, bound
    if not counted or not sums:
        return UNKNOWN_SCV
    middle = sums / counted
    return max(0.0, squares / counted / middle**2 - 1)
