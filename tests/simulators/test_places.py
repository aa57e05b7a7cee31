"""Recordings that somebody asked for and that are not there make tests fail, never vanish."""

from tests.simulators.places import VARIABLE, recordings_folder, recordings_wanted


def test_a_named_folder_is_wanted_even_when_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "missing"))
    assert recordings_folder() == tmp_path / "missing"
    assert recordings_wanted()


def test_without_the_variable_the_folder_beside_the_checkout_decides(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert recordings_wanted() is recordings_folder().is_dir()
    assert recordings_folder().parts[-2:] == ("shared", "data")
