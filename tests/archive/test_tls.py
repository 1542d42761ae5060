"""DICOMweb with TLS: whose certificate is trusted, and what is told where there is no TLS or no answer."""

import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from medseg.archive import archive_at
from medseg.archive.dicomweb import echo
from medseg.errors import ArchiveAwayError, MedsegError


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/dicom+json")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    more = ["-subj", "/CN=pacs.example", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    out = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run([*new, *more, *out], check=True, capture_output=True)
    return folder / "cert.pem"


@pytest.fixture
def port(request):
    """Of a server, with TLS where the test's certificate is given."""
    server = HTTPServer(("127.0.0.1", 0), Handler)
    if request.param == "tls":
        certificate = request.getfixturevalue("certificate")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_name("key.pem"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("port", ["tls"], indirect=True)
def test_an_authority_of_the_hospital_is_trusted_where_it_is_named(port, certificate, monkeypatch):
    archive = archive_at(f"https://127.0.0.1:{port}/dicom-web")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(
        ArchiveAwayError, match=r"not trusted \(self-signed certificate\).* Set SSL_CERT_FILE"
    ):
        echo(archive)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    echo(archive)


@pytest.mark.parametrize("port", ["plain"], indirect=True)
def test_a_port_without_tls(port):
    with pytest.raises(ArchiveAwayError, match="got none by TLS"):
        echo(archive_at(f"https://127.0.0.1:{port}/dicom-web"))


def test_a_port_where_nobody_listens():
    with pytest.raises(ArchiveAwayError, match="Connection refused"):
        echo(archive_at("http://127.0.0.1:1/dicom-web"))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_certificates_that_holds_none(tmp_path, monkeypatch, content):
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(MedsegError, match="certificates in PEM where SSL_CERT_FILE says"):
        echo(archive_at("http://127.0.0.1:1/dicom-web"))
