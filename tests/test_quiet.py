import os

import pytest

from rtae.audio.quiet import quiet_stderr


def test_libraries_are_kept_quiet(capfd):
    os.write(2, b"before ")
    with quiet_stderr():
        os.write(2, b"noise ")
        with quiet_stderr():
            os.write(2, b"noise ")
        os.write(2, b"noise ")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


def test_a_closed_descriptor_stays_closed(capfd):
    kept = os.dup(2)
    try:
        os.close(2)
        with quiet_stderr():
            os.write(2, b"noise")
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(2)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert capfd.readouterr().err == ""


def test_quiet_in_two_threads_ends_with_the_later_one(capfd):
    first, second = quiet_stderr(), quiet_stderr()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    os.write(2, b"noise")
    second.__exit__(None, None, None)
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"
