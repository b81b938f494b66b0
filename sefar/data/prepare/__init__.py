"""``sefar prepare``: real data sets from what their authors distribute to clips on disk, and a check of the clips."""
