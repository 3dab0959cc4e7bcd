"""What counts as a term out of vocabulary."""

import pytest

from pipeline.retraining.oov import is_oov, oov_share, terms


def of_four_letters(term: str) -> int:
    """A tokenizer that knows words of up to four letters."""
    return -(-len(term) // 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hair-Cut, men's!", ["hair", "cut", "men", "s"]),
        ("  ", []),
        ("\ufb01sh", ["fish"]),
        ("मेहंदी के बाल", ["मेहंदी", "के", "बाल"]),
        ("24x7 café", ["24x7", "café"]),
    ],
)
def test_terms_are_runs_of_letters_and_digits_with_their_marks(text, expected):
    assert terms(text) == expected


def test_a_term_of_more_than_one_piece_is_out_of_vocabulary():
    assert not is_oov("café", of_four_letters)
    assert is_oov("mehndi", of_four_letters)


@pytest.mark.parametrize(
    ("text", "share"), [("nail art", 0), ("mehndi art", 0.5), ("Mehndi", 1), ("", 0), ("?!", 0)]
)
def test_the_share_is_of_all_terms(text, share):
    assert oov_share(text, of_four_letters) == share
