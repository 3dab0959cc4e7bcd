"""Rows carried between embedded stores and those on servers."""

import pytest

from pipeline.stores.documents_mongo import MongoDocuments
from tests.unit.stores.test_portable import *  # noqa: F403
from tests.unit.stores.test_portable import carry, fill, rows

pytestmark = pytest.mark.services


@pytest.mark.parametrize("steps", range(3))
def test_an_image_that_was_cut_off_is_ended_by_the_next_call(
    documents: MongoDocuments, other, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    fill(other)
    settle, left = MongoDocuments._settle, iter(range(steps))

    def killed(store: MongoDocuments, row) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        settle(store, row)

    with monkeypatch.context() as patch:
        patch.setattr(MongoDocuments, "_settle", killed)
        with pytest.raises(KeyboardInterrupt):
            carry(other, documents)
    carry(other, documents)
    assert rows(documents) == rows(other)
    for space in ("", "new"):
        scores = [store.relevance(["B1"], [0, 3, 4], space) for store in (documents, other)]
        assert sorted(scores[0], key=repr) == sorted(scores[1], key=repr)
