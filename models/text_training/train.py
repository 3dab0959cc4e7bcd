"""Trains a sentence encoder further: what was clicked comes near what it was searched by.

Examples go through a softmax over the batch (Henderson et al. 2017, arXiv:1705.00652; with hard
negatives as in Reimers and Gurevych 2019, arXiv:1908.10084). General similarity is kept by pairs in
between: with people's scores, whose order the cosines must follow (CoSENT, Su 2022), or without,
with the cosines that the encoder gave them before; and by mixing the weights with those of before
(Wortsman et al. 2022, arXiv:2109.01903).
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import UnsuitableInput, UnsuitableWeights
from models.text_training.data import Example, Pair, Retrieval
from models.text_training.evaluate import Encoder, reciprocal_ranks, similarity
from models.text_training.noise import misspellings, respelt
from models.text_training.recipe import Recipe

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

MOST_STEPS_BETWEEN_CHECKS = 500
CHECKPOINTS_KEPT = 2
MOST_COPIES = 4
"""Of an example that weighs more than others."""

METRIC = "score"
"""MRR@10 and rank correlation of the check, added up."""

SPREAD = "standard_error"
"""Of the MRR@10 of a check."""

LATER_IS_BETTER = 1e-9
LOST = -2.0
"""Below any score: the weights are no numbers any more."""

OnStep = Callable[[int, int], object]


@dataclass(frozen=True)
class Lesson:
    """What is learnt, and by what it is seen whether it is.

    Attributes
    ----------
    replay:
        Pairs with people's scores; empty: texts of the examples keep the cosines that they had.
    check:
        What is searched for after each pass, by which weights are chosen.
    check_pairs:
        The rank correlation on these pairs counts beside that; may be empty.
    """

    examples: Sequence[Example]
    replay: Sequence[Pair]
    check: Retrieval
    check_pairs: Sequence[Pair] = ()


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes
    ----------
    curve:
        Each a step with what was measured at it: loss, learning_rate; mrr, spearman, score.
    """

    steps: int
    best_step: int
    best_score: float
    device: str
    curve: list[dict[str, float]] = field(default_factory=list)


def train(
    source: Path,
    lesson: Lesson,
    recipe: Recipe,
    folder: Path,
    *,
    threads: int,
    new_pieces: int = 0,
    on_step: OnStep = lambda done, total: None,
) -> Outcome:
    """Trains the sentence-transformers model in `source`; `folder/model` holds the chosen weights.

    Called again with the same lesson and recipe after it was killed, it goes on from its last
    checkpoint. Takes a GPU where torch finds one.

    Parameters
    ----------
    folder:
        Of this training: `checkpoints/`, `model/`; made if absent.
    new_pieces:
        How many of the last pieces of the vocabulary were never trained.
    on_step:
        Told the number of steps done, and of all.

    Raises `UnsuitableInput` when there is nothing to learn from.
    """
    # Nothing that is trained here is fetched from anywhere. Threads that wait for each other by
    # spinning lose much of their time on cores that are shared with what serves.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.base.sampler import BatchSamplers, MultiDatasetBatchSamplers
    from transformers import EarlyStoppingCallback, PrinterCallback, set_seed
    from transformers.utils import logging

    if len(lesson.examples) < 2:
        raise UnsuitableInput("there are fewer than two examples to learn from")
    # The libraries' bars and figures would go between those of whoever calls.
    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    set_seed(recipe.seed)
    model = SentenceTransformer(str(source), local_files_only=True)
    datasets = _datasets(lesson, recipe, encoder(model))
    steps = sum(math.ceil(len(data) / recipe.batch) for data in datasets.values())
    every = max(1, min(MOST_STEPS_BETWEEN_CHECKS, steps // recipe.passes))
    checkpoints = folder / "checkpoints"
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        # The passes lie one after the other in the data, each with misspellings of its own.
        num_train_epochs=1,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        multi_dataset_batch_sampler=MultiDatasetBatchSamplers.PROPORTIONAL,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=CHECKPOINTS_KEPT,
        load_best_model_at_end=True,
        metric_for_best_model=METRIC,
        greater_is_better=True,
        logging_steps=max(1, every // 5),
        seed=recipe.seed,
        data_seed=recipe.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to="none",
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets,
        loss=_losses(model, datasets, recipe),
        evaluator=_check(lesson),
        callbacks=[
            EarlyStoppingCallback(early_stopping_patience=recipe.patience),
            _ahead(new_pieces, recipe.pieces_rate),
            _progress(on_step),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    latest = _latest(checkpoints)
    trainer.train(resume_from_checkpoint=str(latest) if latest else None)
    state = trainer.state
    chosen = _chosen(state, checkpoints)
    _keep(chosen, source, recipe.trained, new_pieces, folder / "model")
    return Outcome(
        steps=state.global_step,
        best_step=_step(chosen),
        best_score=_checks(state)[_step(chosen)][METRIC],
        device=str(model.device),
        curve=[_measured(entry) for entry in state.log_history],
    )


def encoder(model: "SentenceTransformer") -> Encoder:
    """The model as what texts are encoded by, in full precision."""

    def encode(texts: Sequence[str]) -> np.ndarray:
        return model.encode(
            list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False
        )

    return encode


def _datasets(lesson: Lesson, recipe: Recipe, before: Encoder) -> "dict[str, Dataset]":
    """Rows of all passes, by their kind: with a negative, without one, and replayed."""
    from datasets import Dataset

    random = np.random.default_rng(recipe.seed)
    rows: dict[str, list[dict[str, Any]]] = {"triplets": [], "pairs": [], "replay": []}
    examples = _weighted(lesson.examples)
    for _ in range(recipe.passes):
        for example in examples:
            words = misspellings(example.anchor, recipe.noise, random)
            row = {"anchor": respelt(example.anchor, words), "positive": example.positive}
            if example.negative is None:
                rows["pairs"].append(row)
            else:
                # Misspelt alike, so that an odd word in common is no sign of likeness.
                rows["triplets"].append({**row, "negative": respelt(example.negative, words)})
    count = round(recipe.replay * len(examples) * recipe.passes)
    replayed = _drawn(lesson.replay or _as_before(lesson.examples, before, random), count, random)
    rows["replay"] = [
        {"sentence1": pair.first, "sentence2": pair.second, "score": float(pair.score)}
        for pair in replayed
    ]
    return {name: Dataset.from_list(found) for name, found in rows.items() if len(found) > 1}


def _weighted(examples: Sequence[Example]) -> list[Example]:
    """Each as often as it weighs, the lightest half once."""
    middle = float(np.median([example.weight for example in examples]))
    return [
        example
        for example in examples
        for _ in range(max(1, min(MOST_COPIES, round(example.weight / middle))))
    ]


def _as_before(
    examples: Sequence[Example], before: Encoder, random: np.random.Generator
) -> list[Pair]:
    """Texts two by two, with the cosines that they have before the training."""
    texts = list(dict.fromkeys(text for each in examples for text in (each.anchor, each.positive)))
    shuffled = [texts[at] for at in random.permutation(len(texts))]
    cosines = (before(texts) * before(shuffled)).sum(axis=1)
    return [
        Pair(first, second, float(cosine))
        for first, second, cosine in zip(texts, shuffled, cosines, strict=True)
        if first != second
    ]


def _drawn(pairs: Sequence[Pair], count: int, random: np.random.Generator) -> list[Pair]:
    """So many of the pairs, none a second time before each had its turn."""
    if not pairs:
        return []
    turns = [random.permutation(len(pairs)) for _ in range(math.ceil(count / len(pairs)))]
    return [pairs[at] for at in np.concatenate(turns)[:count]] if turns else []


def _losses(
    model: "SentenceTransformer", datasets: "dict[str, Dataset]", recipe: Recipe
) -> dict[str, Any]:
    from sentence_transformers.sentence_transformer.losses import (
        CoSENTLoss,
        MultipleNegativesRankingLoss,
    )

    ranking = MultipleNegativesRankingLoss(model, scale=recipe.scale)
    losses = {"triplets": ranking, "pairs": ranking, "replay": CoSENTLoss(model)}
    return {name: losses[name] for name in datasets}


def _check(lesson: Lesson) -> Any:
    """What the trainer asks after each pass."""
    from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

    class Check(SentenceEvaluator):
        def __init__(self) -> None:
            super().__init__()
            self.greater_is_better = True
            self.primary_metric = METRIC

        def __call__(
            self, model: Any, output_path: Any = None, epoch: float = 0, steps: int = 0
        ) -> dict[str, float]:
            encode = encoder(model)
            try:
                ranks = reciprocal_ranks(encode, lesson.check)
                found = {"mrr": float(ranks.mean())}
                if lesson.check_pairs:
                    found["spearman"] = similarity(encode, lesson.check_pairs).spearman
            except UnsuitableWeights:
                # A training that diverges is no failure of its run: its model is refused.
                return {METRIC: LOST}
            # Of equal ones the later is the better: its steps were smaller.
            score = sum(found.values()) + steps * LATER_IS_BETTER
            return {**found, SPREAD: float(ranks.std() / math.sqrt(ranks.size)), METRIC: score}

    return Check()


def _ahead(new_pieces: int, times: float) -> Any:
    """Takes the vectors of new pieces further in each step.

    The rate that keeps the other weights near where they were moves a vector by a small part of its
    length in a whole training, and these begin as the mean of what they are not.
    """
    from transformers import TrainerCallback

    class Ahead(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            self._before = self._vectors(given["model"]).clone()

        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            vectors = self._vectors(given["model"])
            vectors.add_(vectors - self._before, alpha=times - 1)

        def _vectors(self, model: Any) -> Any:
            rows = model.get_parameter(_word_embeddings(dict(model.named_parameters()))).data
            return rows[len(rows) - new_pieces :]

    return Ahead()


def _word_embeddings(names: Iterable[str]) -> str:
    """Which of a model's tensors has a row for each piece of the vocabulary."""
    (name,) = (name for name in names if name.endswith("embeddings.word_embeddings.weight"))
    return name


def _progress(on_step: OnStep) -> Any:
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            on_step(state.global_step, state.max_steps)

    return Progress()


def _latest(checkpoints: Path) -> Path | None:
    """The last complete checkpoint; what a killed run left unfinished is removed.

    The trainer writes its state behind everything else.
    """
    found = sorted(checkpoints.glob("checkpoint-*"), key=_step)
    complete = []
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text())
        except (OSError, ValueError):
            shutil.rmtree(path)
        else:
            complete.append(path)
    return complete[-1] if complete else None


def _chosen(state: Any, checkpoints: Path) -> Path:
    """The last weights, unless those with the best score are better by more than chance.

    A check of some dozen queries goes up and down by itself, and the last steps are the smallest:
    what is within a standard error of the best is taken for as good (Breiman et al. 1984,
    Classification and Regression Trees, section 3.4.3).
    """
    best, last = Path(state.best_model_checkpoint), _latest(checkpoints)
    checks = _checks(state)
    least = checks[_step(best)][METRIC] - checks[_step(best)].get(SPREAD, 0.0)
    if last is None or checks.get(_step(last), {METRIC: LOST})[METRIC] < least:
        return best
    return last


def _checks(state: Any) -> dict[int, dict[str, float]]:
    """What each check has measured, by its step."""
    measured = map(_measured, state.log_history)
    return {int(one["step"]): one for one in measured if METRIC in one}


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _keep(best: Path, source: Path, share: float, new_pieces: int, target: Path) -> None:
    """The model of a checkpoint, mixed with the one before; complete or not there.

    Vectors of new pieces are taken whole: what was before knew nothing of them.
    """
    from safetensors.numpy import load_file, save_file

    begun = target.with_suffix(".begun")
    shutil.rmtree(begun, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    trainers = shutil.ignore_patterns("*.pt", "*.pth", "trainer_state.json", "training_args.bin")
    shutil.copytree(best, begun, ignore=trainers)
    before, after = (load_file(folder / "model.safetensors") for folder in (source, best))
    mixed = {
        name: (1 - share) * before[name] + share * value if value.dtype.kind == "f" else value
        for name, value in after.items()
    }
    name = _word_embeddings(mixed)
    first = len(mixed[name]) - new_pieces
    mixed[name][first:] = after[name][first:]
    save_file(mixed, begun / "model.safetensors", metadata={"format": "pt"})
    begun.rename(target)


def _measured(entry: dict[str, Any]) -> dict[str, float]:
    return {
        name.removeprefix("eval_"): float(value)
        for name, value in entry.items()
        if isinstance(value, int | float)
    }
