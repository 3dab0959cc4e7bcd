"""Dotted-path patches mean what MongoDB's ``$set`` means."""

from copy import deepcopy
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stores.patches import apply_patch

names = st.sampled_from("abc")
paths = st.lists(names, min_size=1, max_size=3).map(".".join)
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(names, values | st.dictionaries(names, values, max_size=3), max_size=3)


def leaves(document, above=()):
    """Every path to something that is not an object with parts."""
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name), value


@settings(max_examples=200, deadline=None)
@given(objects, st.dictionaries(paths, values, min_size=1, max_size=4))
def test_a_patch_sets_its_paths_and_nothing_else_or_is_refused_whole(document, patch):
    before = deepcopy(document)
    try:
        apply_patch(document, patch)
    except ValueError:
        assert document == before
        return
    for path, value in patch.items():
        assert reduce(dict.__getitem__, path.split("."), document) == value
    for way, value in leaves(before):
        starts = {".".join(way[:depth]) for depth in range(1, len(way) + 1)}
        if not starts & patch.keys() and value != {}:
            assert reduce(dict.__getitem__, way, document) == value


def test_objects_on_the_way_are_made():
    document = {"a": 1}
    apply_patch(document, {"b.c.d": 2, "b.c.e": 3})
    assert document == {"a": 1, "b": {"c": {"d": 2, "e": 3}}}


@pytest.mark.parametrize(
    ("document", "patch"),
    [
        ({"a": 1}, {"a.b": 2}),
        ({"a": None}, {"a.b": 2}),
        ({"a": [1]}, {"a.0": 2}),
        ({}, {"a": {}, "a.b": 2}),
        ({}, {"a.b": 2, "a": {}}),
        ({}, {"a.": 2}),
        ({}, {".a": 2}),
    ],
)
def test_a_path_through_what_is_no_object_is_refused(document, patch):
    before = deepcopy(document)
    with pytest.raises(ValueError):
        apply_patch(document, patch)
    assert document == before
