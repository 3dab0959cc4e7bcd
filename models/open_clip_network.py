"""The one place where open_clip, and with it torch, is imported."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from models.errors import WeightsMissing
from models.open_clip_source import Source

if TYPE_CHECKING:
    import torch
    from PIL import Image

Preprocess = Callable[["Image.Image"], "torch.Tensor"]


def create(source: Source, device: str = "cpu", half: bool = False) -> Any:
    """Makes the network with its weights, in half precision or in fp32, for inference.

    Typed loosely: open_clip's classes of networks share no base class.

    Raises `WeightsMissing` when there are none to be had, or when they do not fit.
    """
    import open_clip

    try:
        network = open_clip.create_model(
            source.architecture,
            pretrained=source.pretrained or None,
            precision="fp16" if half else "fp32",
            device=device,
            require_pretrained=True,
        )
    except Exception as error:
        # open_clip, torch and the hub's client each have their own ways to say it.
        raise WeightsMissing(
            f"open_clip could not make {source.architecture!r} with the weights "
            f"{source.pretrained!r}: {error}. Without a way to download them, let "
            "JUSTLENS_OPEN_CLIP_PRETRAINED name a local checkpoint (.pt, .bin, .safetensors), or "
            "JUSTLENS_OPEN_CLIP_MODEL a folder, `local-dir:PATH`, with open_clip_config.json. "
            f"Tags of this architecture: {_tags(source.architecture)}"
        ) from error
    return network.eval().requires_grad_(False)


def preprocessing(network: Any) -> Preprocess:
    """What open_clip does to a picture before this network sees it."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)


def tokenizer(source: Source) -> Any:
    """The tokenizer that belongs to the architecture.

    Raises `WeightsMissing` when its files would have to be downloaded and cannot be.
    """
    import open_clip

    try:
        return open_clip.get_tokenizer(source.architecture)
    except Exception as error:
        raise WeightsMissing(
            f"open_clip has no tokenizer for {source.architecture!r}: {error}. Where it cannot be "
            "downloaded, a folder with its files and open_clip_config.json does: `local-dir:PATH`"
        ) from error


def things() -> list[str]:
    """Names of a thousand kinds of things: ImageNet's classes as open_clip calls them."""
    from open_clip import IMAGENET_CLASSNAMES

    return list(dict.fromkeys(IMAGENET_CLASSNAMES))


def _tags(architecture: str) -> str:
    from open_clip import list_pretrained_tags_by_model

    return ", ".join(list_pretrained_tags_by_model(architecture)) or "none"
