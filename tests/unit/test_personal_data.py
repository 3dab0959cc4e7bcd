"""What is kept of what people type."""

import pytest

from pipeline.personal_data import without_personal_data


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("plumber jo.o'hara+x@mail.example.org near me", "plumber near me"),
        ("mail:ann@example", ""),
        ("call +91 98765-43210 today", "call today"),
        ("dentist (080) 2345 6789", "dentist"),
        ("salon9876543210now", "salon now"),
        ("card 4111 1111 1111 1111", "card"),
        ("customer 1234567", "customer"),
        ("٠١٢٣٤٥٦٧٨٩ مطعم", "مطعم"),
    ],
)
def test_addresses_and_long_numbers_go(typed, kept):
    assert without_personal_data(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "24 hour gym",
        "salon @ home",
        "pizza 560001",
        "12 High Street",
        "best of 2026",
        "caf\u00e9 😀",
        "",
    ],
)
def test_what_says_where_and_what_stays(typed):
    assert without_personal_data(typed) == typed


def test_white_space_is_single():
    assert without_personal_data("  coffee \n shop ") == "coffee shop"
