"""Problems: readers of official benchmark files, generators, and the command `prepare`."""
