"""The demo's S3 server, a program: moto, with one bucket.

``python -m conveyor.demo.s3_server PARENT BUCKET``
"""

from __future__ import annotations

import signal
import sys

from conveyor.demo.children import announce, begin


def main(parent: str, bucket: str) -> None:
    """Serve until terminated."""
    begin(int(parent))
    from moto.server import ThreadedMotoServer

    from conveyor.demo.s3_look import Look

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    Look(f"http://{host}:{port}", bucket).create()
    announce(port=port)
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
