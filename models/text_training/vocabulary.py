"""Words that a tokenizer has to break up become pieces of its own.

For the WordPiece vocabularies of BERT (Wu et al. 2016, arXiv:1609.08144). Candidates are learnt by
byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) and as character n-grams; those that
save most pieces are taken. A text in which no new piece occurs is tokenised, and encoded, as
before.
"""

import heapq
import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import UnsuitableInput, UnsuitableWeights

if TYPE_CHECKING:
    import tokenizers

PREFIX = "##"
"""Before a piece that continues a word."""

SHORTEST, LONGEST = 3, 10
"""Letters of the n-grams that are candidates."""

MOST_WORDS = 50_000
CANDIDATES_PER_PIECE = 10
MOST_REPEATS = 1000
"""Of a word in what byte-pair encoding learns from: only their order matters."""


def choose(folder: Path, texts: Mapping[str, float], budget: int, least: float = 3.0) -> list[str]:
    """The pieces to add, those that save most first.

    Parameters
    ----------
    folder:
        Of a sentence-transformers model.
    texts:
        How often each text was seen.
    budget:
        Most pieces to add.
    least:
        Occurrences of pieces that a new piece must save over all texts.
    """
    import tokenizers

    known = set(_wordpiece(folder)["vocab"])
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    words = _broken(_words(tokenizer, texts), known)
    if budget < 1 or not words:
        return []
    chosen: list[str] = []
    counts = {word: pieces(word, known) for word in words}
    found_in = _candidates(words, known, budget)

    def gain(piece: str) -> float:
        known.add(piece)
        saved = sum(words[word] * (counts[word] - pieces(word, known)) for word in found_in[piece])
        known.discard(piece)
        return saved

    # What a piece saves mostly shrinks while others are added: only the best is looked at anew.
    queue = [(-gain(piece), piece) for piece in found_in]
    heapq.heapify(queue)
    while queue and len(chosen) < budget:
        _, piece = heapq.heappop(queue)
        saved = gain(piece)
        if saved < least:
            continue
        if queue and saved < -queue[0][0]:
            heapq.heappush(queue, (-saved, piece))
            continue
        chosen.append(piece)
        known.add(piece)
        for word in found_in[piece]:
            counts[word] = pieces(word, known)
    return chosen


def pieces(word: str, known: Set[str]) -> int:
    """Into how many pieces a word is broken, longest first; 1 for one that cannot be."""
    return len(_split(word, known)) or 1


def extend(source: Path, target: Path, new: Sequence[str]) -> None:
    """Copies a sentence-transformers folder, with new pieces in its tokenizer.

    Those are the last of all pieces. The vector of each starts as the mean of the vectors of the
    pieces that it replaces. Nothing else is changed.

    Raises `UnsuitableInput` for another tokenizer than WordPiece, `UnsuitableWeights` for weights
    that do not go with it.
    """
    from safetensors.numpy import load_file, save_file

    described = _wordpiece(source)
    vocabulary: dict[str, int] = described["vocab"]
    new = [*_missing_letters(vocabulary), *new]
    if doubled := sorted({piece for piece in new if piece in vocabulary or new.count(piece) > 1}):
        raise UnsuitableInput(f"not new: {', '.join(doubled)}")
    state = load_file(source / "model.safetensors")
    (name,) = (key for key in state if key.endswith("embeddings.word_embeddings.weight"))
    rows = state[name]
    if sorted(vocabulary.values()) != list(range(len(rows))):
        raise UnsuitableWeights(f"{len(rows)} vectors, and {len(vocabulary)} pieces of words")
    added = [rows[_replaced(piece, vocabulary)].mean(axis=0, dtype=np.float64) for piece in new]
    if added:
        state[name] = np.concatenate([rows, np.array(added, dtype=rows.dtype)])
    shutil.copytree(source, target)
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    tokenizer = json.loads((target / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["vocab"] |= {piece: len(rows) + at for at, piece in enumerate(new)}
    (target / "tokenizer.json").write_text(
        json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8"
    )
    if (listed := target / "vocab.txt").exists():
        with listed.open("a", encoding="utf-8") as file:
            file.writelines(f"{piece}\n" for piece in new)
    config = json.loads((target / "config.json").read_text())
    config["vocab_size"] = len(rows) + len(new)
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def new_pieces(before: Path, after: Path) -> int:
    """How many pieces the vocabulary of a folder has that the one before it does not have."""
    return len(_wordpiece(after)["vocab"]) - len(_wordpiece(before)["vocab"])


def _wordpiece(folder: Path) -> dict[str, Any]:
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    if described.get("type") != "WordPiece" or described["continuing_subword_prefix"] != PREFIX:
        raise UnsuitableInput(f"the tokenizer of {folder} is not BERT's WordPiece")
    return described


def _words(tokenizer: "tokenizers.Tokenizer", texts: Mapping[str, float]) -> dict[str, float]:
    """The words as the tokenizer sees them; those with digits are without end, and left out."""
    found: dict[str, float] = defaultdict(float)
    for text, count in texts.items():
        normal = tokenizer.normalizer.normalize_str(text)
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal):
            if word.isalpha():
                found[word] += count
    return found


def _broken(words: Mapping[str, float], known: Set[str]) -> dict[str, float]:
    found = {word: count for word, count in words.items() if len(_split(word, known)) > 1}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:MOST_WORDS])


def _candidates(
    words: Mapping[str, float], known: Set[str], budget: int
) -> dict[str, tuple[str, ...]]:
    """Pieces that may be worth adding, and the words that each occurs in."""
    learnt = _byte_pairs(words, budget * CANDIDATES_PER_PIECE)
    found_in: dict[str, dict[str, None]] = defaultdict(dict)
    for word in words:
        for start in range(len(word)):
            for end in range(start + 2, len(word) + 1):
                piece = (PREFIX if start else "") + word[start:end]
                if SHORTEST <= end - start <= LONGEST or piece in learnt:
                    found_in[piece][word] = None
    frequent = sorted(
        (piece for piece in found_in if piece not in known),
        key=lambda piece: (piece not in learnt, -sum(words[word] for word in found_in[piece])),
    )
    # Half of those looked at are n-grams, wherever there are so many.
    most = budget * CANDIDATES_PER_PIECE
    pairs = [piece for piece in frequent if piece in learnt][:most]
    grams = [piece for piece in frequent if piece not in learnt][:most]
    return {piece: tuple(found_in[piece]) for piece in [*pairs, *grams]}


def _byte_pairs(words: Mapping[str, float], most: int) -> set[str]:
    import tokenizers
    from tokenizers import models, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=most + len({letter for word in words for letter in word}) * 2,
        min_frequency=2,
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        (
            word
            for word, count in words.items()
            for _ in range(max(1, min(MOST_REPEATS, round(count))))
        ),
        trainer,
    )
    return {piece for piece in tokenizer.get_vocab() if len(piece.removeprefix(PREFIX)) > 1}


def _split(word: str, known: Set[str], prefix: str = "") -> list[str]:
    """The longest known pieces one after the other; empty where there is none."""
    found: list[str] = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = prefix + word[start:end]
            if piece in known:
                break
        else:
            return []
        found.append(piece)
        start, prefix = end, PREFIX
    return found


def _replaced(piece: str, vocabulary: Mapping[str, int]) -> list[int]:
    """The pieces that a new one stands for."""
    prefix = PREFIX if piece.startswith(PREFIX) else ""
    bare = piece.removeprefix(PREFIX)
    old = _split(bare, vocabulary.keys(), prefix) or _split(bare, vocabulary.keys())
    if not old:
        raise UnsuitableInput(f"{piece!r} has a letter that the tokenizer does not know")
    return [vocabulary[each] for each in old]


def _missing_letters(vocabulary: Mapping[str, int]) -> list[str]:
    """Letters that could not continue a word.

    Without them a word could begin with a new piece whose rest cannot be broken up, and be unknown
    from then on though no new piece is seen in it.
    """
    plain = [piece.removeprefix(PREFIX) for piece in vocabulary if not piece.startswith("[")]
    letters = {letter for piece in plain for letter in piece if len(piece) > 1}
    return sorted(PREFIX + letter for letter in letters if PREFIX + letter not in vocabulary)
