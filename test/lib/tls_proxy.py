#!/usr/bin/python3
#
# tls_proxy.py
#		HTTPS in front of an HTTP server, with authentication.
#
#	tls_proxy.py PORT BACKEND_PORT CERTIFICATE KEY [--auth FILE] [--client-ca FILE]
#
# Prints "ready" when it listens on 127.0.0.1.  Certificate and key are read
# for each connection, and the file with what the header Authorization has to
# be ("basic NAME:PASSWORD", "bearer TOKEN"; any of several lines) for each
# request, so that what is replaced counts at once.

import argparse
import base64
import http.client
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("backend", type=int)
parser.add_argument("certificate")
parser.add_argument("key")
parser.add_argument("--auth")
parser.add_argument("--client-ca")
options = parser.parse_args()


def wanted(line):
    kind, _, secret = line.strip().partition(" ")
    if kind == "basic":
        secret = base64.b64encode(secret.encode()).decode()
    return "%s %s" % (kind.title(), secret)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def authorized(self):
        if not options.auth:
            return True
        with open(options.auth) as file:
            return self.headers.get("Authorization") in [wanted(line) for line in file]

    def answer(self, status, content_type, data):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        if status == 401:
            self.send_header("WWW-Authenticate", "Basic realm=\"registry\"")
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.authorized():
            return self.answer(401, "application/json",
                               b'{"error_code": 401, "message": "Unauthorized"}')
        backend = http.client.HTTPConnection("127.0.0.1", options.backend, timeout=30)
        headers = {name: value for name, value in self.headers.items()
                   if name.lower() in ("content-type", "accept")}
        backend.request(self.command, self.path, body or None, headers)
        reply = backend.getresponse()
        self.answer(reply.status, reply.getheader("Content-Type", "text/plain"), reply.read())
        backend.close()

    do_POST = do_GET


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        """The handshake is the connection's own thread's"""
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(options.certificate, options.key)
            if options.client_ca:
                context.load_verify_locations(options.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            super().finish_request(context.wrap_socket(request, server_side=True),
                                   client_address)
        except OSError:
            pass


server = Server(("127.0.0.1", options.port), Handler)
print("ready", flush=True)
server.serve_forever()
