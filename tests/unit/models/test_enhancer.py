import cv2
import numpy as np
import pytest

from models.enhancer.ncnn import UnreadableWeights, read_weights
from models.enhancer.networks import Compact
from models.enhancer.tiling import plan
from models.errors import UnsuitableInput


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_result_has_the_scaled_size_and_scaled_back_down_is_its_input(compact, cat, scale):
    picture = cat[60:160, 100:231]
    (enlarged,) = compact([picture], scale)
    assert enlarged.dtype == np.uint8
    assert enlarged.shape == (100 * scale, 131 * scale, 3)
    back = cv2.resize(enlarged, (131, 100), interpolation=cv2.INTER_AREA)
    assert psnr(back, picture) >= 27


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiled_is_the_same_as_whole(compact, weights, coffee, scale):
    picture = coffee[100:221, 100:343]
    tiled = Compact(weights=weights, threads=2, tile=96, tiles_per_pass=2, device="cpu")
    (whole,), (pieces,) = compact([picture], scale), tiled([picture], scale)
    assert tiled.forward_passes > 1
    assert np.abs(whole.astype(int) - pieces.astype(int)).max() <= 1


def test_images_of_mixed_sizes_come_out_as_if_alone(compact, cat, coffee):
    pictures = [cat[:30, :40], coffee[:50, :20], cat[50:80, 50:90], coffee[:1, :1]]
    for picture, together in zip(pictures, compact(pictures, 2), strict=True):
        alone = compact([picture], 2)[0]
        assert together.shape == alone.shape
        assert np.abs(together.astype(int) - alone.astype(int)).max() <= 1


def test_images_of_one_size_share_a_forward_pass(compact, cat):
    before = compact.forward_passes
    compact([cat[top : top + 32, :32] for top in range(8)], 2)
    assert compact.forward_passes - before == 1


def test_a_pass_takes_no_more_tiles_than_it_may(weights, cat):
    enhancer = Compact(weights=weights, threads=2, tiles_per_pass=3, device="cpu")
    enhancer([cat[:16, :16]] * 7, 2)
    assert enhancer.forward_passes == 3


def test_a_scale_or_an_image_that_does_not_fit_is_refused(compact, cat):
    with pytest.raises(UnsuitableInput, match="not by 5"):
        compact([cat], 5)
    with pytest.raises(UnsuitableInput):
        compact([cat[..., 0]], 2)
    with pytest.raises(UnsuitableInput):
        compact([cat.astype(np.float32)], 2)


def test_no_images_give_no_images(compact):
    assert compact([], 2) == []


@pytest.mark.parametrize(
    ("height", "width"), [(720, 1280), (90, 4000), (513, 512), (3000, 200), (1000, 1001)]
)
def test_tiles_cover_every_pixel_once_with_a_halo_around(height, width):
    tile, halo = 512, 20
    covered = np.zeros((height, width), dtype=int)
    tiles = plan(height, width, tile, halo)
    for piece in tiles:
        for span, size in ((piece.rows, height), (piece.columns, width)):
            assert 0 <= span.start <= span.keep_start < span.keep_stop <= span.stop <= size
            assert span.start == 0 or span.keep_start - span.start >= halo
            assert span.stop == size or span.stop - span.keep_stop >= halo
            assert span.stop - span.start <= max(tile, min(height, width))
        covered[
            piece.rows.keep_start : piece.rows.keep_stop,
            piece.columns.keep_start : piece.columns.keep_stop,
        ] += 1
    assert (covered == 1).all()
    assert len({piece.shape for piece in tiles}) == 1


def test_a_small_image_is_not_cut():
    assert len(plan(300, 800, 512, 20)) == 1


def test_threads_that_take_a_tile_each_have_as_many_of_them():
    # Three have the fewest px in all, but one of two threads would compute two of them.
    assert len(plan(480, 640, 360, 18)) == 3
    assert len(plan(480, 640, 360, 18, threads=2)) == 4


def test_a_truncated_weights_file_is_not_read(tmp_path):
    param, binary = tmp_path / "x.param", tmp_path / "x.bin"
    param.write_text("7767517\n2 2\nInput a 0 1 a\nConvolution b 1 1 a b 0=1 1=1 5=1 6=3\n")
    # tag, three halves padded to 8 bytes, one bias
    whole = np.array([0x01306B47], "<u4").tobytes() + np.ones(3, "<f2").tobytes() + b"\0\0"
    whole += np.array([2], "<f4").tobytes()
    binary.write_bytes(whole)
    weight, bias = read_weights(param, binary)
    assert weight.dtype == np.float16
    assert weight.tolist() == [1, 1, 1]
    assert bias.tolist() == [2]
    for broken in (whole[:-2], whole + b"\0\0\0\0"):
        binary.write_bytes(broken)
        with pytest.raises(UnreadableWeights):
            read_weights(param, binary)
