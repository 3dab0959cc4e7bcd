"""Opening the stores by their addresses."""

import sys
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.records import CatalogueImage
from pipeline.settings import Settings
from pipeline.stores import open_stores


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "var")


def test_the_embedded_profile_keeps_everything_in_its_data_folder(settings):
    stores = open_stores(settings)
    stores.documents.accept_image(CatalogueImage(docid="B1", product_id=1))
    stores.directory.add_vocabulary(["Sushi"])
    stores.objects.put("originals/a.jpg", b"x")
    assert stores.check() == dict.fromkeys(
        ("documents", "directory", "objects", "vectors", "events", "queries", "shadow", "keys"), ""
    )
    assert stores.objects.url("originals/a.jpg") == "/objects/originals/a.jpg"
    stores.close()
    names = {path.name for path in settings.data_dir.iterdir()}
    assert names == {"documents.db", "directory.db", "vectors.db", "events.db", "objects"}


def test_opening_stores_touches_nothing(settings):
    open_stores(settings)
    assert not settings.data_dir.exists()


def test_a_store_that_does_not_answer_is_named_with_its_trouble(settings, tmp_path):
    (tmp_path / "file").write_text("")
    broken = settings.model_copy(update={"vectors_url": f"sqlite:///{tmp_path}/file/v.db"})
    trouble = open_stores(broken).check()
    assert "file" in trouble.pop("vectors")
    assert set(trouble.values()) == {""}


def test_a_store_that_is_not_set_up_right_is_named_with_what_is_wrong(settings):
    address = "mysql+pymysql://u:secret@127.0.0.1:1/justlens?no_such_option=1"
    wrong = settings.model_copy(update={"relational_url": address})
    trouble = open_stores(wrong).check()
    for name in ("directory", "keys"):
        assert "no_such_option" in trouble.pop(name)
    assert set(trouble.values()) == {""}


@pytest.mark.parametrize(
    ("setting", "works"),
    [
        ("documents_url", "sqlite://"),
        ("relational_url", "mysql+pymysql://"),
        ("objects_url", "file://"),
        ("vectors_url", "sqlite://"),
        ("events_url", "mysql+pymysql://"),
    ],
)
def test_an_unknown_scheme_is_named_with_its_setting_and_what_works(settings, setting, works):
    wrong = settings.model_copy(update={setting: "gopher://u:secret@host/x"})
    with pytest.raises(ConfigurationError) as raised:
        open_stores(wrong)
    message = str(raised.value)
    assert f"JUSTLENS_{setting.upper()}" in message
    assert "gopher" in message
    assert works in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "address",
    [
        "mysql+pymysql://u:secret@host:port/justlens",
        "mysql+pymysql://u:secret@host:3306/",
        "mysql+pymysql://u:secret@host/justlens?read_timeout=soon",
    ],
)
def test_an_address_of_a_server_that_cannot_work_says_what_would(settings, address):
    wrong = settings.model_copy(update={"relational_url": address})
    with pytest.raises(ConfigurationError, match=r"mysql\+pymysql://user:password@") as raised:
        open_stores(wrong).directory.check()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "trouble"),
    [
        ("s3://access:secret@host", "names no bucket"),
        ("s3://access:secret@host/B", "names no bucket"),
        ("s3://access:secret@/bucket", "names no host"),
        ("s3://access:sec/secret@host/bucket", "names no bucket"),
        ("s3://access:secret@host:port/bucket", "port"),
        ("s3://access:secret@host/bucket/../up", "prefix"),
        ("s3://secret@host/bucket", "one of the keys"),
        ("s3://access:secret@host/bucket?zone=x", "region, public, ssl_ca"),
        ("s3://access:secret@host/bucket?region=no/region", "region"),
        ("s3://access:secret@host/bucket?public=host", "public="),
        ("s3://access:secret@host/bucket?ssl_ca=/no/such/file", "authorities"),
    ],
)
def test_an_address_of_s3_that_cannot_work_says_why(settings, address, trouble):
    wrong = settings.model_copy(update={"objects_url": address})
    with pytest.raises(ConfigurationError, match=trouble) as raised:
        open_stores(wrong)
    assert "JUSTLENS_OBJECTS_URL" in str(raised.value)
    assert "secret@host" not in str(raised.value).replace("access:secret@host:port", "")


def test_a_driver_that_is_not_installed_is_named(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymysql", None)
    address = "mysql+pymysql://u:secret@host/justlens"
    wrong = settings.model_copy(update={"relational_url": address})
    with pytest.raises(ConfigurationError, match="pymysql") as raised:
        open_stores(wrong).directory.check()
    assert "secret" not in str(raised.value)


def test_the_embedded_profile_needs_no_client_library_of_a_server(settings):
    before = set(sys.modules)
    open_stores(settings).check()
    assert not {"alembic", "pymysql", "pymongo", "mongoengine", "minio", "pymilvus"} & (
        set(sys.modules) - before
    )
