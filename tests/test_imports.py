import subprocess
import sys

import pytest

BLOCKED = ("torch", "PySide6", "sounddevice")
LIVE = ("engine", "runtime", "latent", "params", "spec", "window", "dsp", "ring", "errors", "audio.file")


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("module", LIVE)
def test_the_live_path_needs_neither_torch_nor_qt_nor_a_sound_library(module):
    blocking = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED}))"
    done = run(f"{blocking}; import rtae.{module}; print('fine')")
    assert (done.returncode, done.stdout.strip()) == (0, "fine"), done.stderr


def test_the_blocking_blocks():
    done = run("import sys; sys.modules.update(dict.fromkeys(['torch'])); import rtae.nets.autoencoder")
    assert done.returncode != 0
    assert "torch" in done.stderr


def test_the_package_itself_loads_nothing_heavy():
    done = run(
        "import sys; import rtae; "
        "print([name for name in ('torch', 'PySide6', 'sounddevice', 'numpy', 'onnxruntime') if name in sys.modules])"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
