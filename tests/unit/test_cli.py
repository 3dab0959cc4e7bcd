"""The command line."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from cli.evaluate import Pair, hit_at_1, measure, ndcg, read_listing, read_renames
from cli.ingest import read_photos, read_vocabulary
from cli.intake import categories_from
from cli.main import app
from pipeline.backfill import Listing
from pipeline.errors import JustLensError
from pipeline.numbers import category_number, file_number
from pipeline.records import DeadLetter
from pipeline.settings import settings
from pipeline.stores import open_stores
from tests.fast_models import ENVIRONMENT
from tests.pictures import encoded, plain

FETCH = "FetchFailed"


def commands(group: click.Group | None = None) -> Iterator[list[str]]:
    """The words of every command."""
    top = typer.main.get_command(app) if group is None else group
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            yield from ([name, *rest] for rest in commands(command))
        else:
            yield [name]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CliRunner]:
    """Runs commands with fast models and a data folder of the test's own."""
    for name, value in {**ENVIRONMENT, "JUSTLENS_DATA_DIR": str(tmp_path / "var")}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield CliRunner()
    settings.cache_clear()


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_explains_itself_with_an_example(words: list[str]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0, result.output
    assert "Example" in result.output
    assert "justlens " + words[0] in " ".join(result.output.split())


def test_a_folder_is_read_with_everything_in_it_but_hidden_files(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png", "in/c.jpg", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listing = Listing("shop", "Corner", tuple(categories_from(["Cafés", "9:Bars"])))
    photos = read_photos([tmp_path], listing)
    assert [Path(photo.source).name for photo in photos] == ["a.png", "b.jpg", "c.jpg"]
    assert photos[2].product_id == file_number("in/c.jpg")
    assert [photo.listing for photo in photos] == [listing] * 3
    assert [(c.name, c.is_hot) for c in listing.categories] == [("Cafés", True), ("Bars", False)]
    assert listing.categories[1].catid == 9


def test_a_photo_has_the_same_number_by_itself_and_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    alone = read_photos([tmp_path / "a.png"], Listing("shop"))
    together = read_photos([tmp_path, tmp_path / "a.png"], Listing("shop"))
    assert [photo.key for photo in together] == [photo.key for photo in alone]


def test_photos_need_a_business_and_must_exist(tmp_path: Path) -> None:
    with pytest.raises(JustLensError, match="--docid"):
        read_photos([tmp_path], Listing(""))
    with pytest.raises(JustLensError, match=r"no\.jpg does not exist"):
        read_photos([tmp_path / "no.jpg"], Listing("shop"))


def test_a_vocabulary_is_a_name_a_line(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Cafés\n\n  Bars \n")
    assert read_vocabulary(tmp_path / "names.txt") == ["Cafés", "Bars"]


def test_category_and_file_numbers_are_the_same_on_every_machine() -> None:
    assert category_number("Coffee Shops") == category_number(" coffee shops ") == 3083128390
    assert file_number("a.jpg") == file_number("a.jpg") != file_number("b.jpg")
    assert 1 <= file_number("a.jpg") < 2**63
    assert categories_from(["a:b"])[0].name == "a:b"


def test_hit_at_1_looks_at_the_first_one() -> None:
    assert hit_at_1([3, 1], frozenset({3})) == 1.0
    assert hit_at_1([1, 3], frozenset({3})) == 0.0
    assert hit_at_1([], frozenset({3})) == 0.0


def test_ndcg_is_as_computed_by_hand() -> None:
    both = frozenset({1, 2})
    ideal = 1 + 1 / math.log2(3)
    assert ndcg([1, 2, 3], both) == pytest.approx(1.0)
    assert ndcg([3, 1, 2], both) == pytest.approx((1 / math.log2(3) + 1 / 2) / ideal)
    assert ndcg([3, 4, 5], both) == 0.0
    assert ndcg([9, 8, 7, 6, 5, 1], frozenset({1})) == 0.0
    assert ndcg([1, 2, 3, 4, 5], frozenset(range(1, 8))) == pytest.approx(1.0)


def test_figures_are_means_over_all_pairs() -> None:
    pairs = [
        Pair("a", "Cafés", frozenset({1}), photos=4),
        Pair("a", "Bars", frozenset({2}), photos=4),
        Pair("b", "Cafés", frozenset({1, 2}), photos=2),
    ]
    figures = measure(pairs, [[1, 2, 3, 4], [1, 2, 3, 4], [2, 1]])
    assert figures == {
        "hit_at_1": 0.6667,
        "ndcg_at_5": round((2 + 1 / math.log2(3)) / 3, 4),
        "random_hit_at_1": 0.5,
        "n": 3,
    }


LISTING = [
    {
        "docid": "d",
        "name": "Corner",
        "hot_category": 2,
        "categories": {"1": "Book Shops", "2": "Florists"},
        "images": [
            {"product_id": 7, "file": "library.jpg", "category": "Book Shops"},
            {"product_id": 8, "file": "vase.jpg", "category": "Florists"},
            {"product_id": 9, "file": "cab.jpg", "category": "Taxi Services"},
        ],
    }
]


def test_a_renamed_category_keeps_its_photos(tmp_path: Path) -> None:
    table = tmp_path / "renamed.tsv"
    table.write_text("category\trenamed\nBook Shops\tnovels and magazines\nBars\tpubs\n")
    businesses, photos, pairs = read_listing(tmp_path, LISTING, read_renames(table))
    ((_, categories),) = businesses
    assert [(c.name, c.is_hot) for c in categories] == [
        ("novels and magazines", False),
        ("Florists", True),
    ]
    assert len(photos) == 3
    assert pairs == [
        Pair("d", "novels and magazines", frozenset({7}), 3),
        Pair("d", "Florists", frozenset({8}), 3),
    ]


def test_a_business_of_labelled_photos_may_have_no_hot_category(tmp_path: Path) -> None:
    (entry,) = LISTING
    without = {name: value for name, value in entry.items() if name != "hot_category"}
    (((_, categories),), _, pairs) = read_listing(tmp_path, [without], {})
    assert not any(category.is_hot for category in categories)
    assert len(pairs) == 2


def test_a_table_without_the_columns_of_renames_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "renamed.tsv"
    table.write_text("old\tnew\nBook Shops\tnovels\n")
    with pytest.raises(JustLensError, match="category"):
        read_renames(table)


def test_without_any_pair_there_is_nothing_to_measure() -> None:
    with pytest.raises(JustLensError):
        measure([], [])


def test_enhance_writes_a_larger_picture(runner: CliRunner, tmp_path: Path) -> None:
    source, target = tmp_path / "small.png", tmp_path / "new" / "large.jpg"
    source.write_bytes(encoded(plain((40, 160, 90), width=320, height=180)))
    result = runner.invoke(app, ["enhance", str(source), str(target), "--json"])
    assert result.exit_code == 0, result.output
    (report,) = json.loads(result.stdout)
    assert (report["action"], report["before"], report["after"]) == (
        "enhanced",
        "320x180",
        "1280x720",
    )
    with Image.open(target) as image:
        assert (image.size, image.format) == ((1280, 720), "JPEG")
        assert np.abs(np.asarray(image)[600, 1000].astype(int) - (40, 160, 90)).max() < 8


def test_enhance_leaves_a_large_picture_byte_by_byte(runner: CliRunner, tmp_path: Path) -> None:
    source, target = tmp_path / "large.png", tmp_path / "out.png"
    source.write_bytes(encoded(plain(width=1280, height=720)))
    result = runner.invoke(app, ["enhance", str(source), str(target), "--json"])
    assert json.loads(result.stdout)[0]["action"] == "kept"
    assert target.read_bytes() == source.read_bytes()


def test_enhance_goes_on_after_a_file_that_fails_and_says_so(
    runner: CliRunner, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.png").write_text("no picture")
    (folder / "b.png").write_bytes(encoded(plain()))
    result = runner.invoke(app, ["enhance", str(folder), str(out), "--json"])
    assert result.exit_code == 1
    assert [one["action"] for one in json.loads(result.stdout)] == ["failed", "enhanced"]
    assert [path.name for path in out.iterdir()] == ["b.png"]


def test_raw_is_the_plain_output_of_the_network(runner: CliRunner, tmp_path: Path) -> None:
    source, target = tmp_path / "small.png", tmp_path / "out.png"
    pixels = plain(width=32, height=24)
    source.write_bytes(encoded(pixels))
    assert runner.invoke(app, ["enhance", str(source), str(target), "--raw"]).exit_code == 0
    with Image.open(target) as image:
        assert np.array_equal(np.asarray(image), pixels.repeat(4, axis=0).repeat(4, axis=1))


def test_a_model_that_nobody_knows_is_one_clear_error(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(plain()))
    arguments = ["enhance", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--model", "magic"]
    result = runner.invoke(app, arguments)
    assert isinstance(result.exception, JustLensError)
    assert "compact, x4plus" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "found", "counts"),
    [
        (["--queue", "q"], {"old", "new"}, ["1 FetchFailed in q", "1 ValueError in q"]),
        (["--exception", "ValueError"], {"old"}, ["1 ValueError in q"]),
        (["--docid", "shop"], {"new"}, ["1 FetchFailed in q"]),
        (["--newer-than", "1h"], {"new"}, ["1 FetchFailed in q"]),
        (["--older-than", "1h"], {"old"}, ["1 ValueError in q"]),
        (["--older-than", "1h", "--newer-than", "2h"], set(), []),
    ],
)
def test_dead_letters_are_listed_and_counted_by_what_is_asked_for(
    runner: CliRunner, options: list[str], found: set[str], counts: list[str]
) -> None:
    stores = open_stores(settings())
    for key, docid, cause, age in (("old", "", "ValueError", 7200.0), ("new", "shop", FETCH, 0.0)):
        at = time.time() - age
        common = {"queue": "q", "task": "t", "task_id": key, "message": "", "last_at": at}
        stores.documents.park(DeadLetter(key=key, docid=docid, exception=cause, **common))
    stores.close()
    shown = runner.invoke(app, ["dlq", "list", *options]).stdout
    assert {key for key in ("old", "new") if f" {key} " in shown} == found
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert sorted(line for line in lines if line[:1].isdigit()) == counts
    listed = json.loads(runner.invoke(app, ["dlq", "list", *options, "--json"]).stdout)
    assert {letter["key"] for letter in listed} == found


@pytest.mark.parametrize("command", ["replay", "drop"])
def test_dead_letters_are_not_dealt_with_unless_it_is_said_which(
    runner: CliRunner, command: str
) -> None:
    result = runner.invoke(app, ["dlq", command])
    assert isinstance(result.exception, JustLensError)
    assert "--newer-than" in str(result.exception)
