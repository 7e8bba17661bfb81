-- What `pgsearch search` asks: the search function, and what a hit says beside its scores.
{asked}
SELECT hit.*{more}
FROM {search}({arguments}) AS hit
{others}
