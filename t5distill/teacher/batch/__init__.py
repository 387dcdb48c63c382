"""Answers through a provider's batch API: cheaper, within a day, and paid for once all the same.

`calls` talks to the server, `lines` writes and reads the files, `book` keeps what is under way in
the ledger, `run` puts them together.
"""
