import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import html
import math
from itertools import combinations

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QAccessible,
    QColor,
    QContextMenuEvent,
    QFontDatabase,
    QImage,
    QKeySequence,
    QMouseEvent,
    QShortcut,
    QWheelEvent,
)
from PySide6.QtWidgets import QApplication, QLineEdit, QMenu, QToolTip, QVBoxLayout, QWidget

from rtae.errors import RtaeError
from rtae.gui import theme
from rtae.gui.widgets.buttons import GRID, ICONS, IconButton, icon, icon_path
from rtae.gui.widgets.cell import HEIGHT, LEAST, MOST, WIDTH, Places, fitting
from rtae.gui.widgets.knob import NOTCHES, TRAVEL, Knob
from rtae.gui.widgets.knob_panel import GROUPS, LABELS, MAP, REST, KnobPanel, grouped
from rtae.gui.widgets.switch import SwitchButton
from rtae.knobs import from_position, text, to_position
from rtae.params import PARAMETERS, TABLE, Parameter, Snapshot

pytestmark = [
    pytest.mark.qt_log_level_fail("WARNING"),
    pytest.mark.qt_log_ignore("^This plugin does not support"),  # the offscreen platform, about any window
]
POSITION_ATOL = 1e-9  # of a turn, in float64
READABLE = 4.5  # WCAG 2 AA: contrast of text
SEEN = 3.0  # WCAG 2 AA: contrast of outlines that matter
LEFT = Qt.MouseButton.LeftButton
NONE, SHIFT, CTRL = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.ControlModifier,
)
TURNED = [parameter for parameter in PARAMETERS if parameter.curve != "switch"]
SWITCHES = [parameter for parameter in PARAMETERS if parameter.curve == "switch"]
USUAL = QSize(WIDTH, HEIGHT)
MIDDLE = Places.within(USUAL).dial.center().toPoint()
SIZES = [LEAST, USUAL, MOST]


def name(parameter) -> str:
    return parameter.id


@pytest.fixture
def shown(qtbot):
    """Puts a widget on the screen, with the focus, and lists what its signals say."""

    def show(widget: QWidget) -> QWidget:
        qtbot.addWidget(widget)
        with qtbot.waitExposed(widget):
            widget.show()
        widget.activateWindow()
        widget.setFocus()
        qtbot.waitUntil(lambda: widget.isActiveWindow())
        widget.said = []
        for signal in ("value_changed", "gesture_began", "gesture_ended", "learn_requested", "forget_requested"):
            if hasattr(widget, signal):
                getattr(widget, signal).connect(lambda *what, signal=signal: widget.said.append((signal, *what)))
        return widget

    return show


@pytest.fixture
def knob(shown):
    return lambda id: shown(Knob(TABLE[id]))


def values_of(widget) -> list[float]:
    return [what[2] for what in widget.said if what[0] == "value_changed"]


def is_one_gesture(widget) -> bool:
    """Began first, ended last, changes of this parameter between."""
    words = [what[0] for what in widget.said]
    alone = {what[1] for what in widget.said} == {widget.parameter.id}
    return alone and words == ["gesture_began", *["value_changed"] * (len(words) - 2), "gesture_ended"]


def mouse(widget, kind, place, button=LEFT, buttons=LEFT, modifiers=NONE):
    place = QPointF(place)
    event = QMouseEvent(kind, place, widget.mapToGlobal(place), button, buttons, modifiers)
    QApplication.sendEvent(widget, event)


def press(widget, modifiers=NONE):
    mouse(widget, QEvent.Type.MouseButtonPress, MIDDLE, modifiers=modifiers)


def move(widget, x, y, modifiers=NONE):
    """To so many pixels right of and above the middle."""
    place = MIDDLE + QPoint(x, -y)
    mouse(widget, QEvent.Type.MouseMove, place, button=Qt.MouseButton.NoButton, modifiers=modifiers)


def release(widget):
    mouse(widget, QEvent.Type.MouseButtonRelease, MIDDLE, buttons=Qt.MouseButton.NoButton)


def drag(widget, *places, modifiers=NONE):
    press(widget)
    for x, y in places:
        move(widget, x, y, modifiers)
    release(widget)


def wheel(widget, notches, modifiers=NONE, sideways=False) -> bool:
    """Whether the widget kept it."""
    angle = QPoint(round(120 * notches), 0) if sideways else QPoint(0, round(120 * notches))
    event = QWheelEvent(
        QPointF(MIDDLE),
        widget.mapToGlobal(QPointF(MIDDLE)),
        QPoint(),
        angle,
        Qt.MouseButton.NoButton,
        modifiers,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)
    return event.isAccepted()


def colours(widget, scale=1) -> set[str]:
    image = QImage(widget.size() * scale, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(scale)
    image.fill(QColor(theme.PANEL))
    widget.render(image)
    return {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())}


# The theme ------------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = (QColor(colour).redF(), QColor(colour).greenF(), QColor(colour).blueF())
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ground", ["BACKGROUND", "PANEL", "RAISED"])
@pytest.mark.parametrize("words", ["TEXT", "DIM", "WET", "SECOND", "WARM", "ALERT"])
def test_texts_are_legible(words, ground):
    assert contrast(getattr(theme, words), getattr(theme, ground)) >= READABLE


def test_what_is_selected_is_legible_and_outlines_are_seen():
    assert contrast(theme.BACKGROUND, theme.WET) >= READABLE
    assert contrast(theme.TEXT, theme.CALM) >= READABLE
    assert contrast(theme.TEXT, theme.HOVER) >= READABLE
    assert min(contrast(theme.EDGE, ground) for ground in (theme.BACKGROUND, theme.PANEL)) >= SEEN


def test_the_style_sheet_is_whole_and_accepted_by_qt(qapp, qtbot, qtlog):
    before = qapp.styleSheet(), qapp.palette(), qapp.style().objectName()
    try:
        theme.apply(qapp)
        assert qapp.style().name() in ("fusion", "")
        assert qapp.styleSheet() == theme.style_sheet()
        assert "$" not in theme.style_sheet()
        assert theme.style_sheet().count("{") == theme.style_sheet().count("}")
        assert qapp.palette().window().color().name() == theme.BACKGROUND
        field = QLineEdit("words")
        qtbot.addWidget(field)
        field.show()
        assert {theme.BACKGROUND, theme.TEXT} <= colours(field)
        assert [record.message for record in qtlog.records if "parse" in record.message.lower()] == []
    finally:
        qapp.setStyleSheet(before[0])
        qapp.setPalette(before[1])
        qapp.setStyle(before[2])
        qapp.styleHints().unsetColorScheme()


def test_without_fonts_it_says_what_to_do(qapp, monkeypatch):
    monkeypatch.setattr(QFontDatabase, "families", lambda *_: [])
    with pytest.raises(RtaeError, match="apt install fonts"):
        theme.apply(qapp)


# Dragging -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", TURNED, ids=name)
def test_a_drag_reaches_both_ends_and_no_further(shown, parameter):
    knob = shown(Knob(parameter))
    drag(knob, (0, 5), (0, 400))
    assert knob.value() == parameter.high
    drag(knob, (0, -5), (0, -400))
    assert knob.value() == parameter.low
    assert all(parameter.check(value) == value for value in values_of(knob))


@pytest.mark.parametrize("id", ["input_gain", "noise_speed", "noise_seed"])
@pytest.mark.parametrize(("x", "y"), [(0, 50), (50, 0), (25, 25), (0, -50), (-30, -20)])
def test_a_drag_turns_by_its_length_up_and_right(knob, id, x, y):
    knob = knob(id)
    knob.set_value(from_position(knob.parameter, 0.5))
    start = to_position(knob.parameter, knob.value())
    drag(knob, (x // 2, y // 2), (x, y))
    assert knob.value() == pytest.approx(from_position(knob.parameter, start + (x + y) / TRAVEL), rel=1e-9)
    assert is_one_gesture(knob)


def test_a_drag_with_shift_is_ten_times_finer_without_a_jump(knob):
    knob = knob("drop")
    press(knob)
    move(knob, 0, 100)
    move(knob, 0, 150, SHIFT)
    assert knob.value() == pytest.approx(0.5 + 0.025)
    move(knob, 0, 170)
    assert knob.value() == pytest.approx(0.525 + 0.1)
    release(knob)
    assert is_one_gesture(knob)


def test_a_drag_past_the_end_comes_back_at_once(knob):
    knob = knob("drop")
    drag(knob, (0, 400), (0, 300))
    assert knob.value() == pytest.approx(0.5)


def test_a_slow_fine_drag_of_whole_numbers_gets_somewhere(knob):
    knob = knob("noise_seed")
    press(knob)
    for y in range(3, 40):
        move(knob, 0, y, SHIFT)
    release(knob)
    assert knob.value() == round(65_535 * 39 / TRAVEL / 10)
    assert all(value == round(value) for value in values_of(knob))


def test_a_click_is_no_gesture(knob):
    knob = knob("drop")
    drag(knob)
    drag(knob, (0, 2))
    assert knob.said == []


def test_other_buttons_do_not_turn(knob):
    knob = knob("drop")
    mouse(knob, QEvent.Type.MouseButtonPress, MIDDLE, button=Qt.MouseButton.MiddleButton)
    move(knob, 0, 90)
    assert knob.said == []


def test_moving_without_a_press_does_nothing(knob, qtbot):
    knob = knob("drop")
    move(knob, 0, 90)
    assert knob.said == []


@pytest.mark.parametrize("parameter", TURNED, ids=name)
def test_a_double_click_resets(shown, qtbot, parameter):
    knob = shown(Knob(parameter))
    knob.set_value(parameter.low if parameter.default != parameter.low else parameter.high)
    qtbot.mouseClick(knob, LEFT, pos=MIDDLE)
    qtbot.mouseDClick(knob, LEFT, pos=MIDDLE)
    assert knob.value() == parameter.default
    assert is_one_gesture(knob)
    assert values_of(knob) == [parameter.default]
    qtbot.mouseDClick(knob, LEFT, pos=MIDDLE)
    assert len(knob.said) == 3


@pytest.mark.parametrize("how", ["hide", "disable"])
def test_a_knob_that_goes_away_ends_its_gesture(knob, how):
    knob = knob("drop")
    press(knob)
    move(knob, 0, 90)
    knob.hide() if how == "hide" else knob.setEnabled(False)
    assert is_one_gesture(knob)


# The wheel ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["input_gain", "noise_speed", "mix"])
@pytest.mark.parametrize(("notches", "modifiers", "turns"), [(1, NONE, 1), (-3, NONE, -3), (2, SHIFT, 0.2)])
def test_a_notch_is_a_fiftieth(knob, id, notches, modifiers, turns):
    knob = knob(id)
    knob.set_value(from_position(knob.parameter, 0.5))
    assert wheel(knob, notches, modifiers)
    assert to_position(knob.parameter, knob.value()) == pytest.approx(0.5 + turns / NOTCHES, abs=POSITION_ATOL)


@pytest.mark.parametrize("modifiers", [NONE, SHIFT])
def test_a_notch_is_one_whole_number(knob, modifiers):
    knob = knob("noise_seed")
    knob.set_value(7)
    for notches, value in ((1, 8), (1, 9), (-3, 6), (-10, 0), (2, 2)):
        wheel(knob, notches, modifiers)
        assert knob.value() == value


def test_touchpads_send_parts_of_a_notch(knob):
    knob = knob("noise_seed")
    for _ in range(8):
        wheel(knob, 0.25)
    assert knob.value() == 2


def test_macos_turns_the_wheel_sideways_with_shift(knob):
    knob = knob("drop")
    wheel(knob, 1, SHIFT, sideways=True)
    assert knob.value() == pytest.approx(0.002)


def test_turns_of_the_wheel_that_follow_are_one_gesture(knob, qtbot):
    knob = knob("drop")
    with qtbot.waitSignal(knob.gesture_ended, timeout=5000):
        for _ in range(3):
            wheel(knob, 1)
        assert [what[0] for what in knob.said] == ["gesture_began", *["value_changed"] * 3]
    assert is_one_gesture(knob)
    assert not knob._settle.isActive()


def test_there_and_back_is_exactly_the_default(knob):
    knob = knob("input_gain")
    for notches in (7, -3, -4):
        wheel(knob, notches)
    assert knob.value() == 0


def test_at_the_end_of_the_range_the_page_does_not_scroll_either(knob):
    knob = knob("drop")
    assert wheel(knob, -1)
    assert knob.said == []


def test_the_wheel_is_left_to_the_page_when_neither_hovered_nor_focused(shown):
    page = QWidget()
    page.resize(600, 600)
    knob = Knob(TABLE["drop"], page)
    knob.move(400, 400)
    shown(page)
    assert not knob.hasFocus()
    assert not knob.underMouse()
    assert not wheel(knob, 1)
    assert knob.value() == 0
    knob.setAttribute(Qt.WidgetAttribute.WA_UnderMouse)
    assert wheel(knob, 1)
    assert knob.value() == pytest.approx(1 / NOTCHES)


# Keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "modifiers", "notches"),
    [
        (Qt.Key.Key_Up, NONE, 1),
        (Qt.Key.Key_Right, NONE, 1),
        (Qt.Key.Key_Down, NONE, -1),
        (Qt.Key.Key_Left, NONE, -1),
        (Qt.Key.Key_PageUp, NONE, 5),
        (Qt.Key.Key_PageDown, NONE, -5),
        (Qt.Key.Key_Up, SHIFT, 0.1),
        (Qt.Key.Key_PageDown, SHIFT, -0.5),
    ],
)
@pytest.mark.parametrize("id", ["input_gain", "freeze_length"])
def test_keys_turn(knob, qtbot, id, key, modifiers, notches):
    knob = knob(id)
    knob.set_value(from_position(knob.parameter, 0.5))
    with qtbot.waitSignal(knob.gesture_ended, timeout=5000):
        qtbot.keyClick(knob, key, modifiers)
    assert to_position(knob.parameter, knob.value()) == pytest.approx(0.5 + notches / NOTCHES, abs=POSITION_ATOL)
    assert is_one_gesture(knob)


def test_keys_step_whole_numbers_within_the_range(knob, qtbot):
    knob = knob("noise_seed")
    for key, value in ((Qt.Key.Key_Up, 1), (Qt.Key.Key_PageUp, 6), (Qt.Key.Key_Left, 5), (Qt.Key.Key_PageDown, 0)):
        qtbot.keyClick(knob, key)
        assert knob.value() == value
    qtbot.keyClick(knob, Qt.Key.Key_Down)
    assert knob.value() == 0


def test_home_resets(knob, qtbot):
    knob = knob("mix")
    knob.set_value(0.25)
    qtbot.keyClick(knob, Qt.Key.Key_Home)
    assert knob.value() == 1
    assert is_one_gesture(knob)


def test_the_focus_that_leaves_ends_the_gesture(knob, qtbot):
    knob = knob("drop")
    qtbot.keyClick(knob, Qt.Key.Key_Up)
    knob.clearFocus()
    assert is_one_gesture(knob)


def test_other_keys_are_left_to_the_window(shown, qtbot):
    class Window(QWidget):
        def keyPressEvent(self, event):
            if event.key() != Qt.Key.Key_Control:
                self.got.append(event.key())

    window = shown(Window())
    window.got = []
    knob = Knob(TABLE["drop"], window)
    knob.show()
    for key, modifiers in ((Qt.Key.Key_Space, NONE), (Qt.Key.Key_Up, CTRL), (Qt.Key.Key_R, NONE), (Qt.Key.Key_1, CTRL)):
        qtbot.keyClick(knob, key, modifiers)
    assert window.got == [Qt.Key.Key_Space, Qt.Key.Key_Up, Qt.Key.Key_R, Qt.Key.Key_1]
    assert knob.value() == 0


@pytest.mark.parametrize("control", ["drop", "bypass"])
def test_shortcuts_of_the_window_do_not_take_the_keys_of_a_focused_control(shown, qtbot, control):
    window = shown(QWidget())
    kind, key = (Knob, Qt.Key.Key_Up) if control == "drop" else (SwitchButton, Qt.Key.Key_Space)
    widget = kind(TABLE[control], window)
    widget.show()
    widget.setFocus()
    taken = []
    QShortcut(QKeySequence(key), window, activated=lambda: taken.append(key))
    qtbot.waitUntil(widget.hasFocus)
    qtbot.keyClick(window.windowHandle(), key)
    assert widget.value() != TABLE[control].default
    assert taken == []
    widget.clearFocus()
    qtbot.keyClick(window.windowHandle(), key)
    assert taken == [key]


# A typed value --------------------------------------------------------------------------------------------------------


def typed(knob, qtbot, words, key=Qt.Key.Key_Return):
    knob.open_editor()
    editor = knob.editor
    qtbot.waitUntil(editor.hasFocus)
    editor.selectAll()
    qtbot.keyClick(editor, Qt.Key.Key_Delete)
    editor.insert(words)  # keyClicks aborts at letters beyond Latin 1
    qtbot.keyClick(editor, key)


@pytest.mark.parametrize(
    ("id", "words", "value"),
    [
        ("input_gain", "-6", -6),
        ("input_gain", "-60.0 dB", -60),
        ("input_gain", " 24db ", 24),
        ("mix", "0,5", 0.5),
        ("mix", "50 %", 0.5),
        ("echo_time", "250 ms", 0.25),
        ("noise_speed", "0.5 kHz", 500),
        ("noise_seed", "65535", 65_535),
    ],
)
def test_a_typed_value_is_taken(knob, qtbot, id, words, value):
    knob = knob(id)
    knob.set_value(knob.parameter.low if knob.parameter.low != value else knob.parameter.high)
    typed(knob, qtbot, words)
    assert knob.value() == value
    assert is_one_gesture(knob)
    assert knob.editor is None
    assert knob.hasFocus()


@pytest.mark.parametrize("id", ["mix", "input_gain", "noise_seed", "noise_speed"])
@pytest.mark.parametrize(
    "words",
    [
        "",
        " ",
        "-",
        "abc",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "99999999",
        "-99999",
        "0x10",
        "1_0",
        "1.2.3",
        "1 2",
        "½",
        "١",
        "9" * 400,
        "<b>1</b>",
        "__import__('os')",
        "%s%n",
        "0.5; drop table",
        "1\u202e2",
    ],
)
def test_hostile_text_changes_nothing_and_the_range_is_shown(knob, qtbot, id, words):
    knob = knob(id)
    knob.set_value(from_position(knob.parameter, 0.3))
    before = knob.value()
    typed(knob, qtbot, words)
    assert knob.value() == before
    assert knob.said == []
    assert f"{knob.parameter.low:g} to {knob.parameter.high:g}" in QToolTip.text()
    assert knob.editor.isVisible()
    assert knob.editor.hasSelectedText() or not words
    qtbot.keyClick(knob.editor, Qt.Key.Key_Escape)
    assert knob.editor is None
    assert knob.value() == before
    QToolTip.hideText()


def test_escape_keeps_the_old_value(knob, qtbot):
    knob = knob("mix")
    typed(knob, qtbot, "0.5", Qt.Key.Key_Escape)
    assert knob.value() == 1
    assert knob.said == []
    assert knob.editor is None
    assert knob.hasFocus()


def test_enter_on_an_untouched_field_does_not_round(knob, qtbot):
    knob = knob("mix")
    knob.set_value(1 / 3)
    knob.open_editor()
    assert knob.editor.text() == text(knob.parameter, 1 / 3)
    assert knob.editor.selectedText() == knob.editor.text()
    qtbot.keyClick(knob.editor, Qt.Key.Key_Return)
    assert knob.value() == 1 / 3
    assert knob.said == []


def test_leaving_the_field_takes_a_good_value_and_drops_a_bad_one(shown, qtbot):
    window = shown(QWidget())
    knob, elsewhere = Knob(TABLE["mix"], window), QLineEdit(window)
    for widget in (knob, elsewhere):
        widget.show()
    for words, value in (("0.25", 0.25), ("no", 0.25)):
        knob.open_editor()
        qtbot.waitUntil(knob.editor.hasFocus)
        qtbot.keyClicks(knob.editor, words)
        elsewhere.setFocus()
        assert knob.editor is None
        assert knob.value() == value
        assert elsewhere.hasFocus()


def test_tab_goes_on_from_the_field_to_the_next_knob(shown, qtbot):
    window = QWidget()
    rows = QVBoxLayout(window)
    knobs = [Knob(TABLE[id]) for id in ("mix", "drop", "echo")]
    for knob in knobs:
        rows.addWidget(knob)
    shown(window)
    knobs[1].setFocus()
    knobs[1].open_editor()
    qtbot.keyClick(knobs[1].editor, Qt.Key.Key_Tab)
    assert knobs[2].hasFocus()
    assert knobs[1].editor is None


@pytest.mark.parametrize("key", [Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_F2])
def test_enter_opens_the_field(knob, qtbot, key):
    knob = knob("mix")
    qtbot.keyClick(knob, key)
    assert knob.editor.text() == "1.00"


@pytest.mark.parametrize("letter", "0123456789-+.,")
def test_a_digit_opens_the_field_and_is_its_first(knob, qtbot, letter):
    knob = knob("mix")
    qtbot.keyClick(knob, letter)
    assert knob.editor.text() == letter
    assert not knob.editor.hasSelectedText()
    qtbot.keyClick(knob.editor, Qt.Key.Key_Escape)
    assert knob.value() == 1


def test_a_digit_and_enter_set_the_value(knob, qtbot):
    knob = knob("noise_seed")
    qtbot.keyClick(knob, "4")
    qtbot.keyClicks(knob.editor, "2")
    qtbot.keyClick(knob.editor, Qt.Key.Key_Return)
    assert knob.value() == 42


def test_ctrl_click_opens_the_field_and_does_not_drag(knob, qtbot):
    knob = knob("mix")
    press(knob, CTRL)
    move(knob, 0, -90)
    release(knob)
    assert knob.editor is not None
    assert knob.said == []


def test_the_value_may_change_while_the_field_is_open(knob, qtbot):
    knob = knob("mix")
    knob.open_editor()
    knob.set_value(0.2)
    qtbot.keyClick(knob.editor, Qt.Key.Key_Return)
    assert knob.value() == 0.2
    assert knob.said == []


# From outside ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", PARAMETERS, ids=name)
def test_set_value_shows_and_says_nothing(shown, parameter):
    widget = shown((SwitchButton if parameter.curve == "switch" else Knob)(parameter))
    assert widget.value() == parameter.default
    for value in (parameter.low, parameter.high, parameter.default, math.nan, math.inf, -1e300):
        widget.set_value(value)
        assert widget.value() == parameter.nearest(value)
        assert widget.accessibleDescription().startswith(text(parameter, widget.value()))
    assert widget.said == []


def test_screen_readers_get_a_dial_that_they_can_turn(knob):
    knob = knob("input_gain")
    knob.set_value(-18)
    dial = QAccessible.queryAccessibleInterface(knob)
    assert dial.role() == QAccessible.Role.Dial
    assert dial.text(QAccessible.Text.Name) == "Input gain"
    assert dial.text(QAccessible.Text.Description).startswith("-18.0 dB")
    assert dial.text(QAccessible.Text.Value) == "50"
    assert knob.said == []
    dial.valueInterface().setCurrentValue(0)
    assert knob.value() == -60
    assert is_one_gesture(knob)


def test_screen_readers_get_a_check_box(shown):
    switch = shown(SwitchButton(TABLE["bypass"]))
    box = QAccessible.queryAccessibleInterface(switch)
    assert box.role() == QAccessible.Role.CheckBox
    switch.set_value(1)
    assert box.state().checked


def test_the_menu_resets_types_and_asks_for_midi(knob, qtbot):
    knob = knob("mix")
    actions = {action.text(): action for action in knob.menu().actions() if action.text()}
    assert list(actions) == ["Type a value…", "Reset", "MIDI learn", "Forget MIDI"]
    assert not actions["Reset"].isEnabled()
    assert not actions["Forget MIDI"].isEnabled()
    actions["MIDI learn"].trigger()
    knob.set_controller("CC 21")
    knob.set_value(0.5)
    actions = {action.text(): action for action in knob.menu().actions()}
    actions["Forget MIDI"].trigger()
    assert knob.said == [("learn_requested", "mix"), ("forget_requested", "mix")]
    actions["Reset"].trigger()
    assert knob.value() == 1
    actions["Type a value…"].trigger()
    assert knob.editor.text() == "1.00"


def test_a_right_click_opens_the_menu(knob, qtbot):
    knob = knob("mix")
    QApplication.sendEvent(knob, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, MIDDLE, knob.mapToGlobal(MIDDLE)))
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    menu.close()
    qtbot.waitUntil(lambda: QApplication.activePopupWidget() is None)


def test_nothing_ticks_unless_a_controller_is_awaited(knob):
    knob = knob("mix")
    assert not knob._pulse.isActive()
    assert theme.WARM not in colours(knob)
    knob.set_learning(True)
    assert knob._pulse.isActive()
    assert knob.is_learning()
    knob.hide()
    assert not knob._pulse.isActive()
    knob.show()
    assert knob._pulse.isActive()
    knob.set_learning(False)
    assert not knob._pulse.isActive()
    knob.set_controller("CC <21>")
    assert theme.WARM in colours(knob)
    assert "CC &lt;21&gt;" in knob.toolTip()
    knob.set_controller("")
    assert theme.WARM not in colours(knob)
    assert "CC" not in knob.toolTip()


@pytest.mark.parametrize("parameter", PARAMETERS, ids=name)
def test_the_tool_tip_has_help_range_and_gestures(qtbot, parameter):
    widget = (SwitchButton if parameter.curve == "switch" else Knob)(parameter)
    qtbot.addWidget(widget)
    assert html.escape(parameter.help, quote=False) in widget.toolTip()
    assert parameter.curve == "switch" or f"{parameter.low:g} to {parameter.high:g}" in widget.toolTip()
    assert "Right-click" in widget.toolTip()


# Looks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 2])
def test_the_arc_is_lit_only_off_the_default(shown, scale):
    knob = shown(Knob(TABLE["macro_1"]))
    knob.clearFocus()
    assert theme.WET not in colours(knob, scale)
    for value in (-4, -1, 1, 4):
        knob.set_value(value)
        assert theme.WET in colours(knob, scale)


def test_the_arc_grows_from_the_default_to_the_value(shown):
    knob = shown(Knob(TABLE["macro_1"]))
    knob.clearFocus()
    for value, left, right in ((-2, True, False), (2, False, True)):
        knob.set_value(value)
        image = knob.grab().toImage()
        lit = [x for x in range(WIDTH) for y in range(HEIGHT) if image.pixelColor(x, y).name() == theme.WET]
        assert (min(lit) < WIDTH / 2 - 10) == left
        assert (max(lit) > WIDTH / 2 + 10) == right


@pytest.mark.parametrize("id", ["drop", "bypass"])
def test_the_focus_is_seen_and_what_is_disabled_is_faint(shown, qtbot, id):
    widget = shown((SwitchButton if id == "bypass" else Knob)(TABLE[id]))
    qtbot.waitUntil(widget.hasFocus)
    assert theme.WET in colours(widget)
    widget.clearFocus()
    assert theme.WET not in colours(widget)
    assert theme.TEXT in colours(widget)
    widget.setEnabled(False)
    assert theme.TEXT not in colours(widget)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.width()}x{size.height()}")
@pytest.mark.parametrize("parameter", PARAMETERS, ids=name)
def test_no_text_is_cut_short(qapp, parameter, size):
    places = Places.within(size)
    label = LABELS.get(parameter.id, parameter.label)
    assert fitting(qapp.font(), label, places.label.width(), places.font_size)[1] == label
    for position in (0, 0.001, 0.123456, 0.3, 0.5, 0.7, 0.999, 1):
        words = text(parameter, from_position(parameter, position))
        assert fitting(qapp.font(), words, places.value.width(), places.font_size)[1] == words


def test_what_does_not_fit_is_cut(qapp):
    assert fitting(qapp.font(), "Schallgeschwindigkeit", 80, 11)[1].endswith("…")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.width()}x{size.height()}")
def test_dial_and_texts_are_inside_the_cell_and_apart(size):
    places, cell = Places.within(size), QRectF(0, 0, size.width(), size.height())
    assert all(cell.contains(place) for place in (places.dial, places.label, places.value))
    assert places.dial.width() >= 30
    assert places.label.top() > places.dial.center().y() + 0.4 * places.dial.height()  # the arc is open below
    assert places.value.top() >= places.label.bottom()


def test_all_cells_are_of_one_size(qtbot):
    for parameter in (TABLE["mix"], TABLE["bypass"], TABLE["difference"]):
        widget = (SwitchButton if parameter.curve == "switch" else Knob)(parameter)
        qtbot.addWidget(widget)
        assert widget.size() == USUAL
        widget.set_size(MOST)
        assert widget.size() == MOST


def test_the_field_of_a_value_follows_the_size(shown):
    knob = shown(Knob(TABLE["mix"]))
    knob.open_editor()
    knob.set_size(MOST)
    assert knob.rect().contains(knob.editor.geometry())
    assert knob.editor.geometry().contains(knob.places.value.toRect())


# Switches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", SWITCHES, ids=name)
@pytest.mark.parametrize("how", ["click", Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter])
def test_a_switch_is_pressed(shown, qtbot, parameter, how):
    switch = shown(SwitchButton(parameter))
    for value in (1, 0):
        switch.said.clear()
        qtbot.mouseClick(switch, LEFT) if how == "click" else qtbot.keyClick(switch, how)
        assert switch.value() == value == switch.isChecked()
        assert is_one_gesture(switch)
        assert values_of(switch) == [value]


def test_a_switch_leaves_other_keys_to_the_window(shown, qtbot):
    switch = shown(SwitchButton(TABLE["bypass"]))
    for key in (Qt.Key.Key_Up, Qt.Key.Key_5, Qt.Key.Key_Escape):
        qtbot.keyClick(switch, key)
    qtbot.keyClick(switch, Qt.Key.Key_Space, CTRL)
    assert switch.said == []


# The panel ------------------------------------------------------------------------------------------------------------


def test_every_parameter_is_in_one_group_or_on_the_map():
    listed = [*MAP, *(id for ids in GROUPS.values() for id in ids)]
    assert len(listed) == len(set(listed))
    assert set(TABLE) - set(listed) == set(), "put these into a group of gui/widgets/knob_panel.py"


def test_groups_skip_what_is_not_in_the_table_and_keep_what_they_do_not_know():
    new = Parameter("swirl", "Swirl", "", 0, 1, 0, "linear", "Is not in any group.")
    groups = grouped((TABLE["mix"], new, TABLE["map_x"], TABLE["drop"]))
    assert groups == {"Shape": (TABLE["drop"],), "Output": (TABLE["mix"],), REST: (new,)}


@pytest.fixture
def panel(shown):
    return shown(KnobPanel())


def test_the_panel_has_a_control_for_every_parameter_but_the_map(panel):
    assert set(panel.knobs) == set(TABLE) - set(MAP)
    for id, control in panel.knobs.items():
        assert isinstance(control, SwitchButton if TABLE[id].curve == "switch" else Knob)


def test_the_panel_shows_a_snapshot_and_says_nothing(panel):
    values = Snapshot(tuple(from_position(parameter, 0.9) for parameter in PARAMETERS))
    panel.set_values(values)
    assert {id: control.value() for id, control in panel.knobs.items()} == {id: values[id] for id in panel.knobs}
    assert panel.said == []


def test_the_panel_passes_signals_on(panel, qtbot):
    drag(panel.knobs["drop"], (0, 10))
    panel.knobs["mix"].learn_requested.emit("mix")
    panel.knobs["mix"].forget_requested.emit("mix")
    qtbot.mouseClick(panel.knobs["bypass"], LEFT)
    assert panel.said == [
        ("gesture_began", "drop"),
        ("value_changed", "drop", pytest.approx(0.05)),
        ("gesture_ended", "drop"),
        ("learn_requested", "mix"),
        ("forget_requested", "mix"),
        ("gesture_began", "bypass"),
        ("value_changed", "bypass", 1.0),
        ("gesture_ended", "bypass"),
    ]


def test_tab_follows_the_reading_order(panel, qtbot):
    order = [id for ids in GROUPS.values() for id in ids if id in TABLE]
    panel.knobs[order[0]].setFocus()
    for id in order:
        assert panel.knobs[id].hasFocus()
        qtbot.keyClick(panel.knobs[id], Qt.Key.Key_Tab)


@pytest.mark.parametrize("size", [(672, 400), (736, 510), (736, 700), (1056, 790), (1280, 250), (1900, 400)])
def test_all_knobs_are_in_sight_where_there_is_room(panel, qtbot, size):
    panel.resize(*size)

    def all_in_sight():
        room = panel.viewport().rect()
        places = [QRect(knob.mapTo(panel.viewport(), QPoint(0, 0)), knob.size()) for knob in panel.knobs.values()]
        return room.size() == QSize(*size) and all(room.contains(place) for place in places)  # with no bar at its side

    qtbot.waitUntil(all_in_sight)


def test_knobs_grow_with_the_room_and_come_back(panel, qtbot):
    sizes = []
    for room in ((672, 400), (736, 510), (1056, 790), (736, 510)):
        panel.resize(*room)
        qtbot.wait(20)
        sizes.append(panel.knobs["mix"].size())
    assert sizes[0].width() < sizes[1].width() < sizes[2].width()
    assert sizes[1] == sizes[3]


@pytest.mark.parametrize("width", [120, 250, 640, 1000, 1280, 2600])
def test_knobs_wrap_to_the_width_without_overlap_in_reading_order(panel, qtbot, width):
    panel.resize(width, 700)
    qtbot.wait(20)
    page = panel.widget()
    places = [QRectF(control.mapTo(page, QPoint(0, 0)), control.size()) for control in panel.knobs.values()]
    assert all(page.rect().contains(place.toRect()) for place in places)
    assert not any(one.intersects(other) for one, other in combinations(places, 2))
    assert [(place.y(), place.x()) for place in places] == sorted((place.y(), place.x()) for place in places)
    assert page.height() - max(place.bottom() for place in places) < 32 or page.height() <= panel.viewport().height()


def test_a_narrow_panel_scrolls_to_the_focus(panel, qtbot):
    panel.resize(250, 300)
    qtbot.wait(20)
    panel.knobs["noise_amount"].setFocus(Qt.FocusReason.TabFocusReason)
    last = list(panel.knobs.values())[-1]
    qtbot.keyClick(panel.knobs["noise_amount"], Qt.Key.Key_Backtab)
    panel.ensureWidgetVisible(last)
    assert not last.visibleRegion().isEmpty()


def test_a_full_turn_of_the_wheel_over_a_knob_does_not_scroll_the_panel(panel, qtbot):
    panel.resize(250, 300)
    qtbot.wait(20)
    knob = panel.knobs["noise_amount"]
    knob.setFocus()
    before = panel.verticalScrollBar().value()
    wheel(knob, -60)
    assert panel.verticalScrollBar().value() == before


# Icons ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("icon_name", ICONS)
def test_icons_fill_their_grid(icon_name):
    place = icon_path(icon_name).boundingRect()
    assert QRectF(2, 2, GRID - 4, GRID - 4).contains(place)
    assert max(place.width(), place.height()) >= GRID / 2
    assert abs(place.center().x() - GRID / 2) < 2
    assert abs(place.center().y() - GRID / 2) < 2


def test_icons_are_all_different(qtbot):
    pictures = [icon(name).pixmap(GRID, GRID).toImage() for name in ICONS]
    assert not any(one == other for one, other in combinations(pictures, 2))


def test_an_icon_button_has_a_name_a_tool_tip_and_colours(qtbot):
    button = IconButton("record", "Record", keys="Ctrl+R", checkable=True, colour=theme.ALERT)
    qtbot.addWidget(button)
    assert button.toolTip() == f"Record ({QKeySequence('Ctrl+R').toString(QKeySequence.SequenceFormat.NativeText)})"
    assert button.accessibleName() == "Record"
    assert theme.TEXT in colours(button)
    assert theme.ALERT not in colours(button)
    qtbot.mouseClick(button, LEFT)
    assert button.isChecked()
    assert theme.ALERT in colours(button)
    button.setEnabled(False)
    assert theme.ALERT not in colours(button)


def test_play_becomes_pause(qtbot):
    button = IconButton("play", "Play", keys="Space")
    qtbot.addWidget(button)
    before = button.grab().toImage()
    button.set_icon("pause", "Pause")
    assert (button.name, button.accessibleName()) == ("pause", "Pause")
    assert button.grab().toImage() != before
    with pytest.raises(KeyError):
        button.set_icon("rewind", "Rewind")


def test_a_click_on_a_button_leaves_the_focus_with_the_knob(shown, qtbot):
    window = QWidget()
    rows = QVBoxLayout(window)
    knob, button = Knob(TABLE["mix"]), IconButton("dice", "Random")
    rows.addWidget(knob)
    rows.addWidget(button)
    shown(window)
    knob.setFocus()
    qtbot.mouseClick(button, LEFT)
    assert knob.hasFocus()
