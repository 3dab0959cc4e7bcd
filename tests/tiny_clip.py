"""A small untrained network of open_clip, the same on every machine."""

import json
import math
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
PREPROCESSING = {"mean": [0.5] * 3, "std": [0.5] * 3}


def network() -> torch.nn.Module:
    """The network, ready to encode."""
    torch.manual_seed(7)
    made = open_clip.CLIP(**CONFIG)
    with torch.no_grad():
        # Untrained text towers give all texts nearly the same vector.
        made.token_embedding.weight.mul_(50)
        for block in made.transformer.resblocks:
            block.attn.in_proj_weight.mul_(10)
            block.attn.out_proj.weight.mul_(10)
        made.logit_scale.fill_(math.log(100))
    return made.eval()


def save(made: torch.nn.Module, folder: Path) -> str:
    """Writes a folder as open_clip does, and returns the name of its architecture."""
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": CONFIG, "preprocess_cfg": PREPROCESSING})
    )
    state = {key: value.clone() for key, value in made.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"
