"""An image of any size within the memory there is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.enhancer import architectures, layout
from models.enhancer.networks import Compact
from models.errors import OutOfMemory
from tests.unit.models.test_enhancer_checkpoints import SMALL, enhancer, network, stored

ROOT = Path(__file__).resolve().parents[3]
GIB = 2**30


class SmallDevice(torch.nn.Module):
    """The network on a device whose memory suffices for so many input px only."""

    def __init__(self, network: torch.nn.Module, pixels: int) -> None:
        super().__init__()
        self.network = network
        self.pixels = pixels
        self.asked: list[int] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.asked.append(batch.shape[0] * batch.shape[2] * batch.shape[3])
        if self.asked[-1] > self.pixels:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return self.network(batch)


def on_a_small_device(enhancer: Compact, pixels: int) -> SmallDevice:
    loaded = enhancer.load()
    device = SmallDevice(loaded.network, pixels)
    enhancer._loaded = loaded._replace(network=device)
    return device


def test_out_of_memory_tiles_are_halved_and_the_image_goes_on(weights, compact, coffee) -> None:
    photo = coffee[100:300, 100:340]
    enhancer = Compact(weights=weights, threads=2, device="cpu")
    device = on_a_small_device(enhancer, 150 * 150)
    (result,) = enhancer([photo], 2)
    (whole,) = compact([photo], 2)
    assert device.asked[0] == 200 * 240
    assert np.abs(whole.astype(int) - result.astype(int)).max() <= 1
    # It has learnt: the next image is not tried at the size that failed.
    device.asked.clear()
    enhancer([photo[:, ::-1]], 2)
    assert max(device.asked) <= 150 * 150


def test_out_of_memory_a_batch_is_halved_before_its_tiles(weights, cat) -> None:
    enhancer = Compact(weights=weights, threads=2, device="cpu")
    device = on_a_small_device(enhancer, 64 * 64 * 2)
    enhancer.pixels_per_pass = 64 * 64 * 8
    enhancer.tile = 64
    photos = [cat[top : top + 64, :64] for top in range(0, 160, 20)]
    together = enhancer(photos, 2)
    assert device.asked == [64 * 64 * count for count in (8, 4, 2, 2, 2, 2)]
    for photo, result in zip(photos, together, strict=True):
        assert np.abs(result.astype(int) - enhancer([photo], 2)[0].astype(int)).max() <= 1


def test_when_not_even_the_smallest_tile_fits_it_says_so(weights, cat) -> None:
    enhancer = Compact(weights=weights, threads=2, device="cpu")
    on_a_small_device(enhancer, 0)
    with pytest.raises(OutOfMemory, match="smallest"):
        enhancer([cat], 2)


def peak(code: str, folder: Path) -> int:
    """Bytes that a process of its own takes at most while it runs the code."""
    # Not ru_maxrss: that begins with what the process of the tests has taken.
    ending = """
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])"""
    done = subprocess.run(
        [sys.executable, "-c", code + ending],
        cwd=ROOT,
        env={
            "HOME": str(Path.home()),
            "JUSTLENS_DATA_DIR": str(folder / "data"),
            "OMP_WAIT_POLICY": "passive",
            "PATH": "",
        },
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]) * 1024


def test_twelve_megapixels_go_through_a_network_in_less_than_3_gib(tmp_path: Path) -> None:
    weights = stored(tmp_path, architectures.Compact(features=8, blocks=1, scale=2))
    used = peak(
        f"""
import numpy as np
import models
photo = np.full((3000, 4000, 3), 128, dtype=np.uint8)
enhancer = models.create("enhancer", "path:{weights}", weights="{tmp_path}", threads=2)
(result,) = enhancer([photo], 2)
assert result.shape == (6000, 8000, 3)
""",
        tmp_path,
    )
    assert used < 3 * GIB


def test_a_noisy_photo_of_twelve_megapixels_is_denoised_in_less_than_3_gib(tmp_path: Path) -> None:
    used = peak(
        f"""
import numpy as np
from pathlib import Path
from PIL import Image
from cli.enhance import enhance
noise = np.random.default_rng(0).normal(128, 20, (3000, 4000))
Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).convert("RGB").save("{tmp_path}/noisy.bmp")
del noise
enhance(Path("{tmp_path}/noisy.bmp"), Path("{tmp_path}/calm.jpg"), model="", image_type="general",
        force=False, raw=False, json_output=True)
with Image.open("{tmp_path}/calm.jpg") as calm:
    assert np.asarray(calm).std() < 12, np.asarray(calm).std()
""",
        tmp_path,
    )
    assert used < 3 * GIB


def test_the_faster_layout_is_measured_once_and_kept(tmp_path: Path, monkeypatch) -> None:
    architecture = SMALL[0]
    made = network(architecture)
    fastest = layout.fastest(made, architecture, tmp_path)
    assert fastest in (torch.channels_last, torch.contiguous_format)
    (kept,) = (tmp_path / "cpu-layouts").iterdir()
    slower = {"contiguous_format": "channels_last", "channels_last": "contiguous_format"}
    name = str(fastest).removeprefix("torch.")
    kept.write_text(
        kept.read_text().replace(f'"fastest": "{name}"', f'"fastest": "{slower[name]}"')
    )
    monkeypatch.setattr(layout, "measure", lambda _: pytest.fail("measured again"))
    assert layout.fastest(made, architecture, tmp_path) is not fastest


def test_a_folder_that_cannot_be_written_to_costs_only_a_measurement(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    made = enhancer(stored(tmp_path, SMALL[0]), file)
    assert made([np.zeros((8, 8, 3), np.uint8)], 4)[0].shape == (32, 32, 3)
