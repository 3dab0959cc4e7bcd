"""Profiles, and the settings by themselves."""

import os
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.catalogue import Reason, Rules
from pipeline.errors import ConfigurationError
from pipeline.settings import (
    IMAGE_TEXT_ENCODERS,
    SERVICES,
    SOCKET_PATH_LIMIT,
    Settings,
    of_file,
    socket_path,
)

ADDRESSES = tuple(SERVICES)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("JUSTLENS_"):
            monkeypatch.delenv(name)


def test_the_embedded_profile_keeps_everything_in_the_data_folder(tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path)
    assert chosen.profile == "embedded"
    assert all(str(tmp_path) in getattr(chosen, name) for name in ADDRESSES)
    assert len({getattr(chosen, name) for name in ADDRESSES}) == len(ADDRESSES)


def test_the_services_profile_names_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUSTLENS_PROFILE", "services")
    chosen = Settings()
    assert {name: getattr(chosen, name) for name in ADDRESSES} == SERVICES


def test_a_process_makes_one_page_at_a_time_and_two_where_it_waits_for_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Settings().pages_at_once == 1
    assert Settings(profile="services").pages_at_once == 2
    monkeypatch.setenv("JUSTLENS_PAGES_AT_ONCE", "3")
    assert Settings(profile="services").pages_at_once == 3


@pytest.mark.parametrize("profile", ["embedded", "services"])
@pytest.mark.parametrize("name", ADDRESSES)
def test_one_address_can_be_set_by_itself(
    monkeypatch: pytest.MonkeyPatch, profile: str, name: str
) -> None:
    monkeypatch.setenv("JUSTLENS_PROFILE", profile)
    before = Settings()
    monkeypatch.setenv(f"JUSTLENS_{name.upper()}", "other://place")
    after = Settings()
    assert getattr(after, name) == "other://place"
    assert all(getattr(after, n) == getattr(before, n) for n in ADDRESSES if n != name)


def test_the_data_folder_is_absolute_whatever_the_working_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUSTLENS_DATA_DIR", "here")
    assert Settings().data_dir == tmp_path / "here"


def test_numbers_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUSTLENS_BATCH_SIZE", "3")
    assert Settings().batch_size == 3
    monkeypatch.setenv("JUSTLENS_BATCH_SIZE", "three")
    with pytest.raises(ValidationError, match="batch_size"):
        Settings()


def test_figures_of_the_picture_space_follow_the_encoder_unless_they_are_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = IMAGE_TEXT_ENCODERS["conse"]
    assert {name: getattr(Settings(), name) for name in figures} == figures
    monkeypatch.setenv("JUSTLENS_IMAGE_TEXT_ENCODER", "open_clip")
    assert Settings().image_softmax_scale == 100
    monkeypatch.setenv("JUSTLENS_ONE_CLASS_THRESHOLD", "0.3")
    assert (Settings().image_softmax_scale, Settings().one_class_threshold) == (100, 0.3)
    monkeypatch.setenv("JUSTLENS_IMAGE_TEXT_ENCODER", "some.module:Class")
    assert Settings().image_softmax_scale == figures["image_softmax_scale"]


def test_rules_of_the_catalogue_are_named_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Settings().rules == Rules()
    monkeypatch.setenv("JUSTLENS_CATALOGUE_RULES", "blurred, text_heavy,")
    monkeypatch.setenv("JUSTLENS_CATALOGUE_LEAST_SIDE", "300")
    monkeypatch.setenv("JUSTLENS_CATALOGUE_MOST_TEXT", "0.5")
    assert Settings().rules == Rules(frozenset({Reason.BLURRED, Reason.TEXT_HEAVY}), 300, 0.5)
    monkeypatch.setenv("JUSTLENS_CATALOGUE_RULES", "")
    assert Settings().rules.hiding == frozenset()


@pytest.mark.parametrize("wrong", ["blury", "deleted", "blurred watermarked"])
def test_a_rule_that_there_is_not_is_refused_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("JUSTLENS_CATALOGUE_RULES", wrong)
    with pytest.raises(ValidationError, match=f"{wrong}: no such rule; known: too_small, blurred"):
        Settings()


def test_networks_that_photos_are_fetched_from_are_named_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Settings().fetch_networks == frozenset()
    monkeypatch.setenv("JUSTLENS_FETCH_NETWORKS", "10.0.0.0/8, fd00::/8,")
    assert Settings().fetch_networks == {ip_network("10.0.0.0/8"), ip_network("fd00::/8")}
    monkeypatch.setenv("JUSTLENS_FETCH_NETWORKS", "intranet")
    with pytest.raises(ValidationError, match="intranet"):
        Settings()


def test_an_unknown_profile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUSTLENS_PROFILE", "cloud")
    with pytest.raises(ValidationError, match="profile"):
        Settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().batch_size = 5


def test_the_socket_lies_in_the_data_folder() -> None:
    assert socket_path(Path("/srv/justlens")) == Path("/srv/justlens/valkey.sock")


def test_a_long_data_folder_has_a_short_socket_of_its_own() -> None:
    folders = [Path("/" + "deep/" * 30 + name) for name in ("one", "two")]
    sockets = [socket_path(folder) for folder in folders]
    assert all(len(str(socket)) <= SOCKET_PATH_LIMIT for socket in sockets)
    assert sockets[0] != sockets[1]
    assert sockets[0] == socket_path(folders[0])
    assert str(sockets[0]) in Settings(data_dir=folders[0]).broker_url


def test_events_lie_with_the_relational_server_and_else_in_a_file_of_their_own() -> None:
    alone = Settings(data_dir=Path("/srv"))
    assert alone.events_url == "sqlite:////srv/events.db"
    served = Settings(data_dir=Path("/srv"), relational_url="mysql+pymysql://u@db/justlens")
    assert served.events_url == served.relational_url
    assert Settings(profile="services").events_url == SERVICES["relational_url"]
    apart = Settings(profile="services", events_url="mysql+pymysql://u@db/events")
    assert apart.events_url == "mysql+pymysql://u@db/events"


class TestOfAFile:
    def test_what_it_does_not_say_is_not_taken_from_the_environment(self, tmp_path, monkeypatch):
        monkeypatch.setenv("JUSTLENS_DOCUMENTS_URL", "sqlite:////here.db")
        path = tmp_path / "there.env"
        path.write_text(
            "# there\nJUSTLENS_PROFILE=services\nJUSTLENS_OBJECTS_URL='file:///there'\n"
        )
        there = of_file(path)
        assert there.documents_url == SERVICES["documents_url"]
        assert there.objects_url == "file:///there"

    def test_a_value_that_cannot_work_is_named_and_not_shown(self, tmp_path):
        path = tmp_path / "there.env"
        path.write_text("JUSTLENS_PROFILE=secret\n")
        with pytest.raises(ConfigurationError, match="JUSTLENS_PROFILE") as told:
            of_file(path)
        assert "secret" not in str(told.value)
