import json
from pathlib import Path

import pytest

from models.text_training.data import Example, Pair
from pipeline.retraining.datasets import (
    UnreadableDataset,
    read_examples,
    read_quora,
    read_retrieval,
    read_sts,
    read_texts,
)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_triplets_are_read_with_their_weights_and_without_a_negative(tmp_path: Path) -> None:
    rows = [
        {"anchor": "hina", "positive": "henna", "negative": "hyena", "weight": 3, "origin": "logs"},
        {"anchor": "mehndi", "positive": "henna", "negative": None, "word": "mehndi"},
    ]
    path = written(tmp_path / "train.jsonl", "\n".join(json.dumps(row) for row in rows) + "\n\n")
    assert read_examples(path) == [
        Example("hina", "henna", "hyena", 3.0, "logs"),
        Example("mehndi", "henna", None, 1.0, "train"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: not an object"),
        ('{"anchor": "a"}', "line 2: positive is None"),
        ('{"anchor": " ", "positive": "b"}', "line 2: anchor is ' '"),
        ('{"anchor": "a", "positive": "b", "weight": 0}', "line 2: 0 is not a number above 0"),
        ('{"anchor": "a", "positive": "b", "weight": NaN}', "line 2: nan is not a number"),
    ],
)
def test_a_triplet_that_is_none_is_refused_with_its_line(
    tmp_path: Path, line: str, reason: str
) -> None:
    path = written(tmp_path / "train.jsonl", f'{{"anchor": "a", "positive": "b"}}\n{line}\n')
    with pytest.raises(UnreadableDataset, match=reason):
        read_examples(path)


def test_the_counts_of_a_text_that_comes_twice_are_added(tmp_path: Path) -> None:
    path = written(tmp_path / "texts.jsonl", '{"text": "hina", "count": 2}\n{"text": "hina"}\n')
    assert read_texts(path) == {"hina": 3.0}


def test_sts_scores_become_shares_and_quoted_commas_stay(tmp_path: Path) -> None:
    path = written(tmp_path / "sts.csv", 'A cat.,"A cat, small.",2.5\nA dog.,"The ""dog"".",5\n')
    assert read_sts(path) == [Pair("A cat.", "A cat, small.", 0.5), Pair("A dog.", 'The "dog".', 1)]


def test_sts_may_have_a_header(tmp_path: Path) -> None:
    path = written(tmp_path / "sts.csv", "sentence1,sentence2,score\nA cat.,A dog.,1\n")
    assert read_sts(path) == [Pair("A cat.", "A dog.", 0.2)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,b", "line 2: 2 fields"),
        ("a,b,high", "line 2: 'high' is no score"),
        ("a,b,5.5", "line 2: the score 5.5 is not between 0 and 5"),
        ("a,b,nan", "line 2: the score nan is not between 0 and 5"),
    ],
)
def test_an_sts_row_that_is_none_is_refused_with_its_line(
    tmp_path: Path, line: str, reason: str
) -> None:
    with pytest.raises(UnreadableDataset, match=reason):
        read_sts(written(tmp_path / "sts.csv", f"a,b,1\n{line}\n"))


def test_quora_pairs_are_read_by_the_names_of_their_columns(tmp_path: Path) -> None:
    path = written(
        tmp_path / "quora.tsv",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
        '0\t1\t2\tWhat is "hina"?\t"What is ""henna""?"\t1\n1\t3\t4\tWho?\tWhen?\t0\n',
    )
    assert read_quora(path) == [
        Pair('What is "hina"?', 'What is "henna"?', 1.0),
        Pair("Who?", "When?", 0.0),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("question1\tquestion2\n", "line 1: no column is_duplicate"),
        ("question1\tquestion2\tis_duplicate\na\tb\n", "line 2: 2 fields, not 3"),
        ("question1\tquestion2\tis_duplicate\na\tb\tyes\n", "line 2: is_duplicate is 'yes'"),
        ("question1\tquestion2\tis_duplicate\n", "holds no pair"),
    ],
)
def test_a_quora_file_that_is_none_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(UnreadableDataset, match=reason):
        read_quora(written(tmp_path / "quora.tsv", text))


def test_a_folder_in_the_format_of_ms_marco_is_what_is_searched(tmp_path: Path) -> None:
    written(tmp_path / "queries.tsv", "q1\thina near me\nq2\tnever asked\nq3\tbakery\n")
    written(tmp_path / "collection.tsv", 'p1\tHenna by hand\np2\tA "bakery\np3\tA bank\n')
    written(tmp_path / "qrels.tsv", "q1 0 p1 1\nq1\t0\tp3\t0\nq3 0 p2 2\nq2 0 p9 1\n")
    found = read_retrieval(tmp_path)
    assert found.queries == ("hina near me", "bakery")
    assert found.corpus == ("Henna by hand", 'A "bakery', "A bank")
    assert found.relevant == (frozenset({0}), frozenset({1}))


def test_judgements_of_an_unknown_query_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "queries.tsv", "q1\thina\n")
    written(tmp_path / "collection.tsv", "p1\tHenna\n")
    written(tmp_path / "qrels.tsv", "q1 0 p1 1\nq7 0 p1 1\n")
    with pytest.raises(UnreadableDataset, match=r"qrels\.tsv, line 2: queries\.tsv has no query"):
        read_retrieval(tmp_path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataset, match=r"absent\.csv cannot be read: No such file"):
        read_sts(tmp_path / "absent.csv")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sts.csv"
    path.write_bytes("café,café,1\n".encode("latin-1"))
    with pytest.raises(UnreadableDataset, match=r"sts\.csv is not UTF-8"):
        read_sts(path)
