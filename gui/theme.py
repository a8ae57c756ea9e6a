"""How the window looks: colours, sizes, and one style sheet. Everything that draws takes its colours from here."""

from __future__ import annotations

from string import Template

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFontDatabase, QPalette
from PySide6.QtWidgets import QApplication

from rtae.errors import RtaeError

BACKGROUND = "#14161a"
PANEL = "#1b1e24"
RAISED = "#262b33"  # buttons, fields, the body of a knob
LINE = "#343b46"
TEXT = "#dde1e7"
DIM = "#929baa"  # labels and units; 6:1 on PANEL
DRY = "#7f8ea8"  # what goes in
WET = "#4fd1c5"  # what comes out; also whatever is on
SECOND = "#c792ea"  # source B
WARM = "#f0a94b"  # what moves by itself: automation, MIDI learn
ALERT = "#f2635c"  # clipping, dropouts, recording
SPACE = 8  # between things, in device-independent pixels
RADIUS = 4  # of corners
HOVER = "#303742"  # RAISED under the mouse
EDGE = "#66707f"  # the outline of an empty check box, 3:1 on PANEL
FAINT = "#667080"  # what is disabled
CALM = "#1e6f69"  # WET where it lies behind text

PALETTE = {
    QPalette.ColorRole.Window: BACKGROUND,
    QPalette.ColorRole.WindowText: TEXT,
    QPalette.ColorRole.Base: PANEL,
    QPalette.ColorRole.AlternateBase: BACKGROUND,
    QPalette.ColorRole.Text: TEXT,
    QPalette.ColorRole.PlaceholderText: DIM,
    QPalette.ColorRole.Button: RAISED,
    QPalette.ColorRole.ButtonText: TEXT,
    QPalette.ColorRole.BrightText: ALERT,
    QPalette.ColorRole.ToolTipBase: RAISED,
    QPalette.ColorRole.ToolTipText: TEXT,
    QPalette.ColorRole.Highlight: WET,
    QPalette.ColorRole.HighlightedText: BACKGROUND,
    QPalette.ColorRole.Accent: WET,
    QPalette.ColorRole.Link: WET,
    QPalette.ColorRole.LinkVisited: SECOND,
    QPalette.ColorRole.Light: LINE,
    QPalette.ColorRole.Midlight: HOVER,
    QPalette.ColorRole.Mid: LINE,
    QPalette.ColorRole.Dark: BACKGROUND,
    QPalette.ColorRole.Shadow: "#000000",
}
DISABLED = (
    QPalette.ColorRole.WindowText,
    QPalette.ColorRole.Text,
    QPalette.ColorRole.ButtonText,
    QPalette.ColorRole.HighlightedText,
    QPalette.ColorRole.PlaceholderText,
)


def apply(app: QApplication) -> None:
    """Gives the whole program its looks. Raises RtaeError where there are no fonts: Qt would show no text at all."""
    if not QFontDatabase.families():
        raise RtaeError("No fonts are installed, so no text would show. On Debian: apt install fonts-dejavu-core")
    app.setStyle("Fusion")
    app.styleHints().setColorScheme(Qt.ColorScheme.Dark)  # also the frame of the window, where the system can
    app.setPalette(palette())
    app.setStyleSheet(style_sheet())


def palette() -> QPalette:
    """For what Qt draws without asking the style sheet, and for pyqtgraph's own widgets."""
    colours = QPalette()
    for role, colour in PALETTE.items():
        colours.setColor(role, QColor(colour))
    for role in DISABLED:
        colours.setColor(QPalette.ColorGroup.Disabled, role, QColor(FAINT))
    colours.setColor(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Highlight, QColor(LINE))
    return colours


def style_sheet() -> str:
    """Covers everything that Qt may show; set on the application.

    Indicators, arrows and grips are drawn with borders and gradients, so that no image file is needed.
    """
    arrows = {
        "DOWN": triangle(DIM, apex=1),
        "UP": triangle(DIM, apex=0),
        "DOWN_FAINT": triangle(FAINT, apex=1),
        "UP_FAINT": triangle(FAINT, apex=0),
    }
    return Template(STYLE).substitute(globals(), **arrows)


def triangle(colour: str, apex: int) -> str:
    """A gradient of which one sector is seen; its apex is at the top (0) or the bottom (1) of what it fills."""
    angle = 90 if apex else 270
    stops = ((0, 1), (0.064, 1), (0.084, 0), (0.916, 0), (0.936, 1), (1, 1))  # a turn, as a share; seen or not
    clear = f"rgba({', '.join(map(str, QColor(colour).getRgb()[:3]))}, 0)"
    shades = ", ".join(f"stop:{place} {colour if seen else clear}" for place, seen in stops)
    return f"qconicalgradient(cx:0.5, cy:{apex}, angle:{angle}, {shades})"


STYLE = """
QWidget { color: $TEXT; }
QWidget:disabled { color: $FAINT; }
QMainWindow, QDialog, QMessageBox, QWizard { background: $BACKGROUND; }
QDialogButtonBox { dialogbuttonbox-buttons-have-icons: 0; }
QToolTip { color: $TEXT; background: $RAISED; border: 1px solid $EDGE; padding: 5px; }
QLabel { background: transparent; }
QLabel[role="title"] { color: $DIM; font-weight: bold; }
QLabel[role="dim"] { color: $DIM; }
QLabel[role="alert"] { color: $ALERT; }
QFrame[role="section"] { background: $PANEL; border: 1px solid $RAISED; border-radius: 6px; }
QFrame[frameShape="4"], QFrame[frameShape="5"] { color: $LINE; }

QMenuBar { background: $BACKGROUND; padding: 2px; }
QMenuBar::item { background: transparent; padding: 4px 10px; border-radius: ${RADIUS}px; }
QMenuBar::item:selected { background: $HOVER; }
QMenu { background: $RAISED; border: 1px solid $EDGE; padding: 4px; }
QMenu::item { padding: 5px 28px 5px 26px; border-radius: 3px; }
QMenu::item:selected { background: $WET; color: $BACKGROUND; }
QMenu::item:disabled { color: $FAINT; background: transparent; }
QMenu::separator { height: 1px; background: $LINE; margin: 4px 6px; }
QMenu::icon { padding-left: 6px; }
QMenu::indicator { left: 8px; width: 10px; height: 10px; border: 1px solid $EDGE; border-radius: 2px; }
QMenu::indicator:exclusive { border-radius: 6px; }
QMenu::indicator:checked { background: $WET; border-color: $WET; }
QMenu::indicator:selected { border-color: $BACKGROUND; }
QMenu::indicator:checked:selected { background: $BACKGROUND; border-color: $BACKGROUND; }

QPushButton, QToolButton {
  background: $RAISED; border: 1px solid $LINE; border-radius: ${RADIUS}px; padding: 5px 14px; }
QToolButton { padding: 4px 6px; }
QPushButton { min-width: 56px; }
QPushButton[role="slim"] { min-width: 0; padding: 5px 8px; }
QPushButton:hover, QToolButton:hover { background: $HOVER; border-color: $EDGE; }
QPushButton:pressed, QToolButton:pressed { background: $LINE; }
QPushButton:checked, QToolButton:checked { background: $WET; border-color: $WET; color: $BACKGROUND; }
QPushButton:default { border-color: $DIM; }
QPushButton:focus, QToolButton:focus { border-color: $WET; }
QPushButton:checked:focus, QToolButton:checked:focus { border-color: $TEXT; }
QPushButton:disabled, QToolButton:disabled { background: $PANEL; border-color: $RAISED; color: $FAINT; }
QPushButton::menu-indicator { subcontrol-position: right center; right: 6px; }

QLineEdit, QPlainTextEdit, QTextEdit, QTextBrowser, QAbstractSpinBox {
  background: $BACKGROUND; border: 1px solid $LINE; border-radius: ${RADIUS}px; padding: 4px 6px;
  selection-background-color: $WET; selection-color: $BACKGROUND; placeholder-text-color: $DIM; }
QLineEdit:hover, QAbstractSpinBox:hover { border-color: $EDGE; }
QLineEdit:focus, QPlainTextEdit:focus, QTextEdit:focus, QAbstractSpinBox:focus { border-color: $WET; }
QLineEdit:disabled, QPlainTextEdit:disabled, QTextEdit:disabled, QAbstractSpinBox:disabled {
  background: $PANEL; border-color: $RAISED; }
QLineEdit[role="value"] { padding: 0; }
QAbstractSpinBox { padding-right: 20px; }
QAbstractSpinBox QLineEdit { border: none; padding: 0; background: transparent; }
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {
  subcontrol-origin: border; width: 18px; border: none; background: transparent; }
QAbstractSpinBox::up-button { subcontrol-position: top right; }
QAbstractSpinBox::down-button { subcontrol-position: bottom right; }
QAbstractSpinBox::up-button:hover, QAbstractSpinBox::down-button:hover { background: $HOVER; }

QComboBox { background: $RAISED; border: 1px solid $LINE; border-radius: ${RADIUS}px; padding: 4px 8px; }
QComboBox:hover { background: $HOVER; border-color: $EDGE; }
QComboBox:focus, QComboBox:on { border-color: $WET; }
QComboBox:disabled { background: $PANEL; border-color: $RAISED; }
QComboBox::drop-down { subcontrol-origin: border; border: none; width: 22px; }
QComboBox::down-arrow { width: 9px; height: 6px; }
QAbstractSpinBox::up-arrow, QAbstractSpinBox::down-arrow { width: 7px; height: 5px; }
QComboBox::down-arrow, QAbstractSpinBox::down-arrow { background: $DOWN; }
QAbstractSpinBox::up-arrow { background: $UP; }
QComboBox::down-arrow:disabled, QAbstractSpinBox::down-arrow:disabled, QAbstractSpinBox::down-arrow:off {
  background: $DOWN_FAINT; }
QAbstractSpinBox::up-arrow:disabled, QAbstractSpinBox::up-arrow:off { background: $UP_FAINT; }

QCheckBox, QRadioButton { background: transparent; spacing: 8px; padding: 2px; }
QCheckBox::indicator, QRadioButton::indicator, QGroupBox::indicator, QAbstractItemView::indicator {
  width: 13px; height: 13px; border: 1px solid $EDGE; border-radius: 3px; background: $BACKGROUND; }
QRadioButton::indicator { border-radius: 7px; }
QCheckBox::indicator:hover, QRadioButton::indicator:hover, QGroupBox::indicator:hover { border-color: $TEXT; }
QCheckBox::indicator:checked, QGroupBox::indicator:checked, QAbstractItemView::indicator:checked {
  border-color: $WET; background: qradialgradient(cx:0.5, cy:0.5, radius:0.71, fx:0.5, fy:0.5,
    stop:0 $WET, stop:0.99 $WET, stop:1 $WET); }
QCheckBox::indicator:indeterminate, QAbstractItemView::indicator:indeterminate {
  border-color: $WET; background: qlineargradient(x1:0, y1:0, x2:0, y2:1,
    stop:0.38 $BACKGROUND, stop:0.39 $WET, stop:0.61 $WET, stop:0.62 $BACKGROUND); }
QRadioButton::indicator:checked {
  border-color: $WET; background: qradialgradient(cx:0.5, cy:0.5, radius:0.5, fx:0.5, fy:0.5,
    stop:0 $WET, stop:0.55 $WET, stop:0.7 $BACKGROUND, stop:1 $BACKGROUND); }
QCheckBox:focus, QRadioButton:focus { color: $WET; }
QCheckBox::indicator:focus, QRadioButton::indicator:focus { border-color: $TEXT; }
QCheckBox::indicator:disabled, QRadioButton::indicator:disabled, QGroupBox::indicator:disabled {
  border-color: $LINE; background: $PANEL; }
QCheckBox::indicator:checked:disabled, QRadioButton::indicator:checked:disabled { background: $LINE; }

QGroupBox {
  background: $PANEL; border: 1px solid $RAISED; border-radius: 6px; margin-top: 8px; padding: 18px 8px 8px 8px; }
QGroupBox::title { subcontrol-origin: border; subcontrol-position: top left; left: 10px; top: 6px; color: $DIM; }

QSlider { background: transparent; min-height: 18px; }
QSlider:vertical { min-height: 40px; min-width: 18px; }
QSlider::groove:horizontal { height: 4px; background: $LINE; border-radius: 2px; }
QSlider::groove:vertical { width: 4px; background: $LINE; border-radius: 2px; }
QSlider::sub-page:horizontal, QSlider::add-page:vertical { background: $WET; border-radius: 2px; }
QSlider::handle { background: $TEXT; border: 1px solid $BACKGROUND; border-radius: 7px; }
QSlider::handle:horizontal { width: 12px; margin: -5px 0; }
QSlider::handle:vertical { height: 12px; margin: 0 -5px; }
QSlider::handle:hover { background: #ffffff; }
QSlider::handle:focus { border-color: $WET; background: #ffffff; }
QSlider::sub-page:disabled, QSlider::add-page:vertical:disabled { background: $LINE; }
QSlider::handle:disabled { background: $FAINT; }

QProgressBar {
  background: $BACKGROUND; border: 1px solid $LINE; border-radius: ${RADIUS}px; text-align: center; min-height: 16px; }
QProgressBar::chunk { background: $CALM; border-radius: 3px; }

QScrollArea { background: transparent; border: none; }
QScrollBar { background: transparent; border: none; }
QScrollBar:vertical { width: 12px; margin: 0; }
QScrollBar:horizontal { height: 12px; margin: 0; }
QScrollBar::handle { background: $LINE; border-radius: 4px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 28px; }
QScrollBar::handle:horizontal { min-width: 28px; }
QScrollBar::handle:hover, QScrollBar::handle:pressed { background: $EDGE; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; border: none; background: none; }
QScrollBar::add-page, QScrollBar::sub-page { background: none; }
QAbstractScrollArea::corner { background: transparent; border: none; }

QListView, QTreeView, QTableView, QColumnView {
  background: $PANEL; alternate-background-color: $BACKGROUND; border: 1px solid $LINE; border-radius: ${RADIUS}px;
  gridline-color: $RAISED; selection-background-color: $WET; selection-color: $BACKGROUND; outline: none; }
QListView:focus, QTreeView:focus, QTableView:focus { border-color: $WET; }
QComboBox QAbstractItemView, QComboBox QAbstractItemView:focus {
  background: $RAISED; border: 1px solid $EDGE; border-radius: 0; }
QAbstractItemView::item { padding: 4px 6px; }
QAbstractItemView::item:hover { background: $RAISED; }
QAbstractItemView::item:selected { background: $WET; color: $BACKGROUND; }
QAbstractItemView::item:selected:!active { background: $CALM; color: #ffffff; }
QAbstractItemView::item:disabled { color: $FAINT; }
QHeaderView { background: $PANEL; border: none; }
QHeaderView::section {
  background: $PANEL; color: $DIM; border: none; border-right: 1px solid $LINE; border-bottom: 1px solid $LINE;
  padding: 5px 8px; }
QTableCornerButton::section { background: $PANEL; border: none; border-bottom: 1px solid $LINE; }

QTabWidget::pane { border: 1px solid $RAISED; border-radius: ${RADIUS}px; top: -1px; background: $PANEL; }
QTabBar { background: transparent; qproperty-drawBase: 0; }
QTabBar::tab { background: transparent; color: $DIM; padding: 6px 14px; border-bottom: 2px solid transparent; }
QTabBar::tab:hover { color: $TEXT; background: $RAISED; }
QTabBar::tab:selected { color: $TEXT; border-bottom: 2px solid $WET; }
QTabBar::tab:focus { color: $WET; }
QTabBar::tab:disabled { color: $FAINT; }

QDockWidget { color: $DIM; font-weight: bold; }
QDockWidget::title { background: $PANEL; padding: 6px 8px; border-bottom: 1px solid $LINE; }
QDockWidget::close-button, QDockWidget::float-button { border: none; background: transparent; padding: 2px; }
QDockWidget::close-button:hover, QDockWidget::float-button:hover { background: $HOVER; border-radius: 3px; }
QMainWindow::separator { background: $BACKGROUND; width: 6px; height: 6px; }
QMainWindow::separator:hover { background: $EDGE; }
QSplitter::handle { background: $RAISED; }
QSplitter::handle:horizontal { width: 6px; }
QSplitter::handle:vertical { height: 6px; }
QSplitter::handle:hover { background: $EDGE; }

QToolBar { background: $BACKGROUND; border: none; spacing: 4px; padding: 4px; }
QToolBar::separator { background: $LINE; width: 1px; margin: 4px; }
QStatusBar { background: $PANEL; color: $DIM; border-top: 1px solid $RAISED; }
QStatusBar::item { border: none; }
QSizeGrip { background: transparent; width: 12px; height: 12px; }
"""
