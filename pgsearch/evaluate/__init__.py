"""How good a search is: test collections and measures."""
