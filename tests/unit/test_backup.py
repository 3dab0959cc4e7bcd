"""A directory as a folder of files and back, and from one set of stores to another."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner, Result

from api.main import create
from api.wiring import Services
from cli.main import app
from pipeline.backup.carrying import carry
from pipeline.backup.folder import BackUp, back_up
from pipeline.backup.parts import StoresSource, stores_by_part
from pipeline.broker import EmbeddedBroker
from pipeline.consistency import Consistency
from pipeline.dead_letters import Parking
from pipeline.errors import BackUpDamaged, ConfigurationError, JustLensError, StoresNotEmpty
from pipeline.forgetting import Forgetting
from pipeline.ingest import Intake
from pipeline.queues import QUEUES
from pipeline.records import AltSource, AltTag
from pipeline.settings import Settings, settings
from pipeline.stores import Stores, open_stores
from tests.shops import Outbox, open_shops
from tests.unit.stores.test_documents import letter
from tests.unit.test_consistency import lay

PAGES = (
    "/v1/relevance/cafe?query=cofee",
    "/v1/relevance/garage?category=Motorcycle+Dealers",
    "/v1/catalogue/cafe/images",
)
ASTRONAUT = "/v1/relevance/cafe?query=astronaut"


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Stores]:
    """The shops, with something in every store."""
    services = open_shops(tmp_path / "source")
    stores = services.stores
    stores.directory.save_alt_text(
        AltTag(docid="cafe", product_id=101, alttag="A cup", score=0.5, source=AltSource.MANUAL)
    )
    stores.documents.park(letter("k", docid="cafe"))
    Forgetting(stores, Outbox().error_queues.withdraw).image("past", 501)
    stores.documents.save_value("spaces", {"champion": ""})
    stores.objects.put("models/text/1.onnx", b"weights")
    yield stores
    services.close()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Stores]:
    """Empty ones."""
    stores = open_stores(Settings(data_dir=tmp_path / "target"))
    yield stores
    stores.close()


@pytest.fixture
def folder(tmp_path: Path, source: Stores) -> Path:
    """A back-up of them."""
    written(source, tmp_path / "back-up")
    return tmp_path / "back-up"


def written(stores: Stores, folder: Path) -> BackUp:
    back_up(StoresSource(stores), stores_by_part(stores), folder)
    return BackUp(folder)


def everything(stores: Stores) -> dict[str, Any]:
    """All rows and objects of stores."""
    source = StoresSource(stores)
    rows = {part: sorted(source.rows(part), key=repr) for part in stores_by_part(stores)}
    # Where a restore has been it says that it is over.
    return {**rows, "objects": {key: read() for key, read in source.objects()}}


def pages(stores: Stores, chosen: Settings) -> list[Any]:
    """What the web applications answer."""
    services = Services(chosen, Outbox())
    with TestClient(create(lambda: services)) as client:
        return [client.get(page).json() for page in (*PAGES, ASTRONAUT)]


def findings(stores: Stores) -> list[Any]:
    """What does not agree, however young it is."""
    queues = Outbox().error_queues
    check = Consistency(
        stores,
        intake=Intake(stores, Settings(), Outbox()),
        parking=Parking(stores.documents, queues.park),
        forgetting=Forgetting(stores, queues.withdraw),
        depths=dict.fromkeys(QUEUES, 0),
        grace=-60,
    )
    return [(one.kind, one.what) for one in check.findings(mend=False)]


def test_a_restored_directory_answers_as_it_did(
    folder: Path, source: Stores, target: Stores, tmp_path: Path
) -> None:
    carried = carry(BackUp(folder), target)
    assert everything(target) == everything(source)
    assert not carried.refused
    assert findings(target) == findings(source)
    answers = [
        pages(stores, Settings(data_dir=tmp_path / name, open_to="all", rate_limit_address=""))
        for stores, name in ((source, "source"), (target, "target"))
    ]
    assert answers[0] == answers[1]
    assert answers[0][0]["dynamic"][0]["product_id"] == 101


def test_after_a_restore_the_check_of_consistency_finds_nothing(
    target: Stores, tmp_path: Path
) -> None:
    stores = open_stores(Settings(data_dir=tmp_path / "whole"))
    for number in range(1, 5):
        lay(stores, number)
    Forgetting(stores, Outbox().error_queues.withdraw).image("shop", 4)
    assert findings(stores) == []
    carry(written(stores, tmp_path / "back-up"), target)
    assert everything(target) == everything(stores)
    assert findings(target) == []
    stores.close()


@pytest.mark.parametrize("steps", [1, 6, 12, 20])
def test_a_restore_that_was_killed_goes_on_when_it_is_called_again(
    folder: Path, source: Stores, target: Stores, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.backup.parts.AT_ONCE", 3)
    left = iter(range(steps))

    def killed(_part: str, _count: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry(BackUp(folder), target, step=killed)
    carry(BackUp(folder), target)
    assert everything(target) == everything(source)


def test_another_back_up_does_not_go_on_where_one_was_cut_off(
    folder: Path, source: Stores, target: Stores
) -> None:
    def killed(_part: str, _count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry(BackUp(folder), target, step=killed)
    with pytest.raises(StoresNotEmpty):
        carry(written(source, folder), target)


def test_stores_that_hold_a_directory_are_left_alone_unless_it_is_said(
    folder: Path, source: Stores, target: Stores
) -> None:
    carry(BackUp(folder), target)
    target.documents.delete_image("cafe", 101)
    target.documents.delete_business("museum")
    before = everything(target)
    with pytest.raises(StoresNotEmpty, match="--merge"):
        carry(BackUp(folder), target)
    assert everything(target) == before
    carry(BackUp(folder), target, merge=True)
    image = target.documents.image("cafe", 101)
    assert image is not None
    assert image.state == "deleted"
    assert "museum" in target.documents.businesses(["museum"])


@pytest.mark.parametrize("part", ["images", "image_embeddings", "objects"])
def test_a_damaged_file_of_rows_is_named_before_anything_is_touched(
    folder: Path, target: Stores, tmp_path: Path, part: str
) -> None:
    (path,) = folder.glob(f"rows/*/{part}.jsonl.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BackUpDamaged, match=str(path)):
        BackUp(folder).check()
    path.unlink()
    with pytest.raises(BackUpDamaged, match=str(path)):
        BackUp(folder).check()


def test_a_damaged_object_is_named_and_all_the_rest_restored(
    folder: Path, source: Stores, target: Stores
) -> None:
    damaged, lost = sorted(source.objects.keys("originals/"))[:2]
    (folder / "objects" / damaged).write_bytes(b"other bytes")
    (folder / "objects" / lost).unlink()
    carried = carry(BackUp(folder), target)
    assert [damaged in carried.refused[0], lost in carried.refused[1]] == [True, True]
    there, whole = everything(target), everything(source)
    assert set(whole["objects"]) - set(there["objects"]) == {damaged, lost}
    assert {**there, "objects": None} == {**whole, "objects": None}


def test_a_back_up_that_was_cut_off_leaves_the_one_before(
    folder: Path, source: Stores, target: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(source)
    source.documents.delete_business("garage")

    def killed(_part: str, _count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(StoresSource(source), stores_by_part(source), folder, killed)
    source_of_before = BackUp(folder)
    source_of_before.check()
    carry(source_of_before, target)
    assert everything(target) == before


def test_a_folder_without_a_whole_back_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackUpDamaged, match="holds no whole back-up"):
        BackUp(tmp_path)


def test_what_a_later_release_wrote_is_refused(folder: Path) -> None:
    manifest = folder / "manifest.json"
    later = {**json.loads(manifest.read_text()), "form": 99, "release": "9.1"}
    manifest.write_text(json.dumps(later))
    with pytest.raises(BackUpDamaged, match=r"9\.1"):
        BackUp(folder)


def test_a_back_up_is_brought_up_to_date_with_the_new_objects_alone(
    folder: Path, source: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = next(iter(source.objects.keys("enhanced/")))
    source.objects.delete(gone)
    source.objects.put("originals/new.png", b"new")
    read: list[str] = []
    get = source.objects.get
    monkeypatch.setattr(source.objects, "get", lambda key: read.append(key) or get(key))
    later = written(source, folder)
    later.check()
    assert read == ["originals/new.png"]
    assert {key: load() for key, load in later.objects()} == everything(source)["objects"]
    assert not (folder / "objects" / gone).exists()
    assert len(list((folder / "rows").iterdir())) == 1


def test_a_folder_with_other_files_is_not_written_to(source: Stores, tmp_path: Path) -> None:
    before = everything(source)
    (tmp_path / "other" / "objects").mkdir(parents=True)
    for other, name in ((tmp_path / "source", "directory.db"), (tmp_path / "other", "objects")):
        with pytest.raises(ConfigurationError, match=name):
            back_up(StoresSource(source), stores_by_part(source), other)
    assert everything(source) == before


def test_two_back_ups_into_one_folder_do_not_clear_each_other_away(
    source: Stores, tmp_path: Path
) -> None:
    folder = tmp_path / "b"

    def second(_part: str, _count: int) -> None:
        with pytest.raises(ConfigurationError, match="another back-up is being written"):
            back_up(StoresSource(source), stores_by_part(source), folder)

    first = back_up(StoresSource(source), stores_by_part(source), folder, second)
    assert back_up(StoresSource(source), stores_by_part(source), folder).files == first.files


def test_what_came_while_a_back_up_was_written_is_left_out_whole(
    source: Stores, target: Stores, tmp_path: Path
) -> None:
    """A photo that is not among the images yet, and all the rest of it is."""
    late = open_shops(tmp_path / "late")

    def comes(part: str, _count: int) -> None:
        if part == "pixel_facts" and source.documents.image("new", 9) is None:
            late.stores.documents.save_pixel_fact("f" * 64, "text", "m", {})
            source.documents.save_pixel_fact("f" * 64, "text", "m", {})
            source.objects.put("originals/ff/late.png", b"late")
            source.directory.save_alt_text(
                AltTag(docid="new", product_id=9, alttag="late", score=0.5)
            )

    source.documents.save_pixel_fact("a" * 64, "text", "m", {})
    back_up(StoresSource(source), stores_by_part(source), tmp_path / "b", comes)
    carried = carry(BackUp(tmp_path / "b"), target)
    assert not target.objects.exists("originals/ff/late.png")
    assert target.directory.alt_text("new", 9) is None
    assert set(+carried.left_out) == {"pixel_facts", "alttags", "objects"}
    late.close()


class TestCommands:
    @pytest.fixture
    def run(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
        def run(data_dir: Path, *words: str) -> Result:
            monkeypatch.setenv("JUSTLENS_DATA_DIR", str(data_dir))
            settings.cache_clear()
            return CliRunner().invoke(app, list(words))

        yield run
        settings.cache_clear()

    def test_back_up_and_restore(
        self, run: Callable[..., Result], source: Stores, target: Stores, tmp_path: Path
    ) -> None:
        folder = str(tmp_path / "new" / "folder")
        told = run(tmp_path / "source", "backup", folder, "--json")
        assert told.exit_code == 0, told.output
        summary = json.loads(told.stdout)
        assert summary["rows"]["images"] == 11
        assert summary["folder"] == folder
        told = run(tmp_path / "target", "restore", folder, "--json")
        assert told.exit_code == 0, told.output
        assert json.loads(told.stdout)["rows"]["images"] == 11
        assert everything(target) == everything(source)
        assert isinstance(run(tmp_path / "target", "restore", folder).exception, StoresNotEmpty)
        assert run(tmp_path / "target", "restore", folder, "--merge").exit_code == 0

    def test_a_folder_that_cannot_be_written_to_is_named(
        self, run: Callable[..., Result], source: Stores, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        told = run(tmp_path / "source", "backup", str(tmp_path / "file" / "folder"))
        assert isinstance(told.exception, JustLensError)
        assert str(tmp_path / "file") in str(told.exception)

    def test_a_damaged_object_is_exit_status_1(
        self, run: Callable[..., Result], folder: Path, tmp_path: Path
    ) -> None:
        (folder / "objects/models/text/1.onnx").write_bytes(b"other")
        told = run(tmp_path / "target", "restore", str(folder), "--json")
        assert told.exit_code == 1
        assert "1.onnx" in json.loads(told.stdout)["refused"][0]

    def test_move(
        self, run: Callable[..., Result], source: Stores, target: Stores, tmp_path: Path
    ) -> None:
        there = tmp_path / "there.env"
        there.write_text(f"# the new machine\nJUSTLENS_DATA_DIR='{tmp_path}/target'\n")
        told = run(tmp_path / "source", "move", str(there), "--json")
        assert told.exit_code == 0, told.output
        assert everything(target) == everything(source)

    def test_a_move_to_where_it_is_is_refused(
        self, run: Callable[..., Result], source: Stores, tmp_path: Path
    ) -> None:
        there = tmp_path / "there.env"
        there.write_text(f"JUSTLENS_DATA_DIR={tmp_path}/source\n")
        told = run(tmp_path / "source", "move", str(there))
        assert "JUSTLENS_DOCUMENTS_URL is the same" in str(told.exception)
        there.write_text("PATH=/bin\n")
        assert "lines such as" in str(run(tmp_path / "source", "move", str(there)).exception)

    def test_a_move_waits_for_the_end_of_what_runs(
        self,
        run: Callable[..., Result],
        source: Stores,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        there = tmp_path / "there.env"
        there.write_text(f"JUSTLENS_DATA_DIR={tmp_path}/target\n")
        monkeypatch.setattr(EmbeddedBroker, "answers", lambda broker: True)
        told = run(tmp_path / "source", "move", str(there))
        assert "end `justlens up`" in str(told.exception)
        assert not (tmp_path / "target").exists()
