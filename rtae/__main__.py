"""`python -m rtae`: the same as `rtae`."""

from rtae.cli import main

if __name__ == "__main__":
    main()
