"""`python -m pipeline` is `rowledger`."""

from rowledger.cli.main import main

if __name__ == "__main__":
    main()
