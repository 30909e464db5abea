"""Runs moto's server, one request after the other: ``port``.

moto looks whether a key exists and stores the object in two steps, so that under threads ``If-None-Match: *``
lets two in at once or fails with 500. S3 itself is atomic there.
"""

import io
import sys
import threading
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.wsgi import ClosingIterator, get_input_stream

from conveyor.testing.ports import LOOPBACK

application = DomainDispatcherApplication(create_backend_app)
turn = threading.Lock()


def in_turn(environ: dict[str, Any], start_response: Any) -> Any:
    """Take a turn when the body is here: a client that is slow or gone holds up nobody."""
    environ["wsgi.input"] = io.BytesIO(get_input_stream(environ).read())
    with turn:
        answer = application(environ, start_response)
        return ClosingIterator(list(answer), getattr(answer, "close", None))


run_simple(LOOPBACK, int(sys.argv[1]), in_turn, threaded=True, request_handler=MotoRequestHandler)
