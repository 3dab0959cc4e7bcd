"""The batcher in front of a real network."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from models.errors import UnsuitableInput
from tasks.batcher import Batcher


def test_of_a_mixed_batch_the_corrupt_image_fails_and_the_others_are_as_if_alone(
    compact, cat, coffee
) -> None:
    pictures = [cat[:30, :40], coffee[:50, :20], cat[50:80, 50:90], coffee[:33, :47]]
    corrupt = cat[:30, :40].astype(np.float32)
    given = [*pictures[:2], corrupt, *pictures[2:]]
    sizes: list[int] = []
    batcher: Batcher[np.ndarray, np.ndarray] = Batcher(
        lambda scale, images: compact(images, scale), len(given), 60.0, sizes.append
    )
    with ThreadPoolExecutor(len(given)) as threads:
        results = [threads.submit(batcher, picture, 2) for picture in given]
    assert sizes[0] == len(given)
    with pytest.raises(UnsuitableInput, match="float32"):
        results.pop(2).result()
    for picture, result in zip(pictures, results, strict=True):
        (alone,) = compact([picture], 2)
        assert np.abs(result.result().astype(int) - alone.astype(int)).max() <= 1
