"""How Flower and the workers of ``justlens up`` are started."""

from pathlib import Path

import pytest

from cli.flower import arguments, checked, flower
from cli.processes import System, processes
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings, settings

PASSWORD = "correct-horse"


@pytest.mark.parametrize(
    "auth", ["", "admin", "admin:", f":{PASSWORD}", f"a:{PASSWORD},b:c", "a:b c"]
)
def test_flower_refuses_what_is_no_password_without_repeating_it(auth: str) -> None:
    with pytest.raises(ConfigurationError, match="JUSTLENS_FLOWER_AUTH") as refused:
        checked(auth)
    assert PASSWORD not in str(refused.value)


def test_flower_does_not_start_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUSTLENS_FLOWER_AUTH", raising=False)
    settings.cache_clear()
    with pytest.raises(ConfigurationError, match="user:password"):
        flower()


def test_where_flower_listens_is_a_setting_and_an_option(tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path, flower_host="0.0.0.0", flower_port=5000)
    assert {"--address=0.0.0.0", "--port=5000"} <= {*arguments(chosen, "", None)}
    assert {"--address=::1", "--port=0"} <= {*arguments(chosen, "::1", 0)}


def test_no_password_is_on_a_command_line(tmp_path: Path) -> None:
    started = processes(Settings(data_dir=tmp_path), port=8000, flower=f"admin:{PASSWORD}")
    assert "flower" in {process.name for process in started}
    assert PASSWORD not in " ".join(word for process in started for word in process.command)


def test_each_worker_has_a_port_for_its_figures(tmp_path: Path) -> None:
    def figures(**chosen: int) -> dict[str, str]:
        return System(Settings(data_dir=tmp_path, **chosen), port=8000).figures

    assert figures() == {
        "api": "http://127.0.0.1:8000/metrics",
        "worker-gpu": "http://127.0.0.1:8001/metrics",
        "worker-cpu": "http://127.0.0.1:8002/metrics",
    }
    assert figures(metrics_port=9100)["worker-cpu"] == "http://127.0.0.1:9101/metrics"
