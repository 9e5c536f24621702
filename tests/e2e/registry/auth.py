# SPDX-License-Identifier: Apache-2.0
"""Who may ask a registry. An Auth is called before a request is answered: None lets it through, a Response ends it."""

import base64
import json
import secrets
import threading

from .wire import Headers, Response, Server


def unauthorized(challenges, status=401, code="UNAUTHORIZED", message="authentication required"):
    headers = Headers([("Content-Type", "application/json")])
    for challenge in [challenges] if isinstance(challenges, str) else challenges:
        headers.add("WWW-Authenticate", challenge)
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Response(status, headers, body)


def basic_credentials(request):
    """(user, password), or None."""
    value = request.headers.get("authorization") or ""
    if not value.lower().startswith("basic "):
        return None
    try:
        user, _, password = base64.b64decode(value[6:]).decode().partition(":")
    except ValueError:
        return None
    return user, password


class Basic:
    def __init__(self, user, password, realm="test"):
        self.pair = (user, password)
        self.realm = realm

    def __call__(self, request):
        if basic_credentials(request) == self.pair:
            return None
        return unauthorized(f'Basic realm="{self.realm}"')


class Refuse:
    """401 to everything, whatever is sent along."""

    def __init__(self, challenge='Basic realm="closed"', status=401):
        self.challenge = challenge
        self.status = status

    def __call__(self, request):
        return unauthorized(self.challenge, self.status, "DENIED", "requested access to the resource is denied")


class Harbor:
    """As Harbor's: tokens for whoever sends nothing, but Basic is what it shows to any Authorization that it does not
    like, and for its catalog."""

    def __init__(self, bearer):
        self.bearer = bearer

    def __call__(self, request):
        refused = self.bearer(request)
        if refused is not None and ("authorization" in request.headers or request.path.startswith("/v2/_catalog")):
            return unauthorized('Basic realm="harbor"')
        return refused


class TokenServer(Server):
    """The token endpoint of the distribution spec (GET with a query, POST with a form). Anonymous clients get a token
    unless `users` is given and `anonymous` is not; users log in by Basic or by the form, or with one of the `refresh`
    tokens ({token: user}; by POST, or by GET as a password where `post_status` is what POST gets). `rotate`: a refresh
    token is good once, and the answer brings the next."""

    name = "token"

    def __init__(self, users=None, anonymous=True, expires_in=300, refresh=None, post_status=None, rotate=False, **more):
        self.users = dict(users or {})
        self.refresh = dict(refresh or {})
        self.post_status = post_status
        self.rotate = rotate
        self.anonymous = anonymous
        self.expires_in = expires_in
        self.tokens = {}  # token → (user or None, scopes)
        self.rules = []
        self._tokens_lock = threading.Lock()
        super().__init__(**more)

    def handle(self, request):
        def proceed():
            return self._grant(request)
        for rule in self.rules:
            if rule.takes(request):
                proceed = _wrap(rule.behaviour, request, proceed)
        return proceed()

    def _grant(self, request):
        if request.method == "POST" and self.post_status:
            return Response(self.post_status, [("Content-Type", "application/json")], b'{"details":"no such thing"}')
        form = request.form() if request.method == "POST" else request.query
        who = basic_credentials(request)
        if who is None and form.get("username"):
            who = (form["username"], form.get("password", ""))
        if who is None and form.get("grant_type") == "refresh_token":
            who = ("<token>", form.get("refresh_token", ""))
        if who is None and not self.anonymous:
            return unauthorized('Basic realm="token"')
        body = {"expires_in": self.expires_in}
        with self._tokens_lock:
            user = who and (who[0] if self.users.get(who[0]) == who[1] else self.refresh.get(who[1]))
            if who is not None and user is None:
                return unauthorized('Basic realm="token"', message="incorrect username or password")
            body["token"] = body["access_token"] = self.make_token(user, form.get("scope", ""))
            self.tokens[body["token"]] = (user, form.get("scope", ""))
            if self.rotate and who is not None:
                body["refresh_token"] = secrets.token_urlsafe(24)
                self.refresh[body["refresh_token"]] = self.refresh.pop(who[1])
        return Response(200, [("Content-Type", "application/json")], json.dumps(body).encode())

    def make_token(self, user, scopes):
        return secrets.token_urlsafe(24)

    def holder(self, token):
        """(user, scopes) of a token, or None if it is not one of ours."""
        with self._tokens_lock:
            return self.tokens.get(token)

    def revoke(self):
        with self._tokens_lock:
            self.tokens.clear()


class Bearer:
    """Tokens of a TokenServer; `private` repositories (a predicate of the path) want one of a user. `denial` is the
    status for a token that is not one of the server's."""

    def __init__(self, tokens, service="test", private=lambda path: False, realm_path="/token", denial=401):
        self.tokens = tokens
        self.service = service
        self.private = private
        self.realm_path = realm_path
        self.denial = denial

    def __call__(self, request):
        value = request.headers.get("authorization") or ""
        holder = self.tokens.holder(value[7:]) if value.lower().startswith("bearer ") else None
        scope = scope_of(request.path)
        if holder is not None and scope in holder[1].split() + [""] and (holder[0] or not self.private(request.path)):
            return None
        if value and holder is None and self.denial != 401:
            return unauthorized([], self.denial, "DENIED", "requested access to the resource is denied")
        error = ',error="insufficient_scope"' if holder else ""
        return unauthorized(f'Bearer realm="{self.tokens.url}{self.realm_path}",service="{self.service}",'
                            f'scope="{scope}"{error}')


def scope_of(path):
    if path.startswith("/v2/_catalog"):
        return "registry:catalog:*"
    for word in ("/manifests/", "/blobs/", "/tags/", "/referrers/"):
        if word in path:
            return f"repository:{path[len('/v2/'):path.rindex(word)]}:pull"
    return ""


def _wrap(behaviour, request, proceed):
    return lambda: behaviour(request, proceed)
