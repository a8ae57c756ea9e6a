"""`rtae`, and `python -m rtae`."""


def main() -> None:
    """The command line."""
    from rtae.cli import main as run  # here, as the audio process reads this file too, and has no use for that

    run()


if __name__ == "__main__":
    main()
