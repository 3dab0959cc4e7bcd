"""Rows carried from a store to an empty one of its kind, whatever serves either."""

import base64

import numpy as np
import pytest

from pipeline.api_keys import ApiKey, Scope
from pipeline.records import ANY_CATEGORY, AltTag, Business, Category
from pipeline.stores.api_keys import ApiKeys
from pipeline.stores.documents import DocumentStore
from pipeline.stores.documents_sqlite import SqliteDocuments
from pipeline.stores.events import Events
from pipeline.stores.portable import Portable, Row
from pipeline.stores.relational import Directory
from pipeline.stores.shadow import ShadowRecords
from pipeline.stores.vectors import VectorStore
from tests.unit.stores.test_documents import letter, photo, rows_of, scored
from tests.unit.stores.test_events import click, event
from tests.unit.stores.test_shadow import comparison, recorded


def rows(store: Portable) -> dict[str, list[Row]]:
    """All of a store, in one order."""
    return {part: sorted(store.every_row(part), key=repr) for part in store.parts}


def carry(source: Portable, target: Portable) -> None:
    for part in source.parts:
        target.add_rows(part, list(source.every_row(part)))


def fill(documents: DocumentStore) -> None:
    """One of everything: two generations, two spaces, a tombstone, and an image without scores."""
    documents.save_businesses([Business(docid=docid, name=docid) for docid in ("B1", "B2", "B3")])
    for sha256 in ("a", "b"):
        documents.accept_image(photo(sha256))
    documents.patch_metadata("B1", 7, 2, {"tags": ["cup"], "measures": {"blur": 0.25}})
    documents.save_relevance(rows_of(scored(generation=2), scored(4, generation=2)))
    documents.save_relevance(
        [row.model_copy(update={"space": "new"}) for row in rows_of(scored(generation=2))]
    )
    documents.accept_image(photo("c", product_id=8))
    documents.accept_image(photo("d", "B2", 1))
    documents.delete_image("B2", 1)
    documents.save_pixel_fact("b", "labels", "m/1", {"labels": [1, 2]})
    documents.save_pixel_fact("b", "enhancement", "m", {"key": "enhanced/b.png"})
    documents.park(letter("one", docid="B1", args=[10**30]))
    documents.park(letter("two"))
    documents.save_value("background", {"names": ["tea"]})
    documents.save_value("spaces", ["", "new"])


@pytest.fixture
def other(tmp_path):
    """A document store of the other profile."""
    store = SqliteDocuments(f"sqlite:///{tmp_path}/other.db")
    yield store
    store.close()


def test_documents_come_out_as_they_went_in(documents, other, monkeypatch):
    monkeypatch.setattr("pipeline.stores.database.PAGE", 2)
    monkeypatch.setattr("pipeline.stores.documents_mongo.WALKED_AT_ONCE", 2)
    monkeypatch.setattr("pipeline.stores.document_rows.READ_AT_ONCE", 2)
    fill(other)
    carry(other, documents)
    assert rows(documents) == rows(other)
    assert [len(found) for found in rows(documents).values()] == [3, 3, 2, 2, 2]
    page = {"B1": [ANY_CATEGORY, 3, 4]}
    for space in ("", "new"):
        scores = [store.relevance(["B1"], [0, 3, 4], space) for store in (documents, other)]
        assert sorted(scores[0], key=repr) == sorted(scores[1], key=repr)
        assert documents.page(page, space)["B1"].scores[3].values == {7: 0.5}
    assert documents.image("B2", 1) == other.image("B2", 1)


def test_documents_go_out_as_they_came_in(documents, other):
    fill(documents)
    carry(documents, other)
    assert rows(documents) == rows(other)


def test_adding_rows_again_changes_nothing(documents, other):
    fill(other)
    carry(other, documents)
    before = rows(documents)
    carry(other, documents)
    assert rows(documents) == before


def test_what_is_there_stays_with_its_rest(documents, other):
    fill(other)
    for sha256 in ("a", "b", "newer"):
        documents.accept_image(photo(sha256))
    documents.save_businesses([Business(docid="B1", name="Renamed")])
    documents.save_value("background", {"names": ["coffee"]})
    carry(other, documents)
    image = documents.image("B1", 7)
    assert (image.sha256, image.generation) == ("newer", 3)
    assert not documents.metadata([("B1", 7)])
    assert not documents.relevance(["B1"], [3])
    assert documents.businesses(["B1"])["B1"].name == "Renamed"
    assert documents.value("background") == {"names": ["coffee"]}
    assert documents.image("B1", 8) == other.image("B1", 8)


def test_an_image_that_was_added_goes_on_like_any_other(documents, other):
    fill(other)
    carry(other, documents)
    assert documents.patch_metadata("B1", 7, 2, {"alt_text": "a cup"})
    assert documents.save_relevance(rows_of(scored(5, generation=2)))
    assert {row.catid for row in documents.relevance(["B1"], [0, 3, 4, 5])} == {0, 5}
    assert documents.delete_image("B1", 7)
    assert not documents.relevance(["B1"], [0, 3, 4, 5])
    assert not documents.patch_metadata("B1", 7, 2, {"alt_text": "late"})
    assert not documents.patch_metadata("B2", 1, 1, {"alt_text": "late"})


def test_an_image_is_carried_as_it_stood_at_one_moment(documents, monkeypatch):
    fill(documents)
    read = documents.metadata

    def replaced_before_it_is_read(keys):
        monkeypatch.setattr(documents, "metadata", read)
        documents.accept_image(photo("newer"))
        documents.patch_metadata("B1", 7, 3, {"tags": ["newer"]})
        return read(keys)

    monkeypatch.setattr(documents, "metadata", replaced_before_it_is_read)
    found, *_ = (row for row in documents.every_row("images") if row["image"]["product_id"] == 7)
    assert (found["image"]["generation"], found["image"]["sha256"]) == (3, "newer")
    assert found["metadata"]["tags"] == ["newer"]
    assert found["relevance"] == []


def test_what_an_earlier_photo_has_left_is_not_carried(documents, monkeypatch):
    fill(documents)
    (known,) = documents.metadata([("B1", 7)]).values()
    late = {("B1", 7): known.model_copy(update={"generation": 1})}
    monkeypatch.setattr(documents, "metadata", lambda keys: late)
    found, *_ = (row for row in documents.every_row("images") if row["image"]["product_id"] == 7)
    assert found["metadata"] is None
    assert len(found["relevance"]) == 5


def test_a_directory_is_carried_over_and_its_processes_see_new_names(
    directory, tmp_path, monkeypatch
):
    monkeypatch.setattr("pipeline.stores.database.PAGE", 2)
    source = Directory(f"sqlite:///{tmp_path}/source.db")
    for docid in ("B1", "B2"):
        source.save_categories(
            docid,
            [Category(catid=1, name="Tea", is_hot=True), Category(catid=2, name=f"Café {docid}")],
        )
    source.add_vocabulary(["Florists"])
    for number in range(1, 4):
        source.save_alt_text(
            AltTag(docid="B1", product_id=number, alttag="Ein Café ☕", score=0.1, source="manual")
        )
    before = directory.vocabulary_version()
    carry(source, directory)
    carry(source, directory)
    assert rows(directory) == rows(source)
    assert directory.vocabulary() == source.vocabulary()
    assert directory.vocabulary_version() != before
    source.close()


def test_vectors_are_carried_over_bit_by_bit(vectors: VectorStore):
    made = {("clip@1", "picture"): 4, ("mini/lm", "description"): 3}
    random = np.random.default_rng(7)
    wanted = {}
    for (model, kind), size in made.items():
        for number in range(1, 4):
            vector = random.normal(size=size).astype(np.float32)
            wanted[model, kind, "B1", number] = base64.b64encode(vector.tobytes()).decode()
            vectors.save_image(model, kind, "B1", number, vector)
    found = list(vectors.every_row("image_embeddings"))
    keys = ("model", "kind", "docid", "product_id")
    assert {tuple(row[key] for key in keys): row["vector"] for row in found} == wanted
    vectors.delete_image("B1", 2)
    vectors.save_image("clip@1", "picture", "B1", 3, np.ones(4))
    vectors.add_rows("image_embeddings", found)
    there = vectors.images("clip@1", "picture", ["B1"])
    assert (
        base64.b64encode(there["B1", 2].tobytes()).decode() == wanted["clip@1", "picture", "B1", 2]
    )
    assert there["B1", 3].tolist() == [1, 1, 1, 1]
    assert len(list(vectors.every_row("image_embeddings"))) == 6


def test_keys_are_carried_over_with_their_state(keys, tmp_path):
    source = ApiKeys(f"sqlite:///{tmp_path}/source.db")
    for name in "abc":
        source.save(
            ApiKey(
                key_id=name * 12,
                name="Importer",
                digest="d" * 64,
                scopes={Scope.INGEST, Scope.READ},
                created_at=1.5,
            )
        )
    source.revoke("b" * 12)
    carry(source, keys)
    carry(source, keys)
    assert keys.all() == source.all()
    source.close()


def test_comparisons_and_events_are_carried_over(shadow, events, tmp_path):
    compared = ShadowRecords(f"sqlite:///{tmp_path}/source.db")
    compared.save([comparison(), comparison(is_replay=True, likeness=None, error="OSError")])
    happened = Events(f"sqlite:///{tmp_path}/source.db")
    happened.save([click("a", query="cofee"), event("A")])
    carry(compared, shadow)
    carry(happened, events)
    assert (rows(shadow), rows(events)) == (rows(compared), rows(happened))
    assert sorted(recorded(shadow), key=repr) == sorted(recorded(compared), key=repr)
    compared.close()
    happened.close()
