"""`rtae`, and `python -m rtae`. The audio process reads this file too, so that nothing is imported but in `main`."""

import sys


def main() -> None:
    """The command line; without any words on it the window, for which there is nothing to be parsed."""
    if sys.argv[1:]:
        from rtae.cli import main as run

        run()
        return
    from rtae.errors import RtaeError
    from rtae.gui.begin import begin

    try:
        sys.exit(begin())
    except RtaeError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
