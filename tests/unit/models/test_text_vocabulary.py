import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from models.errors import UnsuitableInput
from models.export import sentence_encoder
from models.text import SentenceOnnx
from models.text_training.vocabulary import choose, extend
from tests import tiny_bert

LOGS = {"mehndi near the shop": 9.0, "fresh mehndi": 5.0, "mehndis 4455667788": 2.0, "tattoo": 1.0}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert.save(tmp_path_factory.mktemp("tiny") / "source")


@pytest.fixture(scope="module")
def extended(source: Path) -> Path:
    target = source.parent / "extended"
    extend(source, target, ["mehndi", "##hndi", "tatto"])
    return target


def tokenizer_of(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_the_piece_that_saves_most_is_chosen_first(source: Path) -> None:
    assert choose(source, LOGS, budget=5)[0] == "mehndi"


def test_what_is_seen_too_seldom_and_numbers_are_not_chosen(source: Path) -> None:
    chosen = choose(source, LOGS, budget=50, least=10.0)
    assert chosen == ["mehndi"]


def test_no_more_than_the_budget_is_chosen(source: Path) -> None:
    texts = {f"{word}{other}": 9.0 for word in ("mehndi", "tattoo") for other in ("wala", "shop")}
    assert len(choose(source, texts, budget=2)) == 2
    assert choose(source, texts, budget=0) == []


def test_a_part_that_many_words_share_is_chosen_before_any_of_them(source: Path) -> None:
    texts = {f"{letter}{letter}iyengar": 3.0 for letter in "bcdfgkmpv"}
    assert choose(source, texts, budget=1)[0].removeprefix("##").endswith("iyengar")


def test_a_new_piece_starts_as_the_mean_of_what_it_replaces(source: Path, extended: Path) -> None:
    name = "embeddings.word_embeddings.weight"
    before, after = (load_file(each / "model.safetensors") for each in (source, extended))
    old, new = before[name], after[name]
    tokenizer = tokenizer_of(source)
    replaced = tokenizer.encode("tatto", add_special_tokens=False).ids
    added = tokenizer_of(extended).token_to_id("tatto")
    np.testing.assert_allclose(new[added], old[replaced].mean(axis=0), atol=1e-7)
    np.testing.assert_array_equal(new[: len(old)], old)
    assert len(new) == len(old) + 3
    for key, value in before.items():
        if key != name:
            np.testing.assert_array_equal(after[key], value)


WORDS = st.sampled_from([*tiny_bert.WORDS, "mehndi", "mehndis", "tattoo", "xmehndi", "dahndis"])


@settings(max_examples=200, deadline=None)
@given(text=st.lists(WORDS | st.text("abtomehndis é界", max_size=9), max_size=6).map(" ".join))
def test_a_text_without_a_new_piece_is_tokenised_as_before(
    source: Path, extended: Path, text: str
) -> None:
    before, after = tokenizer_of(source), tokenizer_of(extended)
    ids = after.encode(text).ids
    if max(ids) < before.get_vocab_size():
        assert ids == before.encode(text).ids


def test_a_text_without_a_new_piece_has_the_same_vector_to_the_bit(
    source: Path, extended: Path, tmp_path: Path
) -> None:
    encoders = []
    for folder in (source, extended):
        target = tmp_path / folder.name
        sentence_encoder(folder, target)
        encoders.append(
            SentenceOnnx(weights=tmp_path, threads=1, folder=target, identity=folder.name)
        )
    before, after = encoders
    texts = ["fresh bread near the shop", "tat too", "", "wedding flowers, 24 hours"]
    np.testing.assert_array_equal(after(texts), before(texts))
    assert not np.array_equal(after(["mehndi"]), before(["mehndi"]))
    assert (before.pieces("mehndi"), after.pieces("mehndi")) == (6, 1)


def test_sentence_transformers_reads_the_new_pieces(extended: Path) -> None:
    from transformers import AutoTokenizer

    assert AutoTokenizer.from_pretrained(extended).tokenize("Mehndi shop") == ["mehndi", "shop"]


def test_a_letter_that_could_not_continue_a_word_is_made_to(source: Path, tmp_path: Path) -> None:
    """Else "abcd" and a rest that is no piece would make "abcdx" unknown, with no new piece."""
    gap = tmp_path / "gap"
    extend(source, gap, ["ab", "##cdx"])
    tokenizer = json.loads((gap / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    # The letter x goes on only inside ##cdx.
    vocabulary["##~"] = vocabulary.pop("##x")
    (gap / "tokenizer.json").write_text(json.dumps(tokenizer))
    extended = tmp_path / "extended"
    extend(gap, extended, ["abcd"])
    assert tokenizer_of(gap).encode("abcdx", add_special_tokens=False).tokens == ["ab", "##cdx"]
    assert "[UNK]" not in tokenizer_of(extended).encode("abcdx").tokens


def test_a_piece_that_is_there_already_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsuitableInput, match="not new: bread"):
        extend(source, tmp_path / "extended", ["mehndi", "bread"])


def test_a_tokenizer_of_another_kind_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE"}}))
    with pytest.raises(UnsuitableInput, match="is not BERT's WordPiece"):
        choose(tmp_path, LOGS, budget=5)
