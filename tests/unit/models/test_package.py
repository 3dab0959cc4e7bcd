import subprocess
import sys
from pathlib import Path

import pytest

import models
from models import artefacts, registry
from models.base import Model
from models.errors import UnknownModel, WeightsMissing

ROOT = Path(models.__file__).resolve().parent.parent
HEAVY = ("torch", "basicsr", "timm", "transformers", "sentence_transformers", "onnxruntime")


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_every_module_imports_no_framework():
    code = (
        "import importlib, pkgutil, sys, models\n"
        "for found in pkgutil.walk_packages(models.__path__, 'models.'):\n"
        "    importlib.import_module(found.name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert run_python(code) == "[]"


def test_encoding_text_and_pictures_and_reading_never_imports_torch(weights, minilm, conse):
    minilm.load()
    conse.load()  # the artefacts exist from here on
    code = (
        "import sys, numpy, models\n"
        "from pathlib import Path\n"
        f"options = dict(weights=Path({str(weights)!r}), threads=1)\n"
        "picture = numpy.zeros((64, 64, 3), numpy.uint8)\n"
        "models.create('image_text', 'conse', **options)([picture])\n"
        "models.create('reader', 'rapidocr', **options)(picture)\n"
        "models.create('detector', 'ssdlite', **options)(picture)\n"
        "print('torch' in sys.modules)"
    )
    assert run_python(code) == "False"


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in registry.BACKENDS.items() for name in names]
)
def test_every_registered_backend_is_made_without_loading(kind, name, tmp_path):
    if name.endswith(":"):
        name += __file__
    options = {
        "onnx": {"folder": tmp_path},
        "open_clip": {"architecture": "ViT-B-32", "pretrained": "openai"},
        "openai": {"url": "http://127.0.0.1/v1", "model": "seer"},
    }.get(name, {})
    model = models.create(kind, name, weights=tmp_path, threads=1, **options)
    assert not model.is_loaded
    assert "@" in model.identity
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UnknownModel, match="compact, x4plus"):
        models.create("enhancer", "waifu", weights=Path("/nowhere"), threads=1)


def test_an_unknown_kind_is_answered_with_the_known_ones():
    with pytest.raises(UnknownModel, match="describer, text, reader, detector"):
        models.create("oracle", "x", weights=Path("/nowhere"), threads=1)


class Operators(Model):
    name = "operators-own"
    loads = 0

    def _load(self):
        type(self).loads += 1
        return object()


def test_an_operators_own_backend_is_named_by_its_module_and_class(tmp_path):
    model = models.create("text", f"{__name__}:Operators", weights=tmp_path, threads=3)
    assert type(model) is Operators
    assert model.identity == "operators-own@1"


def test_what_is_not_a_model_is_refused(tmp_path):
    with pytest.raises(UnknownModel, match="not a subclass"):
        models.create("text", "pathlib:Path", weights=tmp_path, threads=1)


def test_a_model_loads_once_and_again_only_after_it_was_unloaded(tmp_path):
    Operators.loads = 0
    model = Operators(weights=tmp_path, threads=1)
    assert model.load() is model.load()
    assert Operators.loads == 1
    model.unload()
    model.load()
    assert Operators.loads == 2


def test_an_artefact_that_cannot_be_made_says_what_to_do(tmp_path):
    blocked = tmp_path / "a-file"
    blocked.touch()
    with pytest.raises(WeightsMissing, match=r"models\.export compact"):
        artefacts.ensure(blocked, "compact")


def test_the_weights_folder_is_the_one_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv("JUSTLENS_MODEL_DIR", str(tmp_path))
    assert artefacts.default_weights() == tmp_path
