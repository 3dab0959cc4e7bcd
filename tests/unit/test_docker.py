"""The container files: that they are valid, harden what they run, and name what exists."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.main import app
from pipeline.queues import QUEUES
from pipeline.settings import Settings

DOCKER = Path(__file__).resolve().parents[2] / "docker"
FILES = sorted(path.name for path in DOCKER.glob("compose*.yaml"))
DOCKERFILES = sorted(path for path in DOCKER.glob("Dockerfile.*") if path.suffix != ".dockerignore")
PROGRAMS = Path(sys.executable).parent

PUBLISHED = {"page", "ingest_api", "relevancy_api", "catalogue_api", "flower", "grafana"}
# What runs once and ends.
ONCE = {"setup", "folders", "mongodb-replica-set"}

Service = dict[str, Any]


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((DOCKER / name).read_text())


def services(*names: str) -> Iterator[tuple[str, Service]]:
    """The services of the files, those that extend another one with what they take from it."""
    for file in names:
        for name, service in read(file)["services"].items():
            if "extends" in service:
                base = read(service["extends"]["file"])["services"][service["extends"]["service"]]
                service = {**base, **service}
            yield name, service


def is_ours(service: Service) -> bool:
    """Whether it runs an image of ours, which says itself whom it runs as."""
    return service.get("image") in ("justlens", "justlens-gpu")


def consumed(service: Service) -> set[str]:
    command = service.get("command", [])
    return set(command[command.index("-Q") + 1].split(",")) if "-Q" in command else set()


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


@pytest.mark.parametrize("name", FILES)
def test_a_compose_file_follows_the_specification(name: str) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    done = run(PROGRAMS / "check-jsonschema", *schema, DOCKER / name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_has_nothing_to_complain_about(path: Path) -> None:
    done = run(PROGRAMS / "hadolint", "--config", DOCKER / ".hadolint.yaml", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_queue_has_a_worker_and_every_worker_queues_that_exist() -> None:
    by_service = {name: consumed(service) for name, service in services("compose.yaml")}
    assert set().union(*by_service.values()) == set(QUEUES)
    assert sum(len(queues) for queues in by_service.values()) == len(QUEUES), "one pool a queue"


def test_the_services_on_the_gpu_do_the_work_of_those_that_they_replace() -> None:
    own = read("compose.gpu.yaml")["services"].items()
    replaced = {name for name, service in own if service.get("deploy", {}).get("replicas") == 0}
    assert replaced == {"worker-enhance", "worker-io"}
    cpu = dict(services("compose.yaml"))
    gpu = dict(services("compose.gpu.yaml"))
    lost = set().union(*(consumed(cpu[name]) for name in replaced))
    instead = ("gpu-enhance", "describe")
    assert lost == set().union(*(consumed(gpu[name]) for name in instead))
    # Its default models compute on the CPU: only who chooses OpenCLIP starts it.
    assert consumed(gpu["gpu-clip"]) == consumed(cpu["worker-clip"])
    assert gpu["gpu-clip"]["profiles"] == ["open-clip"]


def test_every_command_exists() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    commands = [service["command"] for _, service in services(*FILES) if "command" in service]
    used = {command[1] for command in commands if command[0] == "justlens"}
    assert "flower" in used
    assert used <= known
    for path in ("page", "ingest_api", "relevancy_api", "catalogue_api"):
        module = dict(services("compose.yaml"))[path]["command"][1].removesuffix(":app")
        assert find_spec(module), module


def test_every_variable_is_a_setting() -> None:
    named = {
        variable
        for _, service in services(*FILES)
        for variable in service.get("environment", {})
        if variable.startswith("JUSTLENS_")
    }
    for path in DOCKERFILES:
        named |= set(re.findall(r"\bJUSTLENS_\w+(?==)", path.read_text()))
    assert "JUSTLENS_METRICS_PORT" in named
    assert named <= {f"JUSTLENS_{name.upper()}" for name in Settings.model_fields}


def test_every_address_of_a_server_is_given() -> None:
    addresses = {
        f"JUSTLENS_{name.upper()}" for name in Settings.model_fields if name.endswith("_url")
    }
    optional = {
        "JUSTLENS_CDN_PUBLIC_URL",
        "JUSTLENS_CDN_PURGE_URL",
        "JUSTLENS_EVENTS_URL",  # the relational one
        "JUSTLENS_OPENAI_URL",
        "JUSTLENS_PUBLIC_PICTURES_URL",
        "JUSTLENS_RATE_LIMIT_URL",
    }
    for name, service in services("compose.yaml"):
        if service.get("image") == "justlens":
            assert addresses - optional <= set(service["environment"]), name


def test_no_password_has_a_default() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    example = (DOCKER / ".env.example").read_text()
    passwords = set(re.findall(r"\$\{(\w+_(?:PASSWORD|KEY))", text))
    assert len(passwords) == 10
    for name in passwords:
        assert f"${{{name}:?" in text, f"{name} must be asked for"
        assert f"\n{name}=\n" in example
    wanted = set(re.findall(r"(?:\$\{| environment: )(\w+)", text))
    assert wanted == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_only_what_people_look_at_is_published_and_to_this_machine() -> None:
    published = dict(services("compose.yaml", "compose.gpu.yaml"))
    published = {name: service for name, service in published.items() if "ports" in service}
    assert set(published) == PUBLISHED
    for service in published.values():
        assert all(port.startswith("${PUBLISH:-127.0.0.1}:") for port in service["ports"])
    assert read("compose.yaml")["networks"]["servers"]["internal"] is True


@pytest.mark.parametrize(
    ("name", "service"), list(services(*FILES)), ids=[name for name, _ in services(*FILES)]
)
def test_a_service_has_no_more_rights_than_it_needs(name: str, service: Service) -> None:
    if set(service) == {"deploy"}:
        return
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name != "milvus")
    assert service.get("cap_add", []) == (["CHOWN"] if name == "folders" else [])
    assert not service.keys() & {"privileged", "pid", "ipc", "devices"}
    assert service.get("network_mode", "none") == "none"
    if not is_ours(service):
        assert (service["user"] in ("root", "0", "0:0")) is (name == "folders")
    assert not service["image"].endswith(":latest")
    if name in ONCE:
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped"
    if name != "justlens":
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    if name != "beat":
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_what_a_service_writes_goes_to_volumes_and_memory() -> None:
    for name, service in services(*FILES):
        volumes = [volume.split(":") for volume in service.get("volumes", ())]
        assert all(mode == ["ro"] for source, _, *mode in volumes if source.startswith(".")), name
        if is_ours(service):
            memory = {place.partition(":")[0] for place in service["tmpfs"]}
            assert memory | {place for _, place, *_ in volumes} == {"/tmp", "/data"}, name


def test_our_images_do_not_run_as_root() -> None:
    for path in DOCKERFILES:
        stages = path.read_text().split("\nFROM ")
        assert "\nUSER 10001:10001\n" in stages[-1]
        assert "apt-get" not in stages[-1], "no build tools in the last stage"


def test_prometheus_asks_services_that_exist() -> None:
    known = {name for name, _ in services("compose.yaml", "compose.gpu.yaml")}
    asked: set[str] = set()
    for job in read("prometheus.yml")["scrape_configs"]:
        for config in job.get("dns_sd_configs", []):
            asked |= set(config["names"])
        for config in job.get("static_configs", []):
            asked |= {target.partition(":")[0] for target in config["targets"]}
    assert asked <= known
    workers = {name for name, service in services("compose.yaml") if consumed(service)}
    assert workers | PUBLISHED - {"grafana"} <= asked
