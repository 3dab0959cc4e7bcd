"""Makes the text tower of an OpenCLIP network into an artefact that needs no torch.

    python -m models.open_clip_export ARCHITECTURE PRETRAINED --to DIR

Run in a process of its own (`models.artefacts.ensure_made` does). The graph and the tokenizer are
compared with open_clip's own before the artefact is put in place.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models import artefacts
from models.errors import ModelError
from models.export import OPSET, place, quiet, verified
from models.open_clip_network import create, things, tokenizer
from models.open_clip_source import Source
from models.open_clip_text import OpenClipText, encode, open_tower

if TYPE_CHECKING:
    import torch

PROBES = (
    "a photo of coffee shops.",
    "",
    "Dr. O'Neil's   Caf\u00e9 &amp; Bar -- open 24x7, it's #1!",
    "\u0939\u0948\u0926\u0930\u093e\u092c\u093e\u0926 \u2615 na\u00efve",
    "a long table set for a wedding " * 20,
)
"""Texts of all lengths and kinds, on which both must agree."""


def text_tower(source: Source, target: Path) -> None:
    """Writes `model.onnx`, `tokenizer.json` and `encoder.json` into the folder `target`.

    The graph takes int64 `tokens` of shape (batch, length) and returns float32 `embedding` of
    shape (batch, dimension), rows of length 1.

    Raises `ArtefactDiffers`, `WeightsMissing`.
    """
    import torch

    network = create(source)
    own = tokenizer(source)
    tokens = own(list(PROBES))
    # A causal tower computes the same without the padding behind a text, and several times faster.
    is_padded = not _is_causal(network)
    axes = {0: "batch"} if is_padded else {0: "batch", 1: "length"}
    # The fused attention kernels do not trace; the plain ones are the same arithmetic.
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.inference_mode(), quiet():
        expected = network.encode_text(tokens, normalize=True).numpy()
        torch.onnx.export(
            _tower(network, is_padded),
            (tokens[:2],),
            str(target / "model.onnx"),
            input_names=["tokens"],
            output_names=["embedding"],
            dynamic_axes={"tokens": axes, "embedding": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    _save_tokenizer(own, target / "tokenizer.json")
    described = {
        "dimension": int(expected.shape[1]),
        "context": int(own.context_length),
        "pad": _pad_token(own),
        "is_padded": is_padded,
        "clean": own.clean_fn.__name__,
        "scale": float(network.logit_scale.exp()),
        "things": things(),
    }
    (target / "encoder.json").write_text(json.dumps(described, indent=0))
    opened = open_tower(target, threads=os.cpu_count() or 1)
    together = encode(opened, PROBES)
    alone = np.concatenate([encode(opened, [text]) for text in PROBES])
    verified(f"the text tower of {source.architecture}", together, expected)
    verified(f"the text tower of {source.architecture}", alone, expected)


def _is_causal(network: Any) -> bool:
    """Whether no token sees those behind it, and the vector is that of the text's last one."""
    return (
        getattr(network, "attn_mask", None) is not None
        and getattr(network, "text_pool_type", None) in ("argmax", "eos")
        and bool(network.transformer.batch_first)
    )


def _tower(network: Any, is_padded: bool) -> "torch.nn.Module":
    import torch
    from open_clip.transformer import text_global_pool

    class Padded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.normalize(network.encode_text(tokens), dim=-1)

    class Attention(torch.nn.Module):
        """torch's own fixes the length of the texts that it is traced with."""

        def __init__(self, own: torch.nn.MultiheadAttention) -> None:
            super().__init__()
            self.own = own

        def forward(
            self, states: torch.Tensor, *_: torch.Tensor, attn_mask: torch.Tensor, **__: bool
        ) -> tuple[torch.Tensor, None]:
            batch, length, width = states.shape
            own = self.own
            mixed = torch.nn.functional.linear(states, own.in_proj_weight, own.in_proj_bias)
            mixed = mixed.reshape(batch, length, 3, own.num_heads, own.head_dim)
            query, key, value = mixed.permute(2, 0, 3, 1, 4)
            logits = query @ key.transpose(-1, -2) * own.head_dim**-0.5 + attn_mask
            states = (logits.softmax(dim=-1) @ value).transpose(1, 2)
            return own.out_proj(states.reshape(batch, length, width)), None

    class Causal(Padded):
        """`open_clip.CLIP.encode_text` for as many tokens as there are."""

        def __init__(self) -> None:
            super().__init__()
            for block in network.transformer.resblocks:
                if isinstance(block.attn, torch.nn.MultiheadAttention):
                    block.attn = Attention(block.attn)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            clip, length = network, tokens.shape[1]
            states = clip.token_embedding(tokens) + clip.positional_embedding[:length]
            states = clip.transformer(states, attn_mask=clip.attn_mask[:length, :length])
            last = text_global_pool(
                clip.ln_final(states),
                tokens,
                clip.text_pool_type,
                eos_token_id=getattr(clip, "text_eos_id", None),
            )
            project = clip.text_projection
            if isinstance(project, torch.nn.Linear):
                last = project(last)
            elif project is not None:
                last = last @ project
            return torch.nn.functional.normalize(last, dim=-1)

    return Padded() if is_padded else Causal()


def _save_tokenizer(own: Any, path: Path) -> None:
    """Writes open_clip's byte-pair encoding, or the tokenizer that it wraps, in one format."""
    from open_clip import SimpleTokenizer

    if not isinstance(own, SimpleTokenizer):
        own.tokenizer.backend_tokenizer.save(str(path))
        return
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Split
    from tokenizers.pre_tokenizers import Sequence as InTurn
    from tokenizers.processors import TemplateProcessing

    pairs = BPE(vocab=own.encoder, merges=list(own.bpe_ranks), end_of_word_suffix="</w>")
    encoding = Tokenizer(pairs)
    encoding.pre_tokenizer = InTurn(
        [
            Split(Regex(own.pat.pattern), behavior="removed", invert=True),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    first, last = own.decoder[own.sot_token_id], own.decoder[own.eot_token_id]
    encoding.post_processor = TemplateProcessing(
        single=f"{first} $A {last}",
        special_tokens=[(first, own.sot_token_id), (last, own.eot_token_id)],
    )
    encoding.save(str(path))


def _pad_token(own: Any) -> int:
    """open_clip's own byte-pair encoding pads with zeros."""
    wrapped = getattr(own, "tokenizer", None)
    return int(wrapped.pad_token_id) if wrapped is not None else 0


def make(source: Source, weights: Path) -> Path:
    """Makes the artefact below `weights` unless it is there, and returns its folder."""
    folder = OpenClipText(weights=weights, threads=1, source=source).folder
    return place(folder, lambda target: text_tower(source, target))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.open_clip_export", description=__doc__)
    parser.add_argument("architecture")
    parser.add_argument("pretrained", nargs="?", default="")
    parser.add_argument("--to", type=Path, default=artefacts.default_weights(), metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        made = make(Source(options.architecture, options.pretrained), options.to)
    except ModelError as error:
        # What is wrong is mostly a setting: one line says it better than a traceback.
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
