"""Where models are: beside this file those that are shipped, in the user's data folder their own, or any folder."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

from rtae.errors import ModelError
from rtae.spec import SPEC_FILE

FOLDER_VARIABLE = "RTAE_MODELS"


def shipped_folder() -> Path:
    """The models that come with the program."""
    return Path(__file__).parent


def user_folder() -> Path:
    """The user's own models; the environment variable RTAE_MODELS puts it elsewhere."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else user_data_path("rtae") / "models"


def available() -> dict[str, Path]:
    """Folders of all models by name; a user's model hides a shipped one of the same name."""
    found: dict[str, Path] = {}
    for folder in (shipped_folder(), user_folder()):
        if folder.is_dir():
            found.update({path.parent.name: path.parent for path in sorted(folder.glob(f"*/{SPEC_FILE}"))})
    return found


def find(name: str) -> Path:
    """The folder of a model, by its name or its path. Raises ModelError, which lists what there is."""
    models = available()
    if name in models:
        return models[name]
    path = Path(name)
    if name and (path / SPEC_FILE).is_file():
        return path
    if name and path.is_dir():
        raise ModelError(f"{path} holds no model: there is no {SPEC_FILE} in it")
    there = f"there are {', '.join(sorted(models))}" if models else "there are none"
    raise ModelError(f"No model {name!r}; {there}. Export one with: rtae export RUN --name {path.name or 'NAME'}")
