-- The entries go with the log; a second run adds a second baseline, which changes nothing.
SELECT;
