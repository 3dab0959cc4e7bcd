"""A catalogue as a CSV file."""

from pathlib import Path

import pytest

from cli.catalogue_file import LONGEST_LINE, CatalogueFile
from pipeline.backfill import Photo
from pipeline.errors import JustLensError

HEADER = "docid,product_id,product_url,business_name,categories\n"


def csv_file(folder: Path, *lines: str, header: str = HEADER, end: str = "\n") -> Path:
    path = folder / "catalogue.csv"
    path.write_bytes((header + "".join(line + end for line in lines)).encode())
    return path


def read(folder: Path, *lines: str, header: str = HEADER, end: str = "\n") -> list[Photo]:
    return list(CatalogueFile(csv_file(folder, *lines, header=header, end=end)).photos())


def test_a_row_names_a_photo_and_its_business(tmp_path: Path) -> None:
    photos = read(
        tmp_path,
        "shop,1,https://a.example/1.jpg,Corner,7:Cafés|Bars",
        "shop,2,photos/2.jpg,,",
        "other,1,3.jpg",
        "",
    )
    assert [photo.key for photo in photos] == [("shop", 1), ("shop", 2), ("other", 1)]
    assert photos[0].source == "https://a.example/1.jpg"
    assert photos[1].source == str(tmp_path / "photos/2.jpg")
    first, second = photos[0].listing, photos[1].listing
    assert first and second
    assert (first.name, next((c.catid, c.name) for c in first.categories)) == (
        "Corner",
        (7, "Cafés"),
    )
    # What it does not say of a business stays as it is.
    assert (second.name, second.categories) == ("", ())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
def test_a_file_of_a_spreadsheet_is_read(tmp_path: Path, end: str) -> None:
    header = f'\ufeff"Docid",Product ID, Product_URL{end}'
    photos = read(tmp_path, 'shop,1,"a, b.jpg"', "shop,2,c.jpg", header=header, end=end)
    assert [(photo.key, Path(photo.source).name) for photo in photos] == [
        (("shop", 1), "a, b.jpg"),
        (("shop", 2), "c.jpg"),
    ]
    again = CatalogueFile(tmp_path / "catalogue.csv").photos(photos[1].mark)
    assert [photo.key for photo in again] == [("shop", 2)]


def test_reading_goes_on_at_any_row(tmp_path: Path) -> None:
    lines = [f'shop,{n},{n}.jpg,"Café ""Ü""\n& Söhne",' for n in range(1, 6)]
    file = CatalogueFile(csv_file(tmp_path, *lines))
    whole = list(file.photos())
    assert [photo.mark.line for photo in whole] == [2, 4, 6, 8, 10]
    for number, photo in enumerate(whole):
        assert list(file.photos(photo.mark)) == whole[number:]


@pytest.mark.parametrize(
    ("bad", "wrong"),
    [
        ("shop,x,b.jpg,,", "product_id: not a number"),
        ("shop,,b.jpg,,", "product_id: not a number"),
        ("shop,²,b.jpg,,", "product_id: not a number"),
        ("shop", "product_id: not a number"),
        (",2,b.jpg", "docid: is empty"),
        ("  ,2,b.jpg", "docid: is empty"),
        ("a b,2,b.jpg", "docid: "),
        ("shop,2,,,", "product_url: is empty"),
        (f"shop,2,b.jpg,,{'c' * 192}", "a category's name has 1 to 191 characters"),
        ('shop,2,"b.jpg,,', "unexpected end of data"),
        ("x" * 2 * LONGEST_LINE, "product_id: not a number"),
    ],
)
def test_a_wrong_row_is_named_and_its_neighbours_are_read(
    tmp_path: Path, bad: str, wrong: str
) -> None:
    photos = read(tmp_path, "shop,1,a.jpg,,", bad, "shop,3,c.jpg,,")
    assert [photo.product_id for photo in photos if not photo.wrong] == [1, 3]
    first = next(photo for photo in photos if photo.wrong)
    assert first.source == f"{tmp_path / 'catalogue.csv'}, line 3"
    assert first.wrong.startswith(wrong)


def test_a_quote_that_is_not_closed_harms_its_own_line_alone(tmp_path: Path) -> None:
    lines = [f"shop,{n},{n}.jpg,Corner,Bars" for n in range(1, 20_001)]
    lines[9] = 'shop,10,"10.jpg,Corner,Bars'
    lines[13] = 'shop,14,14.jpg,"Corner, West",Bars'
    lines[49] = 'shop,50,"50.jpg,Corner,Bars'
    photos = read(tmp_path, *lines)
    assert [photo.mark.line for photo in photos if photo.wrong] == [11, 51]
    assert len(photos) == 20_000
    # What is wrong is kept as it is written, one line.
    file = CatalogueFile(tmp_path / "catalogue.csv")
    assert file.values(photos[9].mark) == ["shop", "10", "10.jpg,Corner,Bars"]


def test_bytes_that_are_no_text_are_one_wrong_row(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "shop,1,a.jpg,Café,", "shop,2,b.jpg,Café,")
    path.write_bytes(path.read_bytes().replace("Café".encode(), b"Caf\xe9", 1))
    photos = list(CatalogueFile(path).photos())
    assert [photo.wrong[-12:] for photo in photos] == ["is not UTF-8", ""]
    assert list(CatalogueFile(path).photos(photos[1].mark)) == photos[1:]


def test_a_file_without_a_column_names_the_column(tmp_path: Path) -> None:
    with pytest.raises(JustLensError, match="product_url is missing"):
        CatalogueFile(csv_file(tmp_path, header="docid,product_id\n"))


def test_a_file_that_is_not_there_or_no_text_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JustLensError, match=r"no\.csv"):
        CatalogueFile(tmp_path / "no.csv")
    (tmp_path / "photo.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(JustLensError, match=r"photo\.csv"):
        CatalogueFile(tmp_path / "photo.csv")
