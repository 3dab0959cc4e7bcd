"""The one place where basicsr is imported.

basicsr 1.4.2 imports a torchvision module that newer versions no longer have. A module of that
name with the one function it wants is registered first.
"""

import importlib
import logging
import sys
import types
from typing import TYPE_CHECKING, Any

from models.enhancer.architectures import Architecture

if TYPE_CHECKING:
    import torch

REMOVED_MODULE = "torchvision.transforms.functional_tensor"


def build(architecture: Architecture) -> "torch.nn.Module":
    """Makes basicsr's network of that architecture, with random weights."""
    return submodule("archs").ARCH_REGISTRY.get(architecture.basicsr_name)(**architecture.options())


def submodule(name: str) -> Any:
    """Imports `basicsr.<name>`."""
    _register_removed_module()
    module = importlib.import_module(f"basicsr.{name}")
    # Marked as set up, so that basicsr adds no output of its own to the program's.
    importlib.import_module("basicsr.utils.logger").initialized_logger["basicsr"] = True
    logging.getLogger("basicsr").setLevel(logging.WARNING)
    return module


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
