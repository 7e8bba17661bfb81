"""The sync engine, measured: what writing costs, how fast what is written can be found."""
