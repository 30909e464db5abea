"""Folders of OneDrive and SharePoint, through Microsoft Graph.

There is no SDK of Graph in play: its requests are few, and go through ``requests`` under the network policy.
Of msal one thing is used, the signing of client assertions (:mod:`.unattended`). Not used are its
applications: their constructor asks the network, they have no time limits by default, and their token cache
is locked within one process alone, while the ledger renews a login once for all machines.
"""
