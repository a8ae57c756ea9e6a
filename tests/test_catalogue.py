import pytest

from rtae.errors import ModelError
from rtae.models import available, catalogue, find, shipped_folder, user_folder
from rtae.spec import SPEC_FILE


def add(folder, *names):
    """Folders that the catalogue takes for models: it looks no further than the name of the spec."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / SPEC_FILE).write_text("{}")
    return folder


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    folder = add(tmp_path / "shipped", "small", "tiny")
    monkeypatch.setattr(catalogue, "shipped_folder", lambda: folder)
    return folder


@pytest.fixture
def users(tmp_path, monkeypatch):
    folder = add(tmp_path / "users", "mine")
    monkeypatch.setenv("RTAE_MODELS", str(folder))
    return folder


def test_all_models_by_name(shipped, users):
    assert available() == {"small": shipped / "small", "tiny": shipped / "tiny", "mine": users / "mine"}


def test_a_users_model_hides_a_shipped_one(shipped, users):
    add(users, "small")
    assert find("small") == users / "small"
    assert find("tiny") == shipped / "tiny"
    assert list(available()) == ["small", "tiny", "mine"]


def test_what_is_no_model_is_not_listed(shipped, users):
    (users / "notes").mkdir()
    (users / "deep").mkdir()
    add(users / "deep", "inner")
    (users / SPEC_FILE).write_text("{}")
    assert sorted(available()) == ["mine", "small", "tiny"]


def test_a_folder_of_models_that_does_not_exist_is_an_empty_one(shipped, tmp_path, monkeypatch):
    monkeypatch.setenv("RTAE_MODELS", str(tmp_path / "nowhere"))
    assert sorted(available()) == ["small", "tiny"]
    monkeypatch.setenv("RTAE_MODELS", str(shipped / "small" / SPEC_FILE))
    assert sorted(available()) == ["small", "tiny"]


def test_a_model_by_its_path(shipped, users, tmp_path, monkeypatch):
    folder = add(tmp_path / "else where", "other") / "other"
    assert find(str(folder)) == folder
    assert find(f"{folder}/") == folder
    monkeypatch.chdir(folder.parent)
    assert find("other").resolve() == folder


def test_a_name_goes_before_a_path(shipped, users, tmp_path, monkeypatch):
    monkeypatch.chdir(add(tmp_path / "here", "small"))
    assert find("small") == shipped / "small"
    assert find("./small").resolve() == tmp_path / "here" / "small"


def test_an_unknown_name_lists_what_there_is(shipped, users):
    with pytest.raises(ModelError, match=r"No model 'darbuka'; there are mine, small, tiny\..* --name darbuka"):
        find("darbuka")


def test_an_unknown_name_where_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "shipped_folder", lambda: tmp_path)
    monkeypatch.setenv("RTAE_MODELS", str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="No model 'small'; there are none"):
        find("small")


def test_a_folder_without_a_model(shipped, users):
    with pytest.raises(ModelError, match=f"holds no model: there is no {SPEC_FILE}"):
        find(str(users))


def test_the_places(monkeypatch, tmp_path):
    assert shipped_folder().name == "models"
    assert (shipped_folder() / "catalogue.py").is_file()
    monkeypatch.setenv("RTAE_MODELS", str(tmp_path))
    assert user_folder() == tmp_path
    monkeypatch.setenv("RTAE_MODELS", "")
    assert user_folder().parts[-2:] == ("rtae", "models")
    monkeypatch.delenv("RTAE_MODELS")
    assert user_folder().parts[-2:] == ("rtae", "models")
