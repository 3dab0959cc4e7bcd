"""Makes the poor photo that an enhancer is to undo: blurred, shrunk, noisy and compressed.

A first-order degradation after Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833), drawn anew for
every crop from a generator that is handed in, so that a training can be repeated.
"""

import cv2
import numpy as np

from models.enhancer.basicsr_networks import submodule

BLUR_KERNEL = 21
BLUR_SIGMA = (0.2, 2.5)
"""Standard deviations along both axes of the blur, px of the large photo."""
NOISE_SIGMA = (0.0, 12.0)
"""Of 255."""
GRAY_NOISE_SHARE = 0.4
JPEG_QUALITY = (45, 96)
INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


def degrade(rgb: np.ndarray, scale: int, random: np.random.Generator) -> np.ndarray:
    """A poor version of (H, W, 3) uint8, of shape (H / scale, W / scale, 3), uint8.

    H and W must be multiples of `scale`.
    """
    height, width = rgb.shape[0] // scale, rgb.shape[1] // scale
    kernel = submodule("data.degradations").bivariate_Gaussian(
        BLUR_KERNEL,
        random.uniform(*BLUR_SIGMA),
        random.uniform(*BLUR_SIGMA),
        random.uniform(-np.pi, np.pi),
        isotropic=False,
    )
    poor = cv2.filter2D(rgb.astype(np.float32) / 255, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    poor = cv2.resize(poor, (width, height), interpolation=int(random.choice(INTERPOLATIONS)))
    channels = 1 if random.random() < GRAY_NOISE_SHARE else 3
    noise = random.normal(0, random.uniform(*NOISE_SIGMA) / 255, (height, width, channels))
    grainy = (np.clip(poor + noise, 0, 1) * 255 + 0.5).astype(np.uint8)
    quality = int(random.integers(*JPEG_QUALITY))
    _, compressed = cv2.imencode(".jpg", grainy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(compressed, cv2.IMREAD_COLOR)
    assert decoded is not None, "OpenCV reads what it has written"
    return decoded[..., ::-1]
