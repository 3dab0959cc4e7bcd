"""Whether a picture is enhanced, by how much, and to what size."""

import numpy as np
import pytest

from pipeline.enhancement import Choice, Plan, carry_out, choose, denoise, plan
from pipeline.imaging import Picture
from pipeline.messages import ImageType
from pipeline.settings import Settings
from tests.pictures import plain

SETTINGS = Settings(target_width=1280, target_height=720, noise_limit=12.0)


def decide(
    width: int,
    height: int,
    noise: float = 0.0,
    *,
    force: bool = False,
    strength: float = 0.5,
    network_denoises: bool = False,
) -> Plan:
    return plan(
        width,
        height,
        noise,
        force=force,
        scales=(4, 2, 3),
        settings=SETTINGS.model_copy(update={"denoise_strength": strength}),
        network_denoises=network_denoises,
    )


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
    planned = Plan("denoised", 128, 96, 1, "noise", 8.0)
    result = carry_out(planned, Picture(noisy, alpha), never)
    assert result.rgb.std() < noisy.std() * 0.7
    assert abs(result.rgb.mean() - 128) < 2
    assert np.array_equal(result.alpha, alpha)


def test_a_noisy_picture_is_denoised_before_it_is_enlarged() -> None:
    decision = decide(640, 360, 20.0)
    assert decision.action == "enhanced" and decision.denoise > 0
    assert decision.reason == "smaller than 1280x720, noise 20 is above 12"
    assert decide(640, 360, 12.0).denoise == 0
    noise = np.random.default_rng(0).normal(0, 8, (360, 640, 3))
    noisy = Picture(np.clip(128 + noise, 0, 255).astype(np.uint8))
    given: list[np.ndarray] = []

    def upscale(rgb: np.ndarray, scale: int) -> np.ndarray:
        given.append(rgb)
        return repeat(rgb, scale)

    carry_out(decision, noisy, upscale)
    assert given[0].std() < noisy.rgb.std() * 0.7


def test_a_network_that_removes_noise_is_left_to_do_so() -> None:
    assert decide(640, 360, 20.0, network_denoises=True).denoise == 0
    # No network runs on these.
    assert decide(1280, 720, 20.0, network_denoises=True).denoise > 0
    assert decide(4000, 3000, force=True, network_denoises=True).denoise > 0


def test_the_strength_says_how_much_noise_is_removed() -> None:
    noise = np.random.default_rng(0).normal(0, 12, (96, 128, 3))
    noisy = np.clip(128 + noise, 0, 255).astype(np.uint8)
    left = []
    for strength in (0.2, 0.5, 1.0):
        decision = decide(1280, 720, 12.1, strength=strength)
        left.append(denoise(noisy, decision.denoise).std())
    assert noisy.std() > left[0] > left[1] > left[2]


def test_more_noise_is_filtered_more() -> None:
    assert decide(1280, 720, 30.0).denoise == 2 * decide(1280, 720, 15.0).denoise
    random = np.random.default_rng(0)
    clean = np.linspace(60, 200, 128).astype(np.uint8)[None, :, None].repeat(96, 0).repeat(3, 2)
    noisy = np.clip(clean + random.normal(0, 25, clean.shape), 0, 255).astype(np.uint8)
    calm = denoise(noisy, decide(1280, 720, 16.0).denoise)
    error, before = ((picture - clean.astype(float)).std() for picture in (calm, noisy))
    assert error < before / 2


def test_at_strength_zero_nothing_is_denoised() -> None:
    kept = decide(1280, 720, 20.0, strength=0)
    assert (kept.action, kept.reason) == ("kept", "noise 20 is above 12, but denoising is off")
    assert decide(4000, 3000, force=True, strength=0).action == "kept"
    assert decide(640, 360, 20.0, strength=0).denoise == 0


def test_faces_are_restored_at_the_final_size() -> None:
    seen: list[tuple[int, ...]] = []

    def restore(rgb: np.ndarray) -> np.ndarray:
        seen.append(rgb.shape)
        return 255 - rgb

    decision = decide(333, 222)
    picture = Picture(plain(width=333, height=222))
    without = carry_out(decision, picture, repeat)
    result = carry_out(decision, picture, repeat, restore)
    assert seen == [(720, 1080, 3)]
    assert np.array_equal(result.rgb, 255 - without.rgb)
    kept = Picture(plain(width=1280, height=720))
    assert carry_out(decide(1280, 720), kept, never, restore) is kept


@pytest.mark.parametrize(
    ("image_type", "configured", "enhancer", "restores", "reason"),
    [
        ("general", {}, "enhancer", False, "general"),
        ("general", {"text_enhancer": "x", "face_restorer": "y"}, "enhancer", False, "general"),
        ("text", {}, "enhancer", False, "no text enhancer is configured"),
        ("text", {"text_enhancer": "x"}, "text_enhancer", False, "the text enhancer"),
        ("face", {}, "enhancer", False, "no face restorer is configured"),
        ("face", {"face_restorer": "y"}, "enhancer", True, "then the face restorer"),
    ],
)
def test_the_type_chooses_among_what_is_configured_and_says_why(
    image_type: ImageType,
    configured: dict[str, str],
    enhancer: str,
    restores: bool,
    reason: str,
) -> None:
    choice = choose(image_type, SETTINGS.model_copy(update=configured))
    assert isinstance(choice, Choice)
    assert (choice.enhancer, choice.restores_faces) == (enhancer, restores)
    assert reason in choice.reason
