"""A small untrained sentence encoder, the same on every machine."""

import json
import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["at", "fresh", "shop", "near", "the", "bread", "cake", "wedding", "flower", "hair"]
MODULES = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]


def save(folder: Path) -> Path:
    """Writes a sentence-transformers folder in the manner of all-MiniLM-L6-v2 and returns it."""
    letters = list(string.ascii_lowercase + string.digits + ".,'-")
    continuing = [f"##{letter}" for letter in letters]
    vocabulary = [*SPECIAL, *letters, *continuing, *WORDS]
    ids = {piece: at for at, piece in enumerate(vocabulary)}
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in vocabulary))
    _write(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer", model_max_length=64)
    torch.manual_seed(7)
    network = BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.2,
        )
    )
    network.save_pretrained(folder)
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(MODULES)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    _write(
        folder / "1_Pooling" / "config.json",
        word_embedding_dimension=32,
        pooling_mode_mean_tokens=True,
    )
    (folder / "2_Normalize").mkdir()
    _write(folder / "sentence_bert_config.json", max_seq_length=64, do_lower_case=False)
    return folder


def _write(path: Path, **values: object) -> None:
    path.write_text(json.dumps(values))
