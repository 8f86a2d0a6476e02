#!/usr/bin/env python3
"""A schema registry in memory that can be told to misbehave.

    fake_registry.py [--host H] [--port P] [--prefix /path]
                     [--cert PEM --key PEM [--client-ca PEM]]

Prints "ready PORT" when it listens (port 0: any free one).  Speaks the part
of Confluent's API that producers use: register, look up, latest and other
versions, schemas by id, compatibility settings.  Schemas are compared as
parsed JSON; normalize=true also ignores the order of properties.  There is
no compatibility check: refusals are scripted.

POST /__control with a JSON object changes how it behaves; members that are
not given stay as they are:

    "fail"          how many of the next requests fail (-1: all)
    "status"        with this HTTP status (default 500)
    "body"          and this text, sent as it is (default: Confluent's JSON)
    "only"          failures hit only requests "METHOD /path" that start so
    "delay_ms"      wait before each answer
    "garbage"       answer 200 with a text that is not JSON
    "no_id"         answer 200 with JSON that has no id
    "huge"          answer 200 with this many bytes (true: 64 MB)
    "hang"          accept requests and never answer
    "close"         close the connection instead of answering
    "redirect"      answer 302 to this URL
    "require_auth"  "basic NAME:PASSWORD" or "bearer TOKEN"; "" for none
    "first_id"      the next schema's id
    "forget"        true: back to an empty registry
    "reset"         true: back to normal behaviour; data stay

GET /__dump gives all requests so far as JSON; POST /__clear forgets them.
Neither the control nor the dump is subject to faults and authentication.
"""
import argparse
import base64
import json
import re
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

NORMAL = {
    "fail": 0, "status": 500, "body": None, "only": "", "delay_ms": 0,
    "garbage": False, "no_id": False, "huge": 0, "hang": False,
    "close": False, "redirect": "", "require_auth": "",
}


class ApiError(Exception):
    """An answer in Confluent's form for errors."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Registry:
    """Subjects, versions and ids."""

    def __init__(self):
        self.lock = threading.Lock()
        self.behaviour = dict(NORMAL)
        self.requests = []
        self.forget()

    def forget(self):
        self.ids = {}           # canonical text -> id
        self.texts = {}         # id -> text
        self.subjects = {}      # subject -> [id of version 1, ...]
        self.next_id = 1

    @staticmethod
    def canonical(text, normalize):
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            raise ApiError(422, 42201, "Invalid schema")
        return json.dumps(parsed, sort_keys=normalize)

    def find(self, subject, text, normalize):
        """Index of the version that has this schema, or None."""
        wanted = self.canonical(text, normalize)
        for index, schema_id in enumerate(self.subjects.get(subject, [])):
            if self.canonical(self.texts[schema_id], normalize) == wanted:
                return index
        return None

    def register(self, subject, text, normalize):
        index = self.find(subject, text, normalize)
        if index is None:
            key = self.canonical(text, normalize)
            if key not in self.ids:
                self.ids[key] = self.next_id
                self.texts[self.next_id] = text
                self.next_id += 1
            self.subjects.setdefault(subject, []).append(self.ids[key])
            return {"id": self.ids[key]}
        return {"id": self.subjects[subject][index]}

    def version(self, subject, index):
        versions = self.subjects.get(subject)
        if not versions:
            raise ApiError(404, 40401, f"Subject '{subject}' not found.")
        if not -len(versions) <= index < len(versions):
            raise ApiError(404, 40402, "Version not found.")
        schema_id = versions[index]
        return {"subject": subject, "version": index % len(versions) + 1,
                "id": schema_id, "schema": self.texts[schema_id]}

    def look_up(self, subject, text, normalize):
        if subject not in self.subjects:
            raise ApiError(404, 40401, f"Subject '{subject}' not found.")
        index = self.find(subject, text, normalize)
        if index is None:
            raise ApiError(404, 40403, "Schema not found")
        return self.version(subject, index)

    def by_id(self, schema_id):
        if schema_id not in self.texts:
            raise ApiError(404, 40403, f"Schema {schema_id} not found")
        return {"schema": self.texts[schema_id]}

    def answer(self, method, path, query, body):
        normalize = query.get("normalize", ["false"])[0] == "true"
        text = body.get("schema") if isinstance(body, dict) else None
        if path == "/subjects" and method == "GET":
            return sorted(self.subjects)
        match = re.fullmatch(r"/schemas/ids/(\d+)", path)
        if match and method == "GET":
            return self.by_id(int(match[1]))
        match = re.fullmatch(r"/config(/[^/]+)?", path)
        if match and method == "GET":
            return {"compatibilityLevel": "BACKWARD"}
        match = re.fullmatch(r"/subjects/([^/]+)(/versions(/([^/]+))?)?", path)
        if match is None:
            raise ApiError(404, 404, "HTTP 404 Not Found")
        subject = unquote(match[1])
        if method == "POST" and match[4] is None:
            if not isinstance(text, str):
                raise ApiError(422, 42201, "Empty schema")
            act = self.register if match[2] else self.look_up
            return act(subject, text, normalize)
        if method == "GET" and match[4] is not None:
            number = match[4]
            return self.version(subject,
                                -1 if number == "latest" else int(number) - 1)
        if method == "GET" and match[2]:
            return [n + 1 for n in range(len(self.subjects.get(subject, [])))]
        raise ApiError(405, 405, "HTTP 405 Method Not Allowed")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    registry = None
    prefix = ""

    def log_message(self, *args):
        pass

    def send(self, status, data, content_type=None, headers=()):
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
            content_type = "application/vnd.schemaregistry.v1+json"
        self.send_response(status)
        self.send_header("Content-Type", content_type or "text/plain")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def control(self, path, body):
        registry = self.registry
        if path == "/__dump":
            return registry.requests
        if path == "/__clear":
            registry.requests = []
            return {}
        wishes = json.loads(body or b"{}")
        if wishes.pop("reset", False):
            registry.behaviour = dict(NORMAL)
        if wishes.pop("forget", False):
            registry.forget()
        registry.next_id = wishes.pop("first_id", registry.next_id)
        unknown = set(wishes) - set(NORMAL)
        if unknown:
            return {"error": f"unknown: {sorted(unknown)}"}
        registry.behaviour.update(wishes)
        return registry.behaviour

    def authorized(self, wanted):
        kind, _, secret = wanted.partition(" ")
        if kind == "basic":
            secret = base64.b64encode(secret.encode()).decode()
        return self.headers.get("Authorization") == f"{kind.title()} {secret}"

    def scripted(self, behaviour):
        """Misbehave as told.  False: nothing was told, answer properly."""
        if behaviour["hang"]:
            while self.registry.behaviour["hang"]:
                time.sleep(0.05)
            self.close_connection = True
        elif behaviour["close"]:
            self.close_connection = True
        elif behaviour["redirect"]:
            self.send(302, b"", headers=[("Location", behaviour["redirect"])])
        elif behaviour["garbage"]:
            self.send(200, b"<html>Welcome to the router</html>", "text/html")
        elif behaviour["no_id"]:
            self.send(200, {"hello": "world"})
        elif behaviour["huge"]:
            size = behaviour["huge"]
            self.send(200, b" " * (64 << 20 if size is True else size))
        else:
            return False
        return True

    def failure(self, method, path):
        """The scripted failure of this request, if one is due."""
        behaviour = self.registry.behaviour
        if behaviour["fail"] == 0 or \
                not f"{method} {path}".startswith(behaviour["only"]):
            return None
        if behaviour["fail"] > 0:
            behaviour["fail"] -= 1
        if behaviour["body"] is not None:
            return behaviour["status"], behaviour["body"].encode()
        return behaviour["status"], {
            "error_code": behaviour["status"] * 100 + 1,
            "message": f"scripted failure {behaviour['status']}"}

    def handle_request(self):
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        registry = self.registry
        if url.path.startswith("/__"):
            with registry.lock:
                return self.send(200, self.control(url.path, body))

        with registry.lock:
            registry.requests.append({
                "time": time.time(), "method": self.command,
                "path": self.path, "headers": dict(self.headers),
                "body": body.decode(errors="replace")})
            behaviour = dict(registry.behaviour)
            path = url.path
            failure = self.failure(self.command, path)
        time.sleep(behaviour["delay_ms"] / 1000)
        if failure:
            return self.send(*failure)
        if behaviour["require_auth"] and \
                not self.authorized(behaviour["require_auth"]):
            return self.send(401, {"error_code": 401,
                                   "message": "Unauthorized"})
        if self.scripted(behaviour):
            return None
        try:
            if not path.startswith(self.prefix + "/"):
                return self.send(404, b"no such page")
            with registry.lock:
                answer = registry.answer(
                    self.command, path[len(self.prefix):],
                    parse_qs(url.query), json.loads(body) if body else None)
            return self.send(200, answer)
        except ApiError as error:
            return self.send(error.status, {"error_code": error.code,
                                            "message": error.message})
        except (ValueError, RecursionError):
            return self.send(400, b"bad JSON")

    def do_GET(self):
        try:
            self.handle_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_POST = do_GET


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    context = None

    def finish_request(self, request, client_address):
        """Handshake in the connection's own thread."""
        try:
            if self.context:
                request = self.context.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
        except (ssl.SSLError, OSError):
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--client-ca")
    options = parser.parse_args()

    Handler.registry = Registry()
    Handler.prefix = options.prefix.rstrip("/")
    server = Server((options.host, options.port), Handler)
    if options.cert:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(options.cert, options.key)
        if options.client_ca:
            server.context.load_verify_locations(options.client_ca)
            server.context.verify_mode = ssl.CERT_REQUIRED
    print("ready", server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
