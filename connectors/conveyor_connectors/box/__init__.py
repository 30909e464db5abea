"""Folders of Box, through boxsdk (the import name is ``box_sdk_gen``).

The SDK is kept behind :mod:`.client` and :mod:`.errors`. Used of it are its requests, models, errors and the
streaming multipart encoder. Not used are:

* its sign-in: ``BoxOAuth`` renews without a lock, and two renewals of a single-use token end the login;
* its retries, which would send an upload again and meet their own file as a conflict;
* ``upload_big_file``, which checks the protocol by ``assert``, never removes its session and takes the
  answer 202 to a commit for an error.
"""
