"""`python -m pipeline` is `rowledger`."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
