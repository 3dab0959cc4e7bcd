"""What an import costs: no framework before a model needs it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    *("torch", "transformers", "sentence_transformers", "onnxruntime"),
    *("mlflow", "pyarrow", "pandas", "scipy", "matplotlib"),
)


@pytest.mark.parametrize("module", ["api.relevancy", "api.main", "cli.main", "tasks"])
def test_importing_a_program_imports_no_framework(module: str, tmp_path: Path) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "JUSTLENS_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert not (tmp_path / "data").exists(), "an import made a folder"
