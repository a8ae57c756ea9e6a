import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QAccessible, QDragEnterEvent, QDropEvent, QTextTable
from PySide6.QtWidgets import QApplication, QFileDialog, QMessageBox, QPushButton

from rtae.errors import ModelError
from rtae.gui import theme
from rtae.gui.panels import model_card, model_list
from rtae.gui.panels.model_card import figures
from rtae.gui.panels.model_list import read_card
from rtae.gui.panels.models import ModelsPanel
from rtae.models import catalogue
from rtae.models.catalogue import available, check_name, free_name, import_model, possible_name, remove_model
from rtae.nets.config import TINY
from rtae.spec import SPEC_FILE, ModelSpec

pytestmark = [
    pytest.mark.qt_log_level_fail("WARNING"),
    pytest.mark.qt_log_ignore("^This plugin does not support"),  # the offscreen platform, about any window
]
PATIENCE_MS = 30_000  # a trial load starts a process, perhaps on a busy machine
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The folder of the user's own models."""
    monkeypatch.setenv("RTAE_MODELS", str(tmp_path / "mine"))
    return tmp_path / "mine"


@pytest.fixture
def shipped(tmp_path, monkeypatch, store_model, files_of):
    """Two models that come with the program."""
    monkeypatch.setattr(catalogue, "shipped_folder", lambda: tmp_path / "shipped")
    for name in ("one", "two"):
        write(tmp_path / "shipped" / name, store_model, files_of)
    return tmp_path / "shipped"


def write(folder, store_model, files_of):
    store_model(folder, files_of(TINY))
    (folder / "CARD.md").write_text("# A card\n\n| | |\n|---|---|\n| a | b |\n\n![x](secret.png) <b>bold</b>\n")
    return folder


@pytest.fixture
def model(tmp_path, store_model, files_of):
    """A model from elsewhere."""
    return write(tmp_path / "there" / "theirs", store_model, files_of)


@pytest.fixture
def no_trial(monkeypatch):
    """The trial by another process is tested by itself."""
    monkeypatch.setattr(catalogue, "try_model", lambda *_: None)


def leftovers(mine):
    return list(mine.glob(".*")) if mine.exists() else []


# -- import ------------------------------------------------------------------------------------------------------------
def test_an_import_takes_what_belongs_to_a_model(mine, model):
    (model / "virus.exe").write_text("no")
    (model / "deep").mkdir()
    (model / "paper").mkdir()
    for name in ("model.json", "encoder.onnx", "decoder.onnx", "more.txt"):
        (model / "paper" / name).write_text("for rtae evaluate")
    place = import_model(model)
    assert place == mine / "theirs"
    names = {"model.json", "encoder.onnx", "decoder.onnx", "CARD.md"}
    assert {path.name for path in place.iterdir()} == names | {"paper"}
    assert {path.name for path in (place / "paper").iterdir()} == names - {"CARD.md"}
    assert all((place / name).read_bytes() == (model / name).read_bytes() for name in names)
    assert available()["theirs"] == place
    assert leftovers(mine) == []


def test_an_import_never_overwrites(mine, shipped, model, no_trial):
    (mine / "theirs").mkdir(parents=True)
    (mine / "theirs" / "notes.txt").write_text("precious")
    assert import_model(model) == mine / "theirs-2"
    assert import_model(model / SPEC_FILE) == mine / "theirs-3"
    assert (mine / "theirs" / "notes.txt").read_text() == "precious"
    assert import_model(model.rename(model.with_name("ONE"))) == mine / "ONE-2"  # `one` is shipped


def test_somebody_who_is_faster_is_not_overwritten(mine, model, no_trial, monkeypatch):
    free, calls = catalogue.free_name, []

    def slow(wanted):
        name = free(wanted)
        if not calls:
            (mine / name).mkdir()
            (mine / name / "theirs").write_text("")
        calls.append(name)
        return name

    monkeypatch.setattr(catalogue, "free_name", slow)
    assert import_model(model) == mine / "theirs-2"
    assert calls == ["theirs", "theirs-2"]


def change(name, text=b"other"):
    return lambda folder: (folder / name).write_bytes(text)


def drop(name):
    return lambda folder: (folder / name).unlink()


def respec(**values):
    def apply(folder):
        spec = json.loads((folder / SPEC_FILE).read_text())
        (folder / SPEC_FILE).write_text(json.dumps(spec | values))

    return apply


def pipe(name):
    def apply(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return apply


def a_folder(name):
    def apply(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return apply


BROKEN = {
    "checksum": (change("decoder.onnx"), r"theirs/decoder.onnx is not the file that model.json describes"),
    "cut short": (
        lambda folder: os.truncate(folder / "encoder.onnx", 100),
        r"theirs/encoder.onnx is not the file that model.json describes \(its checksum differs\)",
    ),
    "missing file": (drop("encoder.onnx"), r"encoder.onnx cannot be read \(No such file or directory\)"),
    "no spec": (drop(SPEC_FILE), r"theirs holds no model: there is no model.json in it$"),
    "not json": (change(SPEC_FILE, b"{"), "is not valid JSON"),
    "not text": (change(SPEC_FILE, b"\xff\xfe\0"), "cannot be read"),
    "another json": (change(SPEC_FILE, b"[]"), "does not describe a model"),
    "a later format": (respec(format=99), "update the program"),
    "impossible": (respec(stride=0), "does not describe a model"),
    "no checksums": (respec(files={}), "there is no checksum for encoder.onnx"),
    "a pipe": (pipe("decoder.onnx"), "decoder.onnx is not a file"),
    "a pipe as spec": (pipe(SPEC_FILE), "model.json is not a file"),
    "a folder in place of a file": (a_folder("encoder.onnx"), "encoder.onnx is not a file"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_model_is_not_imported(mine, model, kind):
    damage, words = BROKEN[kind]
    damage(model)
    with pytest.raises(ModelError, match=words):
        import_model(model)
    assert leftovers(mine) == []
    assert "theirs" not in available()


def test_a_model_that_does_not_run_is_not_imported(mine, model):
    import hashlib

    (model / "decoder.onnx").write_bytes(b"no network")
    digest = hashlib.sha256(b"no network").hexdigest()
    spec = ModelSpec.load(model)
    respec(files={**spec.files, "decoder.onnx": digest})(model)
    with pytest.raises(ModelError, match=r"decoder.onnx of 'random-tiny' is not an ONNX model"):
        import_model(model)
    respec(files=spec.files)(model)
    (model / "decoder.onnx").write_bytes((model / "encoder.onnx").read_bytes())
    respec(files={**spec.files, "decoder.onnx": spec.files["encoder.onnx"]})(model)
    with pytest.raises(ModelError, match="does not run"):
        import_model(model)
    assert leftovers(mine) == []


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        ("import os; os.abort()", "theirs does not run: it ends the program that tries it"),
        ("raise MemoryError('too large')", r"ends the program that tries it \(MemoryError: too large\)"),
        ("import time; time.sleep(60)", "theirs does not run: it was given up after 1 s"),
        (
            "import sys; sys.exit('Error: ' + sys.argv[1] + '/encoder.onnx is odd')",
            r"there/theirs/encoder\.onnx is odd",
        ),
    ],
)
def test_a_trial_that_goes_wrong(mine, model, monkeypatch, trial, words):
    monkeypatch.setattr(catalogue, "TRIAL", trial)
    monkeypatch.setattr(catalogue, "TRIAL_SECONDS", 1.0 if "sleep" in trial else 30.0)
    with pytest.raises(ModelError, match=words):
        import_model(model)
    assert leftovers(mine) == []


def test_too_much(mine, model, monkeypatch):
    monkeypatch.setitem(catalogue.NEEDED, "decoder.onnx", 10)
    with pytest.raises(ModelError, match=r"decoder\.onnx is larger than 0 MB"):
        import_model(model)


@pytest.mark.parametrize("what", ["file", "nothing", "list"])
def test_what_is_no_models_folder(mine, model, what):
    place = {"file": model / "CARD.md", "nothing": model / "nowhere", "list": model.parent}[what]
    with pytest.raises(
        ModelError, match="choose one of the folders in it: theirs" if what == "list" else "not a folder"
    ):
        import_model(place)
    assert not mine.exists()


def test_a_model_that_is_here_already(mine, shipped, model, no_trial, tmp_path):
    place = import_model(model)
    for folder in (place, shipped / "one", place / ".." / "theirs", place / SPEC_FILE):
        with pytest.raises(ModelError, match=r"is one of the models here already: (theirs|one)"):
            import_model(folder)
    (tmp_path / "link").symlink_to(place)
    with pytest.raises(ModelError, match="already"):
        import_model(tmp_path / "link")


def test_a_folder_inside_itself(model, no_trial, monkeypatch):
    monkeypatch.setenv("RTAE_MODELS", str(model / "models"))
    assert import_model(model) == model / "models" / "theirs"
    assert sorted(path.name for path in (model / "models" / "theirs").iterdir()) == sorted(
        path.name for path in model.iterdir() if path.is_file()
    )
    (model / "deep").symlink_to(model)
    assert import_model(model / "deep" / "deep") == model / "models" / "theirs-2"


def test_links_in_a_circle(mine, tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ModelError):
        import_model(tmp_path / "a")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my songs", "my-songs"),
        ("..hidden", "hidden"),
        ("a\nb", "a-b"),
        ("<b>x", "b-x"),
        ("日本", "model"),
        ("-rf", "rf"),
        ("con", "model-con"),
        ("Removed", "model-Removed"),
        ("n" * 200, "n" * 56),
        ("a.", "a"),
    ],
)
def test_hostile_names(mine, model, no_trial, folder, name):
    assert import_model(model.rename(model.with_name(folder))).name == name
    check_name(name)


def test_a_spec_cannot_choose_the_place(mine, model, no_trial, tmp_path):
    spec = ModelSpec.load(model)
    respec(name="../../evil", files={**spec.files, "../../evil": "0", "/etc/passwd": "0"})(model)
    assert import_model(model) == mine / "theirs"
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("text", ["", "a/b", "..", "\\", "nul.txt", "removed", "é", "x" * 999, "a\n"])
def test_names_that_are_none(mine, text):
    with pytest.raises(ModelError, match="cannot name a model"):
        check_name(text)
    check_name(possible_name(text))
    assert len(free_name(text)) <= catalogue.LONGEST_NAME


def test_a_place_that_cannot_be_written(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RTAE_MODELS", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="cannot be imported"):
        import_model(model)


def test_what_is_removed_is_kept(mine, shipped, model, no_trial):
    for number in range(2):
        place = import_model(model)
        kept = remove_model(place)
        assert kept == mine / "removed" / ("theirs" if number == 0 else "theirs-2")
        assert ModelSpec.load(kept)
        assert sorted(available()) == ["one", "two"]
    for folder in (shipped / "one", mine / "removed", mine / "nothing", mine):
        with pytest.raises(ModelError, match="is not one of your own models"):
            remove_model(folder)


def test_what_is_being_written_is_not_listed(mine, shipped):
    (mine / ".x.part").mkdir(parents=True)
    (mine / ".x.part" / SPEC_FILE).write_text("{}")
    assert sorted(available()) == ["one", "two"]


# -- the panel ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def panel(qtbot, qapp, mine, shipped):
    """On the screen, with its list."""
    theme.apply(qapp)
    panel = ModelsPanel()
    panel.said = []
    panel.model_chosen.connect(panel.said.append)
    qtbot.addWidget(panel)
    with qtbot.waitSignal(panel.listed, timeout=PATIENCE_MS):
        panel.resize(400, 700)
        panel.show()
    yield panel
    panel.shutdown()


def names(panel):
    return [panel.list.item(row).data(model_list.ENTRY_ROLE).name for row in range(panel.list.count())]


def refresh(qtbot, panel):
    with qtbot.waitSignal(panel.listed, timeout=PATIENCE_MS):
        panel.refresh()


def take(qtbot, panel, folder):
    with qtbot.waitSignal(panel.listed, timeout=PATIENCE_MS):
        panel.import_folder(folder)


def told(qtbot, panel, words):
    qtbot.waitUntil(lambda: words in panel.notice.text(), timeout=PATIENCE_MS)


def test_the_list_and_the_card(panel, shipped):
    assert names(panel) == ["one", "two"]
    assert panel.chosen().name == "one"
    text = panel.card.toPlainText()
    assert text.startswith("A card")
    assert "<b>bold</b>" in text
    (table,) = [frame for frame in panel.card.document().rootFrame().childFrames() if isinstance(frame, QTextTable)]
    assert (table.rows(), table.columns()) == (1, 2)
    shown = [panel.figures.layout().itemAt(place).widget().accessibleName() for place in range(4)]
    assert shown[:2] == ["latents: 16 × 115 /s", "sample rate: 22.05 kHz"]
    panel.list.setCurrentRow(1)
    assert panel.chosen().folder == shipped / "two"
    assert panel.said == []


def test_ways_to_choose(panel, qtbot, shipped):
    qtbot.mouseClick(panel.play, LEFT)
    panel.list.setCurrentRow(1)
    place = panel.list.visualItemRect(panel.list.item(1)).center()
    qtbot.mouseClick(panel.list.viewport(), LEFT, pos=place)
    qtbot.mouseDClick(panel.list.viewport(), LEFT, pos=place)
    qtbot.keyClick(panel.list, Qt.Key.Key_Up)
    qtbot.keyClick(panel.list, Qt.Key.Key_Return)
    assert panel.said == [str(shipped / name) for name in ("one", "two", "one")]


def test_steps_wrap_and_leave_out_what_cannot_be_used(panel, qtbot, mine, shipped):
    (mine / "broken").mkdir(parents=True)
    (mine / "broken" / SPEC_FILE).write_text("{")
    refresh(qtbot, panel)
    assert names(panel) == ["one", "two", "broken"]
    panel.step(1)
    panel.step(1)
    panel.step(1)
    panel.step(-1)
    panel.step(-1)
    assert [Path(folder).name for folder in panel.said] == ["one", "two", "one", "two", "one"]
    panel.set_current(shipped / "two")
    panel.step(1)
    assert panel.said[-1] == str(shipped / "one")
    panel.set_current("/nowhere")
    panel.step(-1)
    assert panel.said[-1] == str(shipped / "two")


def test_steps_without_models(panel, qtbot, shipped):
    shutil.rmtree(shipped)
    refresh(qtbot, panel)
    panel.step(1)
    assert (names(panel), panel.said, panel.chosen()) == ([], [], None)
    assert not panel.play.isEnabled()


def test_what_plays_is_marked(panel, qtbot, shipped, monkeypatch):
    before = panel.list.grab().toImage()
    monkeypatch.chdir(shipped)
    panel.set_current(Path("two"))  # however it is written
    marks = [panel.list.item(row).data(Qt.ItemDataRole.AccessibleTextRole) for row in range(2)]
    assert ["plays" in mark for mark in marks] == [False, True]
    assert panel.list.grab().toImage() != before
    refresh(qtbot, panel)
    assert panel.list.item(1).data(model_list.PLAYS_ROLE)
    assert panel.chosen().name == "two"  # the card follows
    panel.list.setCurrentRow(0)
    panel.set_current(Path("three"))
    panel.set_current(Path("two"))
    assert panel.chosen().name == "one"  # but not where another one is looked at
    assert panel.said == []


def test_an_unusable_model_says_why(panel, qtbot, mine):
    (mine / "broken").mkdir(parents=True)
    (mine / "broken" / SPEC_FILE).write_text("{")
    refresh(qtbot, panel)
    panel.list.setCurrentRow(2)
    assert "is not valid JSON" in panel.card.toPlainText()
    assert not panel.play.isEnabled()
    assert panel.away.isEnabled()
    qtbot.keyClick(panel.list, Qt.Key.Key_Enter)
    assert "is not valid JSON" in panel.notice.text()
    assert panel.notice.property("role") == "alert"
    assert panel.said == []


def test_import_by_the_dialog(panel, qtbot, mine, model, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(model))
    with qtbot.waitSignal(panel.listed, timeout=PATIENCE_MS):
        qtbot.mouseClick(panel.add, LEFT)
        assert not panel.add.isEnabled()
        assert "Checking theirs" in panel.notice.text()
    assert panel.notice.text() == "Imported as theirs."
    assert panel.add.isEnabled()
    assert names(panel) == ["one", "two", "theirs"]
    assert panel.chosen().folder == mine / "theirs"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    qtbot.mouseClick(panel.add, LEFT)
    assert panel.add.isEnabled()


def test_an_import_that_fails_says_why(panel, qtbot, model, no_trial):
    change("decoder.onnx")(model)
    panel.import_folder(model)
    told(qtbot, panel, "its checksum differs")
    assert panel.notice.property("role") == "alert"
    assert panel.add.isEnabled()
    assert names(panel) == ["one", "two"]


def drop_on(widget, *paths, mime=None):
    data = mime or QMimeData()
    if paths:
        data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, no_keys = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(9, 9), copy, data, LEFT, no_keys)
    enter.ignore()
    QApplication.sendEvent(widget, enter)
    if enter.isAccepted():
        QApplication.sendEvent(widget, QDropEvent(QPointF(9, 9), copy, data, LEFT, no_keys))
    return enter.isAccepted()


def test_import_by_drop(panel, qtbot, mine, model, no_trial, store_model, files_of):
    second = write(model.with_name("second"), store_model, files_of)
    assert drop_on(panel, model, second / SPEC_FILE)
    qtbot.waitUntil(lambda: names(panel) == ["one", "two", "second", "theirs"], timeout=PATIENCE_MS)
    assert not drop_on(panel, model / "CARD.md")
    assert not drop_on(panel)
    text = QMimeData()
    text.setText("hello")
    assert not drop_on(panel, mime=text)
    web = QMimeData()
    web.setUrls([QUrl("http://example.org/model")])
    assert not drop_on(panel, mime=web)


def test_only_own_models_are_removed_and_only_when_asked(panel, qtbot, mine, model, no_trial, monkeypatch):
    assert not panel.away.isEnabled()  # shipped
    take(qtbot, panel, model)
    assert panel.away.isEnabled()
    panel.set_current(mine / "theirs")
    assert not panel.away.isEnabled()  # plays
    panel.set_current("")

    def answer(words):
        def press():
            box = QApplication.activeModalWidget()
            assert isinstance(box, QMessageBox)
            assert "moved to" in box.text()
            qtbot.mouseClick(next(button for button in box.buttons() if button.text().strip("&") == words), LEFT)

        QTimer.singleShot(0, press)

    answer("Cancel")
    qtbot.mouseClick(panel.away, LEFT)
    assert (mine / "theirs").exists()
    answer("Remove")
    with qtbot.waitSignal(panel.listed, timeout=PATIENCE_MS):
        qtbot.mouseClick(panel.away, LEFT)
    assert names(panel) == ["one", "two"]
    assert panel.notice.text() == f"Removed. Its files are in {mine / 'removed' / 'theirs'}."


def test_refresh_finds_what_is_new_and_keeps_the_place(panel, qtbot, mine, model):
    panel.list.setCurrentRow(1)
    shutil.copytree(model, mine / "another")
    with qtbot.waitSignal(panel.listed, timeout=PATIENCE_MS):
        qtbot.mouseClick(panel.again, LEFT)
    assert names(panel) == ["one", "two", "another"]
    assert panel.chosen().name == "two"


@pytest.mark.parametrize("width", [320, 400, 639, 640, 900])
def test_nothing_is_cut_at_any_width(panel, qtbot, width):
    panel.resize(width, 600)
    qtbot.wait(20)
    assert panel.width() == width
    assert panel.splitter.orientation() == (Qt.Orientation.Horizontal if width >= 640 else Qt.Orientation.Vertical)
    for button in panel.findChildren(QPushButton):
        assert panel.rect().contains(button.geometry().translated(button.parentWidget().mapTo(panel, QPoint(0, 0))))
        assert button.width() >= button.sizeHint().width()
    assert panel.list.height() >= 90
    assert panel.card.height() >= 90


def test_every_part_has_a_name_and_is_reached_by_tab(panel, qtbot):
    panel.activateWindow()
    qtbot.waitUntil(panel.isActiveWindow)
    for widget in (panel.list, panel.card, panel.play, panel.add, panel.again):
        assert QAccessible.queryAccessibleInterface(widget).text(QAccessible.Text.Name)
    panel.list.setFocus()
    reached = []
    for _ in range(8):
        reached.append(QApplication.focusWidget())
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
    assert {panel.list, panel.card, panel.play, panel.add, panel.again} <= set(reached)
    panel.play.setFocus()
    qtbot.keyClick(panel.play, Qt.Key.Key_Return)
    assert len(panel.said) == 1


def test_a_card_of_a_stranger_loads_nothing(panel, tmp_path, model, monkeypatch):
    opened = []
    monkeypatch.setattr(model_card.QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    panel.card.show_card("![x](file:///etc/passwd) [a](file:///bin/sh) [b](https://example.org)")
    for link in ("file:///bin/sh", "https://example.org"):
        panel.card.anchorClicked.emit(QUrl(link))
    assert opened == ["https://example.org"]
    (model / "CARD.md").unlink()
    assert read_card(model) == model_list.NO_CARD
    os.mkfifo(model / "CARD.md")
    assert read_card(model) == model_list.NO_CARD
    (model / "CARD.md").unlink()
    (model / "CARD.md").write_bytes(b"\xff" * 100_000)
    assert len(read_card(model)) < model_list.LONGEST_CARD + 100


def test_figures_of_a_bare_model(model):
    from dataclasses import replace

    spec = replace(ModelSpec.load(model), reach=None, training={"si_sdr_db": "?", "mr_stft": 0.5})
    assert [words for _, words in figures(spec)] == ["latents", "sample rate", "MR-STFT"]


def test_the_window_side_needs_neither_torch_nor_onnxruntime():
    code = (
        "import sys, rtae.gui.panels.models, rtae.gui.panels.training\n"
        "assert not {'torch', 'onnxruntime', 'sounddevice'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
