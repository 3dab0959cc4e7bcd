"""OpenCLIP as the encoder of pictures and texts."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from models.errors import UnsuitableInput
from models.image_text import ImageEmbedding, ImageTextEncoder
from models.open_clip_source import Source
from models.open_clip_text import OpenClipText
from models.text import TextEncoder

if TYPE_CHECKING:
    import torch

    from models.open_clip_network import Preprocess

LONGEST_SHAPE = 32
"""Sides in a ratio above this are cut to their middle: the network sees the middle alone, but a
strip would first be enlarged until its short side fits."""

UNSAFE_PROMPTS = (
    "a photo of a naked person.",
    "a photo of nudity.",
    "a pornographic picture.",
    "a photo of people having sex.",
    "an erotic picture of a body.",
)
SAFE_PROMPTS = (
    "a photo of a person with clothes on.",
    "a portrait of a person.",
    "a photo of people at work.",
    "a photo of a child.",
    "a photo of food.",
    "a photo of a room.",
    "a photo of a building.",
    "a photo of a product.",
    "a photo of a massage.",
    "a photo of a statue.",
    "a sign or a document.",
    "a photo of a landscape.",
)
"""A picture is as unsafe as the first list's share in the softmax over both. The second holds what
is taken for the first most easily, and what directories are full of."""


class _Loaded(NamedTuple):
    network: Any
    preprocess: "Preprocess"
    device: "torch.device"
    dtype: "torch.dtype"


class OpenClip(ImageTextEncoder):
    """Any network of open_clip (Cherti et al. 2022, arXiv:2212.07143), with any weights for it.

    CLIP: Radford et al. 2021 (arXiv:2103.00020). Pictures go through torch, on the GPU in half
    precision if there is one, else on the CPU in fp32. Texts go through the exported text tower,
    so that a process that only asks for texts never imports torch.

    Parameters
    ----------
    architecture, pretrained:
        As of `Source`.
    device:
        "cpu", "cuda", "cuda:1"...; None takes CUDA when it is available.
    """

    name = "open-clip"
    version = "1"

    templates = (
        "{}.",
        "a photo of {}.",
        "a photo taken at {}.",
        "a photo of what {} are known for.",
    )

    images_per_pass: ClassVar[int] = 8
    images_per_pass_on_gpu: ClassVar[int] = 64

    def __init__(
        self,
        *,
        weights: Path,
        threads: int,
        text_encoder: TextEncoder | None = None,
        architecture: str,
        pretrained: str = "",
        device: str | None = None,
    ) -> None:
        super().__init__(weights=weights, threads=threads, text_encoder=text_encoder)
        self._source = Source(architecture, pretrained)
        self._texts = OpenClipText(weights=weights, threads=threads, source=self._source)
        self._device = device

    @property
    def identity(self) -> str:
        """With architecture and weights. Raises what `Source.identity` raises."""
        return f"{self.name}@{self.version}.{self._texts.version}.{self._source.identity}"

    @property
    def space(self) -> str:
        return self.identity

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """As the network takes it: float32 (3, side, side)."""
        from PIL import Image

        loaded: _Loaded = self.load()
        return loaded.preprocess(Image.fromarray(_checked(image))).numpy()

    def embed(self, prepared: Sequence[np.ndarray]) -> list[ImageEmbedding]:
        loaded: _Loaded = self.load()
        size = self.images_per_pass_on_gpu if loaded.device.type == "cuda" else self.images_per_pass
        embeddings: list[ImageEmbedding] = []
        for start in range(0, len(prepared), size):
            vectors = _forward(loaded, prepared[start : start + size])
            embeddings += [ImageEmbedding(vector, ()) for vector in vectors]
        return embeddings

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._texts(texts)

    def background_names(self) -> list[str]:
        return self._texts.things()

    def nsfw(self, vector: np.ndarray) -> float | None:
        logits = self._texts.scale * (self._judged @ vector)
        shares = np.exp(logits - logits.max())
        return float(shares[: len(UNSAFE_PROMPTS)].sum() / shares.sum())

    def unload(self) -> None:
        super().unload()
        self._texts.unload()

    @cached_property
    def _judged(self) -> np.ndarray:
        return self._texts([*UNSAFE_PROMPTS, *SAFE_PROMPTS])

    def _load(self) -> _Loaded:
        # Whoever sees pictures compares them with texts.
        self._texts.load()

        import torch

        from models.open_clip_network import create, preprocessing

        torch.set_num_threads(self.threads)
        chosen = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        device = torch.device(chosen)
        on_gpu = device.type == "cuda"
        # On CPUs half precision and bfloat16 are several times slower than fp32.
        network = create(self._source, chosen, half=on_gpu)
        dtype = torch.float16 if on_gpu else torch.float32
        return _Loaded(network, preprocessing(network), device, dtype)


def _forward(loaded: _Loaded, prepared: Sequence[np.ndarray]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        batch = torch.from_numpy(np.stack(prepared))
        features = loaded.network.encode_image(
            batch.to(loaded.device, loaded.dtype), normalize=False
        )
        return torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()


def _checked(image: np.ndarray) -> np.ndarray:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UnsuitableInput(f"not an RGB uint8 image: {image.dtype} {image.shape}")
    height, width = image.shape[:2]
    most = LONGEST_SHAPE * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    return image[top : top + most, left : left + most]
