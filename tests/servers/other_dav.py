"""Further WebDAV servers, each with its own dialect: nginx with dav-ext, lighttpd, sabre/dav (Debian)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from servers.dav import LOOPBACK, DavServer, attempts, htpasswd
from servers.process import folder, listening, program, running

NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")
LIGHTTPD_MODULE = Path("/usr/lib/lighttpd/mod_webdav.so")
SABRE = Path("/usr/share/php/Sabre/autoload.php")

PACKAGES = {
    "nginx": "nginx-light libnginx-mod-http-dav-ext",
    "lighttpd": "lighttpd lighttpd-mod-webdav",
    "sabre": "php-cli php-sabre-dav",
}


def available(name: str) -> bool:
    binary, module = {
        "nginx": ("nginx", NGINX_MODULE),
        "lighttpd": ("lighttpd", LIGHTTPD_MODULE),
        "sabre": ("php", SABRE),
    }[name]
    return program(binary) is not None and module.exists()


def start(name: str) -> AbstractContextManager[DavServer]:
    """The server of that name."""
    return attempts({"nginx": _nginx, "lighttpd": _lighttpd, "sabre": _sabre}[name])


@contextmanager
def _serving(name: str, port: int, argv: Callable[[Path], Sequence[str]], **env: str) -> Iterator[DavServer]:
    with folder(name) as home:
        root = home / "www" / "dav"
        root.mkdir(parents=True)
        (home / "tmp").mkdir()
        htpasswd(home / "htpasswd")
        if os.geteuid() == 0:
            for path in (home, root, home / "tmp"):
                shutil.chown(path, "www-data", "www-data")
        user = "www-data" if os.geteuid() == 0 and name == "sabre" else None
        (home / "log").touch(mode=0o666)
        with running(argv(home), log=home / "log", ready=listening(port), env=env, user=user):
            yield DavServer(name, LOOPBACK, port, root)


@contextmanager
def _nginx(port: int) -> Iterator[DavServer]:
    def argv(home: Path) -> list[str]:
        config = home / "nginx.conf"
        config.write_text(
            f"load_module {NGINX_MODULE};\ndaemon off; pid {home}/pid; error_log {home}/log;\n"
            + ("user www-data;\n" if os.geteuid() == 0 else "")
            + "events { worker_connections 256; }\n"
            "http { access_log off; client_max_body_size 0; server_tokens off;\n"
            + "".join(
                f"  {what}_temp_path {home}/tmp/{what};\n"
                for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + f"  server {{ listen {LOOPBACK}:{port}; location /dav {{ root {home}/www;\n"
            "    dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS;\n"
            f"    auth_basic dav; auth_basic_user_file {home}/htpasswd;\n"
            "  } } }\n"
        )
        return ["nginx", "-c", str(config), "-e", str(home / "log")]

    with _serving("nginx", port, argv) as server:
        yield server


@contextmanager
def _lighttpd(port: int) -> Iterator[DavServer]:
    def argv(home: Path) -> list[str]:
        config = home / "lighttpd.conf"
        owner = 'server.username = "www-data"\nserver.groupname = "www-data"\n'
        config.write_text(
            (owner if os.geteuid() == 0 else "")
            + f'server.document-root = "{home}/www"\nserver.bind = "{LOOPBACK}"\nserver.port = {port}\n'
            f'server.upload-dirs = ( "{home}/tmp" )\n'
            'server.modules = ( "mod_auth", "mod_authn_file", "mod_webdav" )\n'
            '$HTTP["url"] =~ "^/dav($|/)" {\n'
            '  webdav.activate = "enable"\n'
            '  auth.backend = "htpasswd"\n'
            f'  auth.backend.htpasswd.userfile = "{home}/htpasswd"\n'
            '  auth.require = ( "" =>\n'
            '    ( "method" => "basic", "realm" => "dav", "require" => "valid-user" ) )\n'
            "}\n"
        )
        return ["lighttpd", "-D", "-f", str(config)]

    with _serving("lighttpd", port, argv) as server:
        yield server


@contextmanager
def _sabre(port: int) -> Iterator[DavServer]:
    def argv(home: Path) -> list[str]:
        script = home / "router.php"
        script.write_text(
            f"<?php error_reporting(0); require '{SABRE}';\n"
            "[$name, $hash] = explode(':', trim(file_get_contents(__DIR__ . '/htpasswd')), 2);\n"
            "$given = '{SHA}' . base64_encode(sha1($_SERVER['PHP_AUTH_PW'] ?? '', true));\n"
            "if (($_SERVER['PHP_AUTH_USER'] ?? '') !== $name || $given !== $hash) {\n"
            "  header('WWW-Authenticate: Basic realm=\"dav\"'); http_response_code(401); exit; }\n"
            "$server = new Sabre\\DAV\\Server(new Sabre\\DAV\\FS\\Directory(__DIR__ . '/www/dav'));\n"
            "$server->setBaseUri('/dav/'); $server->exec();\n"
        )
        return ["php", "-d", "post_max_size=0", "-S", f"{LOOPBACK}:{port}", str(script)]

    with _serving("sabre", port, argv, PHP_CLI_SERVER_WORKERS="4") as server:
        yield server
