"""`python -m bench.migrate`."""

from bench.migrate.command import main

if __name__ == "__main__":
    main()
