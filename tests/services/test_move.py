"""A directory moves from a data folder to servers and comes back as a back-up."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create
from api.wiring import Services
from pipeline.backup.parts import StoresSource, stores_by_part
from pipeline.forgetting import Forgetting
from pipeline.records import ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from tests.pictures import green
from tests.services.conftest import Site
from tests.services.test_profiles import rounded, run
from tests.shops import Outbox

pytestmark = pytest.mark.services

PAGES = ("/v1/relevance/shop-1?query=green+paint", "/v1/catalogue/shop-1/images")


def everything(stores: Stores) -> dict[str, Any]:
    """All rows and objects of stores."""
    source = StoresSource(stores)
    rows = {part: sorted(source.rows(part), key=repr) for part in stores_by_part(stores)}
    return {**rows, "objects": {key: read() for key, read in source.objects()}}


def pages(chosen: Settings) -> list[Any]:
    """What the web applications answer."""
    services = Services(chosen, Outbox())
    with TestClient(create(lambda: services)) as client:
        return [rounded(client.get(page).json()) for page in PAGES]


def settings_of(folder: Path, environment: dict[str, str]) -> Settings:
    """Of web applications that answer anybody, hide nothing and write nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return Settings(
            data_dir=folder,
            open_to="all",
            rate_limit_address="",
            catalogue_rules=frozenset(),
            capture_queries=False,
        )


@pytest.mark.timeout(300)
def test_a_directory_moves_to_servers_and_back(
    site: Site, tmp_path: Path, services_environment: dict[str, str]
) -> None:
    models = {name: site.environment[name] for name in site.environment if name.startswith("JUST")}
    site.worker()
    site.take_in(4)
    site.intake.accept_bytes("shop-1", 9, green(1))
    site.until(lambda: site.states() == {ImageState.DONE: 5}, "all are done")
    Forgetting(site.stores, lambda _queue, _keys: 0).image("shop-1", 4)
    site.stores.objects.put("models/text/1.onnx", b"weights")

    target = tmp_path / "servers.env"
    target.write_text("".join(f"{name}={value}\n" for name, value in services_environment.items()))
    on_servers = {**models, **services_environment}
    with pytest.raises(AssertionError, match="would stay behind"):
        run(site.folder, "move", str(target), **models)
    for process in site.processes:
        process.terminate()
        process.wait(20)
    site.processes.clear()
    site.broker.stop()

    moved = run(site.folder, "move", str(target), **models)
    assert moved["rows"]["images"] == 5
    assert moved["refused"] == []
    served = settings_of(tmp_path / "elsewhere", on_servers)
    answers = pages(settings_of(site.folder, models))
    # The first and the last have the same bytes.
    assert len(answers[0]["dynamic"]) == 3
    assert pages(served) == answers
    agree = run(tmp_path / "elsewhere", "doctor", "--consistency", "--grace", "0s", **on_servers)
    assert agree["consistent"]

    run(tmp_path / "elsewhere", "backup", str(tmp_path / "back-up"), **on_servers)
    back = {**models, "JUSTLENS_PROFILE": "embedded"}
    run(tmp_path / "new", "restore", str(tmp_path / "back-up"), **back)
    restored = open_stores(Settings(data_dir=tmp_path / "new"))
    assert everything(restored) == everything(site.stores)
    restored.close()
