"""The one place where basicsr is imported.

basicsr 1.4.2 imports a torchvision module that newer versions no longer have. A module of that
name with the one function it wants is registered first.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

REMOVED_MODULE = "torchvision.transforms.functional_tensor"


def build(name: str) -> "torch.nn.Module":
    """Makes the network "compact" or "x4plus" with random weights; both take and give RGB 0..1.

    compact: SRVGGNetCompact (Wang et al. 2021, Real-ESRGAN, arXiv:2107.10833, as used by its
    realesr-animevideov3). x4plus: RRDBNet (Wang et al. 2018, ESRGAN, arXiv:1809.00219).
    """
    _register_removed_module()
    if name == "compact":
        from basicsr.archs.srvgg_arch import SRVGGNetCompact

        return SRVGGNetCompact(num_feat=64, num_conv=16, upscale=4, act_type="prelu")
    if name == "x4plus":
        from basicsr.archs.rrdbnet_arch import RRDBNet

        return RRDBNet(num_in_ch=3, num_out_ch=3, num_feat=64, num_block=23, num_grow_ch=32)
    raise ValueError(f"no network is called {name!r}")


def _register_removed_module() -> None:
    if REMOVED_MODULE in sys.modules:
        return
    try:
        importlib.import_module(REMOVED_MODULE)
    except ModuleNotFoundError:
        from torchvision.transforms.functional import rgb_to_grayscale

        replacement = types.ModuleType(REMOVED_MODULE)
        replacement.__dict__["rgb_to_grayscale"] = rgb_to_grayscale
        sys.modules[REMOVED_MODULE] = replacement
