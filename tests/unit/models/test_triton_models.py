"""What is sent to Triton fits the model repository that is delivered, and so do the stand-ins."""

import io
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

import models
from models.errors import NotConfigured
from models.triton_describer import FRAME, TritonDescriber
from models.triton_models import OUTPUT, SERVED, LlamaVision, Llava
from pipeline.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
REPOSITORY = ROOT / "docker" / "triton" / "model_repository"
STAND_INS = ROOT / "tests" / "services" / "servers" / "triton" / "models"


def config(folder: Path) -> ModelConfig:
    return text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())


def tensors(found) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {one.name: (one.data_type, tuple(one.dims)) for one in found}


@pytest.mark.parametrize("name", sorted(SERVED))
def test_the_tensors_of_a_request_are_inputs_of_the_model(name: str) -> None:
    model, standing = SERVED[name](), config(STAND_INS / name)
    known = tensors(standing.input)
    for tensor in model.inputs("What is it?", b"jpeg", 16):
        data_type, dims = known[tensor.name()]
        sent = "STRING" if tensor.datatype() == "BYTES" else tensor.datatype()
        assert DataType.Name(data_type) == f"TYPE_{sent}"
        batch = [1] if standing.max_batch_size else []
        assert [size if size > 0 else 1 for size in (*batch, *dims)] == list(tensor.shape())
    assert OUTPUT in tensors(standing.output)
    assert standing.model_transaction_policy.decoupled is model.is_decoupled


@pytest.mark.parametrize("name", sorted(SERVED))
def test_the_delivered_model_is_on_a_backend_that_serves_it(name: str) -> None:
    delivered = config(REPOSITORY / name)
    assert delivered.name in ("", name)
    assert (delivered.backend or delivered.platform) == {
        Llava.name: "vllm",
        LlamaVision.name: "ensemble",
    }[name]


def test_the_ensemble_takes_what_its_stand_in_takes() -> None:
    delivered, standing = (config(folder / LlamaVision.name) for folder in (REPOSITORY, STAND_INS))
    assert tensors(standing.input).items() <= tensors(delivered.input).items()
    assert tensors(standing.output).items() <= tensors(delivered.output).items()
    assert standing.max_batch_size == delivered.max_batch_size
    required = {one.name for one in delivered.input if not one.optional}
    assert required <= {tensor.name() for tensor in LlamaVision().inputs("", b"", 1)}


def test_the_steps_of_the_ensemble_are_connected() -> None:
    delivered = config(REPOSITORY / LlamaVision.name)
    known = set(tensors(delivered.input))
    for step in delivered.ensemble_scheduling.step:
        assert set(step.input_map.values()) <= known, step.model_name
        known |= set(step.output_map.values())
    assert set(tensors(delivered.output)) <= known


@pytest.mark.parametrize(
    ("model", "shape", "sent"),
    [
        (Llava.name, (300, 600, 3), (336, 336)),
        (Llava.name, (100, 50, 3), (100, 100)),
        (Llava.name, (1000, 1000, 3), (336, 336)),
        (LlamaVision.name, (3000, 1000, 3), (373, 1120)),
        (LlamaVision.name, (500, 700, 3), (700, 500)),
    ],
)
def test_a_picture_is_sent_as_large_as_the_model_sees_it(model, shape, sent, monkeypatch) -> None:
    describer = TritonDescriber(model=model)
    asked = []

    def keep(picture: bytes, question: str, prompt) -> str:
        asked.append(Image.open(io.BytesIO(picture)))
        return '{"alt_text": "A wall"}'

    monkeypatch.setattr(describer, "_ask", keep)
    image = np.full(shape, (10, 200, 10), dtype=np.uint8)
    describer(image, labels=(), text=None, business="", categories=[], prompt="alt_text")
    assert asked[0].size == sent
    middle = asked[0].getpixel((sent[0] // 2, sent[1] // 2))
    assert np.abs(np.subtract(middle, (10, 200, 10))).max() < 12
    if sent[0] == sent[1] and shape[0] != shape[1]:
        assert np.abs(np.subtract(asked[0].getpixel((2, 2)), FRAME)).max() < 12


def test_settings_choose_servers_and_model(tmp_path: Path) -> None:
    chosen = Settings(
        describer="triton", triton_servers="a:1, grpcs://b:2,", triton_model="llava_1_5_7b"
    )
    options = chosen.describer_options()
    assert options["servers"] == ["a:1", "grpcs://b:2"]
    made = models.create("describer", "triton", weights=tmp_path, threads=1, **options)
    assert made.identity == "triton/llava_1_5_7b@1"


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"model": "llava"}, "JUSTLENS_TRITON_MODEL.*llama_3_2"),
        ({"servers": []}, "_SERVERS is empty"),
    ],
)
def test_a_setting_that_cannot_work_is_named(options, setting: str) -> None:
    with pytest.raises(NotConfigured, match=setting):
        TritonDescriber(**options)
