"""Enhancers from files of weights: which network it is, and what is refused."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import models
from models.enhancer.architectures import RRDB, Architecture, Compact, SRResNet
from models.enhancer.basicsr_networks import build
from models.enhancer.checkpoints import interpolate, read
from models.enhancer.networks import FromFile
from models.errors import UnknownModel, UnsuitableInput, UnsuitableWeights, WeightsMissing

SMALL: tuple[Architecture, ...] = (
    Compact(features=8, blocks=3, scale=4),
    Compact(features=16, blocks=2, scale=2),
    RRDB(features=8, blocks=2, scale=4, growth=4),
    RRDB(features=16, blocks=1, scale=2, growth=8),
    SRResNet(features=8, blocks=3, scale=4),
    SRResNet(features=8, blocks=2, scale=3),
    SRResNet(features=8, blocks=2, scale=2),
)


def network(architecture: Architecture, seed: int = 0) -> torch.nn.Module:
    """Random weights, as large as a trained network's, so that its results differ from a resize."""
    torch.manual_seed(seed)
    made = build(architecture).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 4:
                torch.nn.init.xavier_uniform_(parameter)
    return made


def enhancer(path: Path, weights: Path, **options: object) -> FromFile:
    made = models.create(
        "enhancer", f"path:{path}", weights=weights, threads=2, device="cpu", **options
    )
    assert isinstance(made, FromFile)
    return made


def stored(folder: Path, architecture: Architecture, seed: int = 0) -> Path:
    path = folder / f"{seed}.pth"
    torch.save({"params": network(architecture, seed).state_dict()}, path)
    return path


def difference(first: np.ndarray, second: np.ndarray) -> int:
    assert first.shape == second.shape
    return int(np.abs(first.astype(int) - second.astype(int)).max())


@pytest.fixture(scope="module")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.mark.parametrize("architecture", SMALL, ids=str)
def test_the_network_follows_from_its_weights_and_computes_the_same(
    architecture: Architecture, tmp_path: Path, models_folder: Path, cat: np.ndarray
) -> None:
    made = network(architecture)
    path = tmp_path / "weights.pth"
    torch.save({"params": made.state_dict()}, path)
    photo = np.ascontiguousarray(cat[100:132, 100:140])
    found = enhancer(path, models_folder)
    assert found.architecture == architecture
    assert found.scales == (architecture.scale,)
    with torch.inference_mode():
        given = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
        expected = made(given)[0].permute(1, 2, 0).clamp(0, 1).mul(255).round().byte().numpy()
    assert difference(found([photo], architecture.scale)[0], expected) <= 1


@pytest.mark.parametrize("architecture", SMALL, ids=str)
def test_tiles_of_any_network_show_no_seam(
    architecture: Architecture, tmp_path: Path, models_folder: Path, cat: np.ndarray
) -> None:
    path = stored(tmp_path, architecture)
    photo = np.ascontiguousarray(cat[100:211, 100:267])
    tile = 2 * architecture.halo + 24
    cut = enhancer(path, models_folder, tile=tile)
    (tiled,) = cut([photo], architecture.scale)
    (whole,) = enhancer(path, models_folder, tile=512)([photo], architecture.scale)
    assert cut.forward_passes > 1
    assert whole.shape == (111 * architecture.scale, 167 * architecture.scale, 3)
    assert difference(tiled, whole) <= 1


@pytest.mark.parametrize(
    "form", ["params", "params_ema", "plain", "parallel", "safetensors", "parallel safetensors"]
)
def test_every_form_of_a_file_gives_the_same_weights(
    form: str, tmp_path: Path, compact, models_folder: Path
) -> None:
    state = read(compact.file).tensors()
    path = tmp_path / f"weights.{'safetensors' if 'safetensors' in form else 'pth'}"
    if "safetensors" in form:
        before = "module." if "parallel" in form else ""
        save_file({f"{before}{key}": value for key, value in state.items()}, str(path))
    else:
        worse = {key: torch.zeros_like(value) for key, value in state.items()}
        contents = {
            "params": {"params": state},
            "params_ema": {"params": worse, "params_ema": state},
            "plain": OrderedDict(state),
            "parallel": {f"module.{key}": value for key, value in state.items()},
        }
        torch.save(contents[form], path)
    found = read(path)
    assert found.architecture == Compact(features=64, blocks=16, scale=4)
    assert all(torch.equal(found.tensors()[key], value) for key, value in state.items())


def test_weights_in_bfloat16_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    state = {key: value.bfloat16() for key, value in network(SMALL[0]).state_dict().items()}
    save_file(state, str(path))
    found = read(path)
    assert found.architecture == SMALL[0]
    assert all(torch.equal(found.tensors()[key], value.float()) for key, value in state.items())


def test_packaged_weights_and_the_same_in_a_file_enhance_alike(
    compact, tmp_path: Path, models_folder: Path, cat: np.ndarray
) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"params_ema": read(compact.file).tensors()}, path)
    photo = np.ascontiguousarray(cat[100:140, 100:150])
    assert difference(enhancer(path, models_folder)([photo], 4)[0], compact([photo], 4)[0]) <= 1


def test_an_identity_is_of_the_content(tmp_path: Path, models_folder: Path) -> None:
    first, second = (stored(tmp_path, SMALL[0], seed) for seed in (1, 2))
    copy = tmp_path / "copy.pth"
    copy.write_bytes(first.read_bytes())
    identities = [enhancer(path, models_folder).identity for path in (first, second, copy)]
    assert identities[0] == identities[2] != identities[1]


def test_files_that_hold_no_network_of_ours_are_refused_with_what_is_known(
    tmp_path: Path, models_folder: Path
) -> None:
    other = tmp_path / "other.pth"
    torch.save(torch.nn.Conv2d(3, 8, 3).state_dict(), other)
    with pytest.raises(UnsuitableWeights, match=r"RRDBNet.*its first tensors: weight, bias"):
        read(other)
    text = tmp_path / "text.pth"
    text.write_text("hello")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(stored(tmp_path, SMALL[0]).read_bytes()[:-4000])
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"hello")
    number = tmp_path / "number.pth"
    torch.save(5, number)
    for path in (text, cut, broken, number):
        with pytest.raises(UnsuitableWeights, match=path.name):
            read(path)
    with pytest.raises(WeightsMissing, match=r"absent\.pth"):
        enhancer(tmp_path / "absent.pth", models_folder).load()


def test_a_file_runs_no_code(tmp_path: Path) -> None:
    path, mark = tmp_path / "code.pth", tmp_path / "mark"

    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(mark),)

    torch.save({"params": Code()}, path)
    with pytest.raises(UnsuitableWeights):
        read(path)
    assert not mark.exists()


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path, models_folder: Path) -> None:
    state = network(SMALL[2]).state_dict()
    del state["conv_hr.bias"]
    path = tmp_path / "lacking.pth"
    torch.save(state, path)
    with pytest.raises(UnsuitableWeights, match=r"conv_hr\.bias"):
        enhancer(path, models_folder).load()


def test_denoising_lies_between_two_checkpoints(
    tmp_path: Path, models_folder: Path, cat: np.ndarray
) -> None:
    strong, weak = (stored(tmp_path, SMALL[0], seed) for seed in (1, 2))
    photo = np.ascontiguousarray(cat[100:120, 100:120])

    def between(strength: float) -> FromFile:
        return enhancer(strong, models_folder, weak_denoise=weak, denoise_strength=strength)

    assert (
        difference(between(1)([photo], 4)[0], enhancer(strong, models_folder)([photo], 4)[0]) <= 1
    )
    assert difference(between(0)([photo], 4)[0], enhancer(weak, models_folder)([photo], 4)[0]) <= 1
    half = between(0.5)([photo], 4)[0]
    for end in (0, 1):
        assert difference(half, between(end)([photo], 4)[0]) > 1
    assert between(0.5).removes_noise and not enhancer(strong, models_folder).removes_noise
    assert len({between(0.5).identity, between(0.6).identity, between(1).identity}) == 3


def test_checkpoints_of_two_networks_are_not_mixed(tmp_path: Path) -> None:
    first, second = (read(stored(tmp_path, SMALL[number], number)) for number in (0, 1))
    with pytest.raises(UnsuitableWeights, match="cannot be interpolated"):
        interpolate(first, second, 0.5)


def test_an_unknown_name_lists_what_there_is(models_folder: Path) -> None:
    with pytest.raises(UnknownModel, match=r"compact, x4plus, x4plus_anime, path:"):
        models.create("enhancer", "best", weights=models_folder, threads=1)
    with pytest.raises(UnknownModel, match="names no file"):
        models.create("enhancer", "path:", weights=models_folder, threads=1)


def test_a_tile_no_larger_than_its_halos_is_refused(
    tmp_path: Path, models_folder: Path, cat: np.ndarray
) -> None:
    with pytest.raises(UnsuitableInput, match="halos"):
        enhancer(stored(tmp_path, SMALL[0]), models_folder, tile=14)([cat], 4)
