"""What comes out of prepare: rows without leaks, texts for a tokenizer, and a card of counts."""

import json
import random
from collections import Counter
from string import ascii_lowercase
from types import SimpleNamespace

import pytest
from rapidfuzz.distance import Indel

from pipeline.retraining.assembly import NothingToPrepare, Prepared, assemble
from pipeline.retraining.capture import DAY
from pipeline.retraining.cleaning import normalised
from pipeline.retraining.data_card import figures, log_card
from pipeline.retraining.evidence import Evidence
from pipeline.retraining.near_copies import CUTOFF
from pipeline.retraining.pairs import Texts
from pipeline.retraining.prepare import prepare, remove_old, write
from pipeline.retraining.roll import roll
from pipeline.retraining.splitting import Part
from pipeline.settings import Settings
from pipeline.stores import open_stores
from tests.unit.stores.test_queries import typed

NOW = 1_767_225_600.0


def of_five_letters(term: str) -> int:
    """A tokenizer that knows words of up to five letters."""
    return -(-len(term) // 5)


def words(count: int) -> list[str]:
    chance = random.Random(5)
    return ["".join(chance.choices(ascii_lowercase, k=9)) + "a" for _ in range(count)]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """Three hundred words, each asked for rightly and misspelt, and some triplets."""
    found = Evidence()
    for n, word in enumerate(words(300)):
        for query in (f"{word} shop", f"{word} shops"):
            found.asked[query] = 1 + 300 // (n + 1)
            found.meant[query, f"Category {n % 7}"] = 1 + n % 9
    for n, word in enumerate(words(40)):
        found.triplets[f"{word} is rare", f"there is little of {word}", f"{word} {n}"] = 1
    return found


@pytest.fixture(scope="module")
def made(evidence) -> Prepared:
    return assemble(evidence, Texts(), of_five_letters)


def anchors(made: Prepared, part: Part) -> set[str]:
    return {row["anchor"] for row in made.rows[part]}


def test_every_part_has_rows_of_its_own(made):
    counts = {part: len(anchors(made, part)) for part in Part}
    assert all(counts.values())
    assert counts[Part.TRAIN] > 4 * counts[Part.DEV]
    assert sum(counts.values()) == 640


def test_no_near_copy_crosses_the_split(made):
    train = anchors(made, Part.TRAIN)
    for other in (Part.DEV, Part.TEST):
        for held_out in anchors(made, other):
            likest = max(Indel.normalized_similarity(held_out, text) for text in train)
            assert likest < CUTOFF, held_out


def test_rows_say_how_much_they_count_and_where_they_come_from(made):
    rows = [row for part in Part for row in made.rows[part]]
    word = words(2)[1]
    (one,) = [row for row in rows if row["anchor"] == f"{word} shop"]
    assert one == {
        "anchor": f"{word} shop",
        "positive": "Category 1",
        "negative": None,
        "weight": 2,
        "origin": "resolution",
        "oov_share": 0.5,
    }
    (triplet,) = [row for row in rows if row["anchor"] == f"{word} is rare"]
    assert (triplet["negative"], triplet["origin"]) == (f"{word} 1", "triplet")


def test_a_tokenizer_learns_nothing_of_dev_and_test(made):
    texts = {normalised(text) for text in made.texts}
    for part in (Part.DEV, Part.TEST):
        assert not texts & anchors(made, part)
        own = {normalised(row["positive"]) for row in made.rows[part] if row["origin"] == "triplet"}
        assert not texts & own
    assert anchors(made, Part.TRAIN) <= texts
    assert "category 1" in texts


def test_nor_where_what_is_asked_in_dev_is_right_for_something_in_train():
    own = words(60)
    evidence = Evidence(
        asked=Counter(own), meant=Counter(zip(own, [*own[1:], own[0]], strict=True))
    )
    made = assemble(evidence, Texts(), of_five_letters)
    right = {row["positive"] for row in made.rows[Part.TRAIN]}
    held_out = anchors(made, Part.DEV) | anchors(made, Part.TEST)
    assert right & held_out
    assert not made.texts.keys() & held_out


def test_a_query_that_nothing_is_right_for_is_still_a_text():
    evidence = Evidence(asked=Counter({"zeppelin": 4}))
    made = assemble(evidence, Texts(), of_five_letters)
    assert made.texts == {"zeppelin": 4}
    assert not any(made.rows.values())


def test_the_same_counts_give_the_same_data_and_another_seed_others(evidence, made):
    again = assemble(evidence, Texts(), of_five_letters)
    assert (again.rows, again.texts, again.card) == (made.rows, made.texts, made.card)
    other = assemble(evidence, Texts(), of_five_letters, seed=2)
    assert anchors(other, Part.TEST) != anchors(made, Part.TEST)


def test_the_card_counts_and_tells_no_query(evidence, made):
    card = made.card
    assert card["queries"] == 640
    assert card["asked"] == evidence.asked.total() + 40
    assert card["parts"]["train"]["rows"] == len(made.rows[Part.TRAIN])
    assert card["near_copies"]["groups"] < 640
    assert sum(sum(counts.values()) for counts in card["strata"].values()) == 640
    assert {name.split(", ")[0] for name in card["strata"]} == {"head", "torso", "tail"}
    told = json.dumps(card)
    assert not any(text in told for text in evidence.asked)


def test_of_too_many_texts_the_frequent_ones_are_taken(monkeypatch):
    monkeypatch.setattr("pipeline.retraining.assembly.MOST_TEXTS", 3)
    evidence = Evidence(asked=Counter({"alpha": 5, "omega": 4, "sigma": 1, "kappa": 1, "theta": 1}))
    made = assemble(evidence, Texts(), of_five_letters)
    assert made.card["queries"] == 3
    assert made.card["dropped"] == {"beyond the most": 2}
    assert {"alpha", "omega"} < made.texts.keys()


def test_what_goes_with_many_anchors_does_not_tie_them_together():
    triplets = Counter({(f"{word} near me", "Coffee Shops", ""): 1 for word in words(50)})
    made = assemble(Evidence(triplets=triplets), Texts(), of_five_letters)
    assert made.card["near_copies"]["largest"] < 25
    assert anchors(made, Part.TEST)


class TestFolder:
    @pytest.fixture
    def here(self, tmp_path, monkeypatch):
        chosen = Settings(data_dir=tmp_path)
        stores = open_stores(chosen)
        for day in range(2):
            at = NOW + day * DAY
            with monkeypatch.context() as then:
                then.setattr("pipeline.stores.queries.time", SimpleNamespace(time=lambda at=at: at))
                queries = [
                    typed(f"{day}-{n}", f"{word} shop", asked_at=at)
                    for n, word in enumerate(words(30))
                ]
                stores.queries.save(queries)
            roll(stores, days=0, now=at + DAY / 2)
        yield SimpleNamespace(stores=stores, settings=chosen)
        stores.close()

    def prepared(self, here, **options):
        return prepare(here.stores, here.settings, of_five_letters, encoder="m@1", **options)

    def test_holds_the_data_of_all_hours_and_their_card(self, here, tmp_path):
        steps = []
        folder = self.prepared(here, run="first", step=lambda *one: steps.append(one))
        assert folder == tmp_path / "retraining" / "first"
        names = {path.name for path in (folder / "data").iterdir()}
        assert names == {"train.jsonl", "dev.jsonl", "test.jsonl", "texts.jsonl", "card.json"}
        card = json.loads((folder / "data" / "card.json").read_text())
        assert card["asked"] == 60
        assert card["sources"] == {"hours": 2, "files": []}
        assert card["from"] == "2026-01-01T00:00:00+00:00"
        assert card["encoder"] == "m@1"
        assert ("hours", 2, 2) in steps

    def test_of_a_run_that_is_there_stays_as_it_is(self, here):
        folder = self.prepared(here, run="first")
        (folder / "data" / "train.jsonl").write_text("kept")
        assert self.prepared(here, run="first") == folder
        assert (folder / "data" / "train.jsonl").read_text() == "kept"

    def test_takes_files_beside_the_hours(self, here, tmp_path):
        (tmp_path / "more.jsonl").write_text('{"anchor": "a rose", "positive": "a flower"}\n')
        folder = self.prepared(here, files=[tmp_path / "more.jsonl"])
        card = json.loads((folder / "data" / "card.json").read_text())
        assert card["read"] == {"queries": 60, "triplets": 1}
        assert card["sources"]["files"] == ["more.jsonl"]

    def test_of_nothing_is_refused(self, here):
        with pytest.raises(NothingToPrepare, match="no queries yet"):
            self.prepared(here, days=1)

    def test_goes_when_its_queries_have_been_kept_long_enough(self, here):
        folder = self.prepared(here, run="old")
        made_at = (folder / "data").stat().st_mtime
        days = here.settings.queries_days
        assert remove_old(here.settings, made_at + days * DAY - 1) == 0
        assert remove_old(here.settings, made_at + days * DAY + 1) == 1
        assert not (folder / "data").exists()

    def test_is_whole_or_not_there(self, tmp_path, made, monkeypatch):
        monkeypatch.setattr("pipeline.retraining.prepare.json.dumps", None)
        with pytest.raises(TypeError):
            write(tmp_path / "run" / "data", made)
        assert not (tmp_path / "run" / "data").exists()
        monkeypatch.undo()
        write(tmp_path / "run" / "data", made)
        assert len(list((tmp_path / "run").iterdir())) == 1


def test_a_card_is_logged_to_mlflow_once(tmp_path, made):
    import mlflow

    chosen = Settings(data_dir=tmp_path)
    card = {"run": "tonight", "encoder": "m@1", "from": None, "until": None, **made.card}
    run_id = log_card(card, chosen)
    assert log_card(card, chosen) == run_id
    run = mlflow.MlflowClient(chosen.mlflow_url).get_run(run_id)
    assert run.data.metrics["parts/train/rows"] == len(made.rows[Part.TRAIN])
    assert run.data.params["encoder"] == "m@1"
    assert list((tmp_path / "mlartifacts").rglob("card.json"))


def test_figures_of_a_card_are_its_numbers():
    card = {"seed": 1, "run": "r", "strata": {"head, known": {"train": 3}}, "asked": 0.5}
    assert dict(figures(card)) == {"strata/head known/train": 3, "asked": 0.5}
