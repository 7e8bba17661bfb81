"""`python -m bench.upgrade`."""

from bench.upgrade.command import main

if __name__ == "__main__":
    main()
