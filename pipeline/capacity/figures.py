"""What a node can do and what it costs: figures that the operator gives, in a file.

``prices.toml`` beside this module is an example of it. Its prices are nobody's, and what it says of
nodes is said there to be an assumption or has its source.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.capacity.service_times import POOLS, ServiceTimes, StageTime, read_table
from pipeline.errors import ConfigurationError
from pipeline.messages import explain
from pipeline.queues import SLOTS, Stage

EXAMPLE = Path(__file__).with_name("prices.toml")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(_Table):
    """A machine that workers or web processes run on.

    Attributes:
        speed: of one of its cores, in those that the service times were measured on.
    """

    cores: int = Field(ge=1)
    memory_gib: float = Field(gt=0)
    gpus: int = Field(0, ge=0)
    speed: float = Field(1.0, gt=0)
    price_per_hour: float = Field(ge=0)


class WorkerShape(_Table):
    """A worker process of a pool.

    Attributes:
        machine: the kind that it runs on.
        cores: that it can use. Python computes on one at a time, except where models compute.
        slots: messages that it works at; empty: what a worker opens by itself.
        memory_gib: empty: as measured.
    """

    machine: str
    cores: int = Field(1, ge=1)
    slots: int | None = Field(None, ge=1)
    memory_gib: float | None = Field(None, gt=0)


class Node(_Table):
    """A server of a store, of the broker, or of a model.

    Attributes:
        least: nodes of an installation, however small.
        copies: nodes that hold each piece of the data; they come in groups of so many.
        calls_per_second: that a group of copies answers; messages, for the broker. 0: no limit.
        bytes_per_second: likewise.
        stored_gb: that a node has room for on its disk. 0: it keeps nothing.
        memory_gb: that a node has for its index, whose size is that of the data times
            ``index_factor``. 0: it needs none.
        utilisation: most of these that is planned for.
        source: where the figures are from.
    """

    least: int = Field(1, ge=1)
    copies: int = Field(1, ge=1)
    calls_per_second: float = Field(0.0, ge=0)
    bytes_per_second: float = Field(0.0, ge=0)
    stored_gb: float = Field(0.0, ge=0)
    memory_gb: float = Field(0.0, ge=0)
    index_factor: float = Field(1.0, gt=0)
    data_factor: float = Field(1.0, gt=0)
    utilisation: float = Field(0.6, gt=0, le=1)
    price_per_hour: float = Field(ge=0)
    price_per_gb_month: float = Field(0.0, ge=0)
    source: str


class Gpu(_Table):
    """What one GPU does, as given.

    Attributes:
        images_per_second: by stage, with full batches of that stage.
        batch: images in one forward pass, by stage.
        slots: messages that a worker with one works at (``--concurrency``); half of a stage's
            are in its pass, the others gather for the next. Empty: what a worker opens by itself.
        source: where the figures are from.
    """

    images_per_second: Mapping[Stage, float]
    batch: Mapping[Stage, int]
    slots: int | None = Field(None, ge=1)
    source: str


class Describer(_Table):
    """A vision-language model behind Triton.

    Attributes:
        seconds: that an answer takes when its server has as much to do as it can.
        images_per_second: of one of its GPUs.
        source: where the figures are from.
    """

    seconds: float = Field(gt=0)
    images_per_second: float = Field(gt=0)
    source: str


class Figures(_Table):
    """All that the file says."""

    currency: str
    machines: Mapping[str, Machine]
    workers: Mapping[str, WorkerShape]
    nodes: Mapping[str, Node]
    gpus: Mapping[str, Gpu] = Field(default_factory=dict)
    describers: Mapping[str, Describer] = Field(default_factory=dict)

    def model_post_init(self, _: Any) -> None:
        """What refers to something else finds it."""
        for pool in (*POOLS, "api"):
            if pool not in self.workers:
                raise ValueError(f"no table workers.{pool}")
        for pool, shape in self.workers.items():
            if shape.machine not in self.machines:
                raise ValueError(f"workers.{pool}: there is no table machines.{shape.machine}")
        for gpu in self.gpus.values():
            if set(gpu.images_per_second) != set(gpu.batch):
                raise ValueError("images_per_second and batch of a GPU name the same stages")
        if missing := sorted(NODES - set(self.nodes)):
            raise ValueError(f"no table nodes.{missing[0]}")


NODES = frozenset({"rabbitmq", "joins", "documents", "relational", "objects", "vectors", "triton"})


def read(path: Path) -> Figures:
    """The figures of a TOML or JSON file.

    Raises:
        ConfigurationError: there is none, or it is not in this form; the message names the field.
    """
    try:
        return Figures.model_validate(read_table(path))
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {explain(error)}") from error


def on_gpu(times: ServiceTimes, figures: Figures, name: str) -> ServiceTimes:
    """The same times with the forward passes of a GPU's stages on it.

    Raises:
        ConfigurationError: the figures know no such GPU.
    """
    gpu = _named(figures.gpus, name, "gpus")
    changed = {
        stage: times.stages[stage].model_copy(
            update={
                "serial_cpu_seconds": 0.0,
                "batch": gpu.batch[stage],
                "gpu_seconds": gpu.batch[stage] / rate,
            }
        )
        for stage, rate in gpu.images_per_second.items()
    }
    return times.model_copy(update={"stages": {**times.stages, **changed}})


def with_describer(times: ServiceTimes, figures: Figures, name: str) -> ServiceTimes:
    """The same times with descriptions from a model behind Triton.

    Raises:
        ConfigurationError: the figures know no such describer.
    """
    found = _named(figures.describers, name, "describers")
    before: StageTime = times.stages[Stage.DESCRIBE]
    waits = {"wait_seconds": before.wait_seconds + found.seconds}
    stages = {**times.stages, Stage.DESCRIBE: before.model_copy(update=waits)}
    return times.model_copy(update={"stages": stages})


def slots(shape: WorkerShape, pool: str) -> int:
    """Messages that a worker of a pool works at, at a time."""
    return shape.slots or sum(SLOTS[stage.value] for stage in POOLS[pool])


def _named(tables: Mapping[str, Any], name: str, kind: str) -> Any:
    if name not in tables:
        known = ", ".join(tables) or "none"
        raise ConfigurationError(f"the prices have no table {kind}.{name}; there are: {known}")
    return tables[name]
