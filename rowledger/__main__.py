"""`python -m rowledger` is the command `rowledger`."""

from rowledger.cli.main import main

if __name__ == "__main__":
    main()
