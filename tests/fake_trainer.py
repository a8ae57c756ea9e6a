"""Stands in for `rtae train` and `rtae export`: writes what they write, in no time, and fails as it is told to.

Told by RTAE_FAKE, a JSON object: steps (of the whole training), pause (seconds per step), and ways to fail.
"""

import json
import os
import signal
import sys
import threading
import time
import wave
from pathlib import Path

PLAN = {"steps": 3, "pause": 0.0, **json.loads(os.environ.get("RTAE_FAKE", "{}"))}
NET = {"preset": "tiny", "shortcut_frames": 2, "causal": True}


def option(name, default=None):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def write_checkpoint(run, step):
    facts = {"step": step, "seconds": 6.0 * step, "config": {"net": NET, "steps": PLAN["steps"], "minutes": None}}
    header = json.dumps({"__metadata__": {"rtae": json.dumps(facts)}}).encode()
    beside = run / "checkpoint.part"
    beside.write_bytes(len(header).to_bytes(8, "little") + header)
    beside.replace(run / "checkpoint.safetensors")


def write_progress(run, step):
    share = step / PLAN["steps"]
    facts = {
        "step": step,
        "progress": share,
        "loss": 2 - share,
        "steps_per_second": 10.0,
        "seconds_left": 60 - 60 * share,
    }
    beside = run / "progress.part"
    beside.write_text(json.dumps(facts))
    beside.replace(run / "progress.json")


def write_row(run, step):
    path = run / "metrics.csv"
    if not path.exists():
        path.write_text("step,seconds,loss,si_sdr_db,mr_stft,learning_rate,steps_per_second\n")
    with path.open("a") as out:
        out.write(f"{step},{6 * step},{2 - step / PLAN['steps']},{3 * step},1.5,0.001,10\n")
    (run / "previews").mkdir(exist_ok=True)
    for kind in ("input", "output"):
        with wave.open(str(run / "previews" / f"1-a song-{kind}.wav"), "wb") as out:
            out.setparams((1, 2, 22_050, 0, "NONE", ""))
            out.writeframes(bytes(200))


def train():
    folder, run = sys.argv[2], Path(option("--out"))
    sys.stdout.write(f"{folder}: 4 files, 12.5 minutes (4 at 44100 Hz); 2 skipped\n")
    sys.stdout.write("  skipped 1: silent\n  skipped 1: shorter than 0.4 s\n")
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN if PLAN.get("deaf") else lambda *_: stop.set())
    step = 0
    if "--resume" in sys.argv:
        header = (run / "checkpoint.safetensors").read_bytes()[8:]
        step = json.loads(json.loads(header)["__metadata__"]["rtae"])["step"]
    while step < PLAN["steps"] and not stop.is_set():
        step += 1
        write_progress(run, step)
        write_row(run, step)
        write_checkpoint(run, step)
        if step == PLAN.get("fail_at"):
            sys.exit("Error: The loss is nan at step 2. The last good checkpoint is kept")
        if step == PLAN.get("crash_at"):
            raise ZeroDivisionError("division by zero")
        if step == PLAN.get("die_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(PLAN["pause"])
    (run / "progress.json").unlink(missing_ok=True)


def export():
    time.sleep(PLAN["pause"])
    if PLAN.get("unfaithful"):
        sys.exit("Error: The export does not verify; nothing was written")
    folder = Path(option("--into")) / option("--name")
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")


if __name__ == "__main__":
    {"train": train, "export": export}[sys.argv[1]]()
