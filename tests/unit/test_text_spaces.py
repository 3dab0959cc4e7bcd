"""Another text model beside the one that serves: filled, cut over to, and back."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create
from api.servings import Answering, Servings
from api.wiring import Services
from models import artefacts
from pipeline.errors import ConfigurationError, ObjectMissing, StoreUnavailable
from pipeline.messages import ImageMessage
from pipeline.records import ANY_CATEGORY, CatalogueImage, ImageRelevance
from pipeline.retraining.changeover import ChangeOver
from pipeline.stores.objects_folder import FolderObjects
from pipeline.text_spaces import (
    FILES,
    MOST_FETCHED,
    TextSpaces,
    fetch,
    publish,
    put_in_force,
    text_spaces,
)
from tasks.runtime import Runtime
from tasks.score import ScoreStage
from tests.shops import COFFEE

EVERY_PHOTO = 11


def swapped(folder: Path, weights: Path, one: str, other: str) -> Path:
    """The embedded text model with two words that mean each other."""
    shutil.copytree(artefacts.ensure(weights, "minilm"), folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words[one], words[other] = words[other], words[one]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.fixture
def challenger(own_shops: Services, tmp_path: Path) -> str:
    """The name of a published model to which coffee is what pets are to others."""
    weights = own_shops.settings.model_dir
    folder = swapped(tmp_path / "swapped", weights, "coffee", "pet")
    return publish(own_shops.stores.objects, folder, 2)


@pytest.fixture
def runtime(own_shops: Services, tmp_path: Path) -> Runtime:
    """A worker's, on the shops' stores."""
    here = Runtime(own_shops.settings)
    here.stores = own_shops.stores
    return here


def rows(services: Services, docid: str, space: str, *catids: int) -> list[ImageRelevance]:
    return services.stores.documents.relevance([docid], catids or [ANY_CATEGORY], space)


class TestSpacesInForce:
    def test_are_those_of_the_settings_model_at_first(self, own_shops):
        assert text_spaces(own_shops.stores.documents) == TextSpaces()

    def test_change_by_a_cut_over_and_its_inverse(self):
        challenged = TextSpaces(serving="a").challenged("b")
        over = challenged.cut_over()
        assert over == TextSpaces(serving="b", previous="a")
        assert over.rolled_back() == challenged
        assert TextSpaces().challenged("b").cut_over().rolled_back().serving == ""

    def test_keep_up_all_that_may_serve_again(self):
        spaces = TextSpaces(serving="a", previous="b", challenger="c")
        assert spaces.retrained == ("a", "b", "c")
        assert TextSpaces(previous="").retrained == ()

    @pytest.mark.parametrize(
        "change",
        [
            lambda: TextSpaces().cut_over(),
            lambda: TextSpaces().rolled_back(),
            lambda: TextSpaces(serving="a").challenged("a"),
            lambda: TextSpaces(serving="a", previous="b").challenged("b"),
        ],
    )
    def test_do_not_change_to_what_is_not_there(self, change):
        with pytest.raises(ConfigurationError):
            change()


class TestPublishedModels:
    def files(self, folder: Path, content: str) -> Path:
        folder.mkdir()
        for name in FILES:
            (folder / name).write_text(content)
        return folder

    def test_come_to_every_process_as_they_were(self, tmp_path):
        objects = FolderObjects(f"file://{tmp_path}/objects", "")
        name = publish(objects, self.files(tmp_path / "a", "weights"), 3)
        for _ in range(2):
            fetched = fetch(objects, name, tmp_path / "models")
        assert [(fetched / file).read_text() for file in FILES] == ["weights"] * len(FILES)
        assert [path.name for path in (tmp_path / "models").glob("text*")] == [name]

    def test_have_names_of_their_own_under_one_version(self, tmp_path):
        objects = FolderObjects(f"file://{tmp_path}/objects", "")
        first = publish(objects, self.files(tmp_path / "a", "weights"), 3)
        assert publish(objects, tmp_path / "a", 3) == first
        assert publish(objects, self.files(tmp_path / "b", "others"), 3) != first

    def test_that_were_changed_are_not_used(self, tmp_path):
        objects = FolderObjects(f"file://{tmp_path}/objects", "")
        name = publish(objects, self.files(tmp_path / "a", "weights"), 3)
        objects.delete(f"models/{name}/model.onnx")
        objects.put(f"models/{name}/model.onnx", b"others")
        with pytest.raises(ConfigurationError, match="not that model"):
            fetch(objects, name, tmp_path / "models")
        assert not list((tmp_path / "models").glob("*text*/"))
        publish(objects, tmp_path / "a", 3)
        assert fetch(objects, name, tmp_path / "models").name == name

    def test_do_not_fill_the_disk_of_a_machine(self, tmp_path):
        objects = FolderObjects(f"file://{tmp_path}/objects", "")
        names = []
        for number in range(MOST_FETCHED + 2):
            folder = self.files(tmp_path / str(number), f"weights {number}")
            names.append(publish(objects, folder, number))
            fetched = fetch(objects, names[-1], tmp_path / "models")
            os.utime(fetched, (number, number))
        left = {path.name for path in (tmp_path / "models").glob("text*/")}
        assert left == set(names[-MOST_FETCHED:])

    def test_that_were_never_published_leave_no_folder(self, tmp_path):
        objects = FolderObjects(f"file://{tmp_path}/objects", "")
        with pytest.raises(ObjectMissing):
            fetch(objects, "text9.0", tmp_path / "models")
        assert not list((tmp_path / "models").glob("*text9*/"))


class TestFillingASpace:
    def test_scores_every_photo_anew_without_its_pixels(self, own_shops, runtime, challenger):
        looked_at = []
        written = runtime.rescoring(challenger).fill(looked_at.append)
        assert written == sum(looked_at) == EVERY_PHOTO
        (before, after) = (
            {one.product_id: one.score for one in rows(own_shops, "cafe", space, COFFEE)}
            for space in ("", challenger)
        )
        assert before[101] > before[102]
        assert after[102] > after[101]
        (own,) = [one for one in rows(own_shops, "cafe", challenger) if one.product_id == 101]
        assert own.card.alt == "A cup of coffee at cafe"

    def test_has_nothing_to_do_the_second_time(self, runtime, challenger):
        runtime.rescoring(challenger).fill()
        assert runtime.rescoring(challenger).fill() == 0

    def test_goes_on_where_it_was_killed(self, own_shops, runtime, challenger, monkeypatch):
        rescoring = runtime.rescoring(challenger)
        with monkeypatch.context() as patched:
            fail_after(patched, own_shops.stores.documents, "save_relevance", 4)
            with pytest.raises(StoreUnavailable):
                rescoring.fill()
        assert rescoring.fill() == EVERY_PHOTO - 4

    def test_leaves_no_vector_of_a_photo_that_is_deleted_meanwhile(
        self, own_shops, runtime, challenger, monkeypatch
    ):
        stores = own_shops.stores
        saved = stores.vectors.save_image

        def deleting(model: str, kind: str, docid: str, product_id: int, vector: object) -> None:
            if product_id == 101 and stores.documents.delete_image(docid, product_id):
                stores.vectors.delete_image(docid, product_id)
            saved(model, kind, docid, product_id, vector)

        monkeypatch.setattr(stores.vectors, "save_image", deleting)
        assert runtime.rescoring(challenger).fill() == EVERY_PHOTO - 1
        assert ("cafe", 101) not in set(stores.vectors.every_image())

    def test_takes_in_a_newer_photo_of_an_image(self, own_shops, runtime, challenger):
        documents = own_shops.stores.documents
        runtime.rescoring(challenger).fill()
        newer, _ = documents.accept_image(
            CatalogueImage(docid="cafe", product_id=101, sha256="f" * 64, original_key="o")
        )
        assert runtime.rescoring(challenger).fill() == 0
        assert rows(own_shops, "cafe", challenger, COFFEE)[0].product_id != 101
        documents.patch_metadata("cafe", 101, newer.generation, {"description": "a cup of tea"})
        own = rows(own_shops, "cafe", "")[0].model_copy(
            update={"product_id": 101, "generation": newer.generation}
        )
        documents.save_relevance([own])
        assert runtime.rescoring(challenger).fill() == 1


class TestScoringAnImage:
    """The stage that writes what arrives."""

    def scored(self, runtime: Runtime, retries: int = 0) -> str:
        """How the stage ended."""
        image = runtime.stores.documents.image("cafe", 101)
        assert image is not None
        message = ImageMessage(docid="cafe", product_id=101, generation=image.generation)
        stage = ScoreStage()
        stage.push_request(id="score-101", retries=retries)
        try:
            return stage._run(message, runtime)["detail"]
        finally:
            stage.pop_request()

    def test_writes_it_into_every_space_that_is_kept_up(self, own_shops, runtime, challenger):
        put_in_force(own_shops.stores.documents, TextSpaces(challenger=challenger))
        self.scored(runtime)
        (own,) = rows(own_shops, "cafe", challenger, COFFEE)
        (base,) = [one for one in rows(own_shops, "cafe", "", COFFEE) if one.product_id == 101]
        assert own.product_id == 101
        assert own.score < base.score

    def test_writes_it_into_the_others_when_its_message_comes_back(
        self, own_shops, runtime, challenger, monkeypatch
    ):
        put_in_force(own_shops.stores.documents, TextSpaces(challenger=challenger))
        with monkeypatch.context() as patched:
            fail_after(patched, own_shops.stores.documents, "save_relevance", 0)
            with pytest.raises(StoreUnavailable):
                self.scored(runtime)
        assert 101 in [one.product_id for one in rows(own_shops, "cafe", "", COFFEE)]
        assert rows(own_shops, "cafe", challenger, COFFEE) == []
        assert self.scored(runtime, retries=1) == "done before"
        assert [one.product_id for one in rows(own_shops, "cafe", challenger, COFFEE)] == [101]

    def test_goes_on_without_a_challenger_that_cannot_be_had(self, own_shops, runtime):
        put_in_force(own_shops.stores.documents, TextSpaces(challenger="text9.0"))
        self.scored(runtime)
        assert 101 in [one.product_id for one in rows(own_shops, "cafe", "", COFFEE)]

    def test_does_not_go_on_without_the_model_that_serves(self, own_shops, runtime):
        put_in_force(own_shops.stores.documents, TextSpaces(serving="text9.0"))
        with pytest.raises(ObjectMissing):
            self.scored(runtime)


class Aliases:
    """Of a registry whose versions are numbers."""

    def __init__(self, champion: int = 1, challenger: int | None = 2) -> None:
        self.champion, self.challenger = champion, challenger
        self.previous: int | None = None

    def challenges(self) -> int | None:
        """The challenger."""
        return self.challenger

    def cut_over(self, reason: str, by: str = "") -> None:
        """It serves."""
        assert self.challenger is not None
        self.previous, self.champion, self.challenger = self.champion, self.challenger, None

    def take_back(self, reason: str, by: str = "") -> None:
        """It serves no longer."""
        assert self.previous is not None
        self.challenger, self.champion, self.previous = self.champion, self.previous, None

    def drop(self, reason: str, by: str = "") -> None:
        """It never serves."""
        self.challenger = None


class TestChangeOver:
    @pytest.fixture
    def aliases(self) -> Aliases:
        return Aliases()

    @pytest.fixture
    def changeover(self, own_shops, runtime, aliases) -> ChangeOver:
        return ChangeOver(own_shops.stores, runtime.rescoring, aliases)

    def test_goes_from_a_folder_to_serving_and_back(self, own_shops, changeover, aliases, tmp_path):
        folder = swapped(tmp_path / "new", own_shops.settings.model_dir, "coffee", "pet")
        name = changeover.challenge(folder, 2)
        assert changeover.fill() == EVERY_PHOTO
        assert changeover.cut_over("better") == TextSpaces(serving=name, previous="")
        assert (aliases.champion, aliases.challenger) == (2, None)
        assert changeover.roll_back("worse") == TextSpaces(serving="", challenger=name)
        assert (aliases.champion, aliases.challenger) == (1, 2)
        assert changeover.challenge(folder, 2) == name

    def test_serves_nothing_that_is_missing_something(self, own_shops, changeover, challenger):
        put_in_force(own_shops.stores.documents, TextSpaces(challenger=challenger))
        looked_at = []
        changeover.cut_over("better", step=looked_at.append)
        assert sum(looked_at) == 2 * EVERY_PHOTO
        assert len(rows(own_shops, "cafe", challenger)) == 3

    def test_leaves_nothing_of_a_challenger_that_is_given_up(
        self, own_shops, changeover, aliases, challenger, runtime
    ):
        stores = own_shops.stores
        put_in_force(stores.documents, TextSpaces(challenger=challenger))
        changeover.fill()
        models = runtime.rescoring(challenger).models
        assert len(models) == 2
        assert changeover.drop("worse") == TextSpaces()
        assert aliases.challenger is None
        assert rows(own_shops, "cafe", challenger) == []
        assert not list(stores.objects.keys(f"models/{challenger}"))
        for model in models:
            for kind in ("picture", "description"):
                assert stores.vectors.images(model, kind, ["cafe"]) == {}
        assert len(rows(own_shops, "cafe", "")) == 3

    def test_says_what_to_do_where_there_is_no_challenger(self, changeover):
        for step in (changeover.cut_over, changeover.drop):
            with pytest.raises(ConfigurationError, match="retrain reembed"):
                step("reason")

    def test_refuses_another_model_than_the_registry_s_challenger(
        self, own_shops, changeover, aliases, challenger
    ):
        put_in_force(own_shops.stores.documents, TextSpaces(challenger=challenger))
        aliases.challenger = 3
        with pytest.raises(ConfigurationError, match="registry's challenger"):
            changeover.cut_over("better")

    def test_ends_what_a_kill_has_left_between_the_stores_and_the_registry(
        self, own_shops, changeover, aliases, challenger
    ):
        documents = own_shops.stores.documents
        put_in_force(documents, TextSpaces(challenger=challenger).cut_over())
        assert changeover.cut_over("better").serving == challenger
        assert aliases.champion == 2
        aliases.take_back("worse")
        assert changeover.roll_back("worse").serving == ""
        assert (aliases.champion, aliases.challenger) == (1, 2)


def fail_after(patched: pytest.MonkeyPatch, store: object, name: str, times: int) -> None:
    method, calls = getattr(store, name), iter(range(times))

    def failing(*arguments: object) -> object:
        if next(calls, None) is None:
            raise StoreUnavailable("gone")
        return method(*arguments)

    patched.setattr(store, name, failing)


class TestServing:
    @pytest.fixture
    def client(self, own_shops):
        with TestClient(create(lambda: own_shops)) as client:
            yield client

    def order(self, client: TestClient, **wanted: str) -> list[int]:
        answer = client.get("/v1/relevance/cafe", params=wanted).json()
        return [picture["product_id"] for picture in answer["dynamic"]]

    def test_follows_a_cut_over_and_the_way_back(self, own_shops, runtime, challenger, client):
        documents = own_shops.stores.documents
        runtime.rescoring(challenger).fill()
        spaces = TextSpaces().challenged(challenger)
        orders = []
        for change in (spaces, spaces.cut_over(), spaces.cut_over().rolled_back()):
            put_in_force(documents, change)
            own_shops.servings.look()
            orders.append(
                [self.order(client, **{how: "coffee shops"})[0] for how in ("category", "query")]
            )
        assert orders == [[101, 101], [102, 102], [101, 101]]

    def test_follows_though_nobody_asks(self, own_shops, challenger):
        asked_for = {challenger: threading.Event(), "": threading.Event()}

        def opening(name: str) -> Answering:
            asked_for[name].set()
            return own_shops._open_space(name)

        servings = Servings(own_shops.stores.documents, opening, look_every=0.01)
        servings.current()
        put_in_force(own_shops.stores.documents, TextSpaces(serving=challenger))
        assert asked_for[challenger].wait(timeout=20)
        servings.close()

    def test_goes_on_from_the_old_space_where_the_model_cannot_be_had(self, own_shops, client):
        put_in_force(own_shops.stores.documents, TextSpaces(serving="text9.0", challenger="text8"))
        own_shops.servings.look()
        assert self.order(client, category="coffee shops")[0] == 101
        assert own_shops.servings.challenger() is None

    def test_has_the_challenger_at_hand_while_there_is_one(self, own_shops, runtime, challenger):
        documents = own_shops.stores.documents
        runtime.rescoring(challenger).fill()
        put_in_force(documents, TextSpaces(challenger=challenger))
        own_shops.servings.look()
        page = own_shops.servings.challenger().page(["cafe"], category="Coffee Shops")
        assert page.businesses[0].dynamic[0].product_id == 102
        put_in_force(documents, TextSpaces())
        own_shops.servings.look()
        assert own_shops.servings.challenger() is None
