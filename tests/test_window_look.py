"""How the real window is laid out, and what its parts say of the model; offscreen, on the silent clock."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QPoint, QRect, QSettings, QSize, Qt

from rtae.client import Client
from rtae.demo import DEMO_PATH
from rtae.errors import DeviceError
from rtae.gui import theme
from rtae.gui.ahead import Ahead
from rtae.gui.controller import Controller
from rtae.gui.docks import usual_width
from rtae.gui.main_window import MainWindow
from rtae.models.catalogue import find
from rtae.setup import DREAM, Setup

PATIENCE_MS = 60_000  # a busy machine takes long to start a process
LEFT = Qt.MouseButton.LeftButton

pytestmark = pytest.mark.qt_log_level_fail("CRITICAL")


@pytest.fixture
def make(qtbot, qapp, tmp_path, monkeypatch):
    """Makes a window, whose audio process is not started, and closes it at the end."""
    theme.apply(qapp)
    for variable in ("RTAE_MODELS", "RTAE_PRESETS", "RTAE_RUNS"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setattr("rtae.gui.bridge.bindings_file", lambda: tmp_path / "midi.json")
    opened = []

    def build(model: str = "small", connect=Client) -> MainWindow:
        settings = QSettings(str(tmp_path / "w.ini"), QSettings.Format.IniFormat)
        setup = Setup(model=str(find(model)), source=str(DEMO_PATH), output="silent")
        window = MainWindow(Controller(settings, setup, connect=connect))
        opened.append(window)
        return window

    yield build
    for window in opened:
        window.close()
        window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def start(window, qtbot):
    window.show()
    window.controller.start()
    qtbot.waitUntil(lambda: bool(window.controller.facts), timeout=PATIENCE_MS)


# -- the layout --------------------------------------------------------------------------------------------------------
def in_sight(window):
    panel = window.knobs.panel
    room = panel.viewport().rect()
    return all(room.contains(QRect(knob.mapTo(panel.viewport(), QPoint(0, 0)), knob.size())) for knob in knobs(window))


def knobs(window):
    return window.knobs.panel.knobs.values()


@pytest.mark.parametrize("size", [(1024, 700), (1280, 800), (1920, 1080), (2560, 1440)])
def test_all_knobs_are_in_sight_and_the_pictures_have_room(make, qtbot, size):
    window = make()
    window.resize(*size)
    window.show()
    qtbot.waitUntil(lambda: in_sight(window))
    assert window.size() == QSize(*size)
    assert window.pictures.width() >= size[0] // 3


def test_pictures_and_knobs_share_what_a_window_grows_by(make, qtbot):
    window = make()
    window.show()
    widths = []
    for width in (1280, 1920, 1280):
        window.resize(width, 800)
        qtbot.waitUntil(lambda width=width: abs(window.docks["Knobs"].width() - usual_width(width)) <= 1)
        widths.append(window.pictures.width())
    assert widths[1] > widths[0] + 250
    assert widths[2] == widths[0]


def test_a_panel_is_dragged_out_with_a_title_and_put_back_without(make, qtbot):
    window = make()
    window.show()
    dock = window.docks["Map"]
    assert dock.titleBarWidget() is not None  # an empty one: the tab says its name
    dock.setFloating(True)
    qtbot.waitUntil(lambda: dock.titleBarWidget() is None)
    window.beside.put_back()
    assert not dock.isFloating()
    qtbot.waitUntil(lambda: dock.titleBarWidget() is not None)
    assert set(window.tabifiedDockWidgets(dock)) == set(window.docks.values()) - {dock}


def test_the_song_is_lower_in_a_low_window(make, qtbot):
    window = make()
    window.show()
    heights = []
    for height in (800, 700, 800):
        window.resize(1280, height)
        qtbot.waitUntil(lambda height=height: window.height() == height)
        heights.append(window.transport.height())
    assert heights[0] > heights[1]
    assert heights[0] == heights[2]


# -- dreams ------------------------------------------------------------------------------------------------------------
def test_a_model_without_a_prior_says_that_it_cannot_dream(make, qtbot):
    window = make("small")
    start(window, qtbot)
    button, temperature = window.transport.dream, window.knobs.panel.knobs["dream_temperature"]
    for widget in (button, temperature):
        assert not widget.isEnabled()
        assert "small cannot dream" in widget.toolTip()
        assert "vae" in widget.toolTip()
    window.controller.choose_model(str(find("vae")))
    qtbot.waitUntil(button.isEnabled, timeout=PATIENCE_MS)
    assert temperature.isEnabled()
    assert "cannot" not in button.toolTip() + temperature.toolTip()


def test_the_button_dreams_and_goes_back_to_the_song(make, qtbot):
    window = make("vae")
    start(window, qtbot)
    controller, button = window.controller, window.transport.dream
    peaks = []
    controller.ticked.connect(lambda _: peaks.append(abs(controller.client.shared.newest("scope", 4096)[1]).max()))
    qtbot.mouseClick(button, LEFT)
    qtbot.waitUntil(lambda: controller.setup.source == DREAM and button.isChecked(), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: controller.status().position > 0.5, timeout=PATIENCE_MS)
    peaks.clear()
    qtbot.waitUntil(lambda: bool(peaks) and max(peaks) > 0.01, timeout=PATIENCE_MS)  # out of silence
    assert window.transport.first_view.name == "A dream"
    assert str(DREAM) not in controller.recent()
    qtbot.mouseClick(button, LEFT)
    qtbot.waitUntil(lambda: controller.setup.source == str(DEMO_PATH), timeout=PATIENCE_MS)
    assert not button.isChecked()


# -- the start ---------------------------------------------------------------------------------------------------------
def test_a_process_that_was_started_ahead_is_the_window_s(make, qtbot):
    ahead = Ahead()
    window = make("small", ahead.take)
    start(window, qtbot)
    process = window.controller.client.process
    ahead.close()  # it is taken, so nothing happens to it
    assert process.is_alive()
    window.close()
    qtbot.waitUntil(lambda: not process.is_alive(), timeout=PATIENCE_MS)


def test_a_process_that_nobody_took_ends():
    ahead = Ahead()
    client = ahead.client.result()
    ahead.close()
    assert not client.process.is_alive()


def test_after_a_process_that_does_not_start_another_is_tried(make, qtbot, monkeypatch):
    def fail(_):
        raise DeviceError("no process today")

    monkeypatch.setattr("rtae.gui.ahead.launch", lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr("rtae.gui.ahead.meet", fail)
        ahead = Ahead()
        window = make("small", ahead.take)
        said = []
        window.controller.notice.connect(lambda text, is_error: said.append((text, is_error)))
        window.show()
        window.controller.start()
        qtbot.waitUntil(lambda: ("no process today", True) in said, timeout=PATIENCE_MS)
    window.controller.choose_model(str(find("tiny")))
    qtbot.waitUntil(lambda: bool(window.controller.facts), timeout=PATIENCE_MS)


def test_usable_is_said_only_when_a_key_press_would_be_heard(make, qtbot, capsys):
    from rtae.gui.usable import say_when_usable

    window = make()
    say_when_usable(window)
    window.show()
    qtbot.wait(50)
    assert "usable" not in capsys.readouterr().out
    window.controller.start()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=PATIENCE_MS)  # it is closed then
    assert capsys.readouterr().out == "usable\n"
    assert window.controller.facts["hop"] > 0


def test_a_long_stretch_of_work_is_counted(qapp, qtbot):
    from time import sleep

    from PySide6.QtCore import QTimer

    from rtae.gui.bench import BLOCKED_SECONDS, Stretches

    stretches = Stretches()
    QTimer.singleShot(0, lambda: sleep(1.2 * BLOCKED_SECONDS))
    qtbot.waitUntil(lambda: stretches.blocked > 0)
    assert stretches.longest > BLOCKED_SECONDS > stretches.work  # to sleep is no work


def test_tabs_that_are_not_in_sight_are_made_once_the_window_is_ready_or_wanted(make, qtbot):
    window = make()
    start(window, qtbot)
    assert "models" not in vars(window)
    qtbot.waitUntil(lambda: "models" in vars(window) and "training" in vars(window))
    assert window.docks["Models"].widget() is window.models
    eager = make()
    eager.show()
    eager.docks["Train"].raise_()
    qtbot.waitUntil(lambda: "training" in vars(eager))
    assert eager.docks["Train"].widget() is eager.training


def test_garbage_is_collected_again_once_the_window_stands():
    import gc

    from rtae.gui.app import collect

    gc.disable()
    try:
        collect()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.enable()
