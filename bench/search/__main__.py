"""`python -m bench.search`."""

from bench.search.command import main

if __name__ == "__main__":
    main()
