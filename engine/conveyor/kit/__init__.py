"""Helpers for connectors, ours and third parties': what several of them would otherwise write again.

Public, and covered by ``CONTRACT_VERSION`` as :mod:`conveyor.contract` is. One concept a module:

* :mod:`.bodies`: the body of a request, streamed from the payload, its last byte behind the fence;
* :mod:`.digests`: digests by name, with those of OneDrive and Dropbox that hashlib lacks;
* :mod:`.pools`: one request over urllib3 under the network policy, sent once, its answer bounded;
* :mod:`.httplib2_transport`: the same for Google's API client (imported only where it brings ``httplib2``);
* :mod:`.sessions`: ``requests`` under the network policy (imported only where an SDK brings ``requests``);
* :mod:`.errors`: what an exception without an answer means;
* :mod:`.folders`: folders by path at services that know them by id;
* :mod:`.options`: sizes, durations and paths as options;
* :mod:`.naming`: the names that ``rename`` tries;
* :mod:`.checking`: the canary of ``check``;
* :mod:`.shared`: clients that a process's connectors share, counted;
* :mod:`.turns`: taking turns inside a process;
* :mod:`.waits`: how long a service asks to wait.

Importing this package imports none of them.
"""
