"""`python -m bench.sync`."""

from bench.sync.command import main

if __name__ == "__main__":
    main()
