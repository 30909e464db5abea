"""Stand-ins for services that nobody can run: written from the vendors' pages, each rule with its source.

:mod:`.kit` is what they share: HTTP, routes, sign-in, faults, the log of requests.
"""
