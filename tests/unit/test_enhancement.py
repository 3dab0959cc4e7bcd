"""Whether a picture is enhanced, by how much, and to what size."""

import numpy as np
import pytest

from pipeline.enhancement import Plan, carry_out, plan
from pipeline.imaging import Picture
from pipeline.settings import Settings
from tests.pictures import plain

SETTINGS = Settings(target_width=1280, target_height=720, noise_limit=12.0)


def decide(width: int, height: int, noise: float = 0.0, *, force: bool = False) -> Plan:
    return plan(width, height, noise, force=force, scales=(4, 2, 3), settings=SETTINGS)


def repeat(rgb: np.ndarray, scale: int) -> np.ndarray:
    return rgb.repeat(scale, axis=0).repeat(scale, axis=1)


def never(rgb: np.ndarray, scale: int) -> np.ndarray:
    raise AssertionError("the network ran")


@pytest.mark.parametrize(
    ("size", "noise", "force", "action", "result", "scale"),
    [
        # Smaller than the box: enlarged by the smallest scale that fills it.
        ((640, 360), 0, False, "enhanced", (1280, 720), 2),
        ((480, 270), 0, False, "enhanced", (1280, 720), 3),
        ((320, 180), 0, False, "enhanced", (1280, 720), 4),
        # The box turns with the picture.
        ((360, 640), 0, False, "enhanced", (720, 1280), 2),
        # The network at its largest, the rest by resampling.
        ((64, 36), 0, False, "enhanced", (1280, 720), 4),
        # A noisy small picture is enlarged all the same.
        ((640, 360), 40, False, "enhanced", (1280, 720), 2),
        # Large enough.
        ((1280, 720), 0, False, "kept", (1280, 720), 1),
        ((1280, 100), 0, False, "kept", (1280, 100), 1),
        ((720, 1280), 12, False, "kept", (720, 1280), 1),
        ((4000, 3000), 0, False, "kept", (4000, 3000), 1),
        # Large enough, but noisy.
        ((1280, 720), 12.1, False, "denoised", (1280, 720), 1),
        ((4000, 3000), 13, False, "denoised", (4000, 3000), 1),
        # Asked for.
        ((1280, 720), 0, True, "enhanced", (1280, 720), 2),
        ((640, 360), 0, True, "enhanced", (1280, 720), 2),
        ((4000, 3000), 0, True, "denoised", (4000, 3000), 1),
    ],
)
def test_size_and_noise_decide(
    size: tuple[int, int],
    noise: float,
    force: bool,
    action: str,
    result: tuple[int, int],
    scale: int,
) -> None:
    found = decide(*size, noise, force=force)
    assert (found.action, (found.width, found.height), found.scale) == (action, result, scale)


def test_the_reason_names_the_size_or_the_noise() -> None:
    assert "1280x720" in decide(640, 360).reason
    assert "1280x720" in decide(1920, 1080).reason
    assert decide(1920, 1080, 20.0).reason == "noise 20 is above 12"
    assert decide(1920, 1080, force=True).reason == "asked for"


def test_a_kept_picture_is_the_same_picture() -> None:
    picture = Picture(plain(width=1280, height=720))
    assert carry_out(decide(1280, 720), picture, never) is picture


@pytest.mark.parametrize("size", [(640, 360), (333, 222), (64, 36), (100, 301)])
def test_an_enhanced_picture_has_exactly_the_planned_size(size: tuple[int, int]) -> None:
    decision = decide(*size)
    result = carry_out(decision, Picture(plain(width=size[0], height=size[1])), repeat)
    assert (result.width, result.height) == (decision.width, decision.height)
    assert result.rgb.dtype == np.uint8


def test_transparency_grows_with_the_picture() -> None:
    alpha = np.full((360, 640), 255, dtype=np.uint8)
    alpha[:, :320] = 0
    result = carry_out(decide(640, 360), Picture(plain(width=640, height=360), alpha), repeat)
    assert result.alpha is not None
    assert result.alpha.shape == (720, 1280)
    assert (result.alpha[360, 100], result.alpha[360, 1200]) == (0, 255)


def test_a_picture_without_colour_stays_without() -> None:
    assert carry_out(decide(64, 36), Picture(plain(width=64, height=36), gray=True), repeat).gray


def test_denoising_takes_noise_away_and_runs_no_network() -> None:
    noise = np.random.default_rng(0).normal(0, 8, (96, 128, 3))
    noisy = np.clip(128 + noise, 0, 255).astype(np.uint8)
    alpha = np.zeros((96, 128), dtype=np.uint8)
    result = carry_out(Plan("denoised", 128, 96, 1, "noise"), Picture(noisy, alpha), never)
    assert result.rgb.std() < noisy.std() * 0.7
    assert abs(result.rgb.mean() - 128) < 2
    assert np.array_equal(result.alpha, alpha)
