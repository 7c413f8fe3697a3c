"""Who may call what: one line for every route. A route without a line cannot be served (FrontDoor), nor pass the tests.

Ownership of a job that the path names is checked at the front door, so that the endpoints of `OWNER` routes need not
care. Calls that list jobs, or name them in the body, are `CLIENT`: their endpoints filter by `principal_of(...).sees`.
"""

from enum import Enum

from starlette.requests import HTTPConnection

from broker.domain.principal import EVERYBODY, Principal

__all__ = ["RULES", "SCOPE_KEY", "WEBSOCKET", "Rule", "principal_of", "rule_for"]

SCOPE_KEY = "sandrun.principal"
"""Where a request's scope holds the principal. Scopes are the server's own: no header gets in there."""
WEBSOCKET = "WEBSOCKET"
"""Stands for the method of a WebSocket route."""


class Rule(Enum):
    """Who may call a route. Without BROKER_AUTH=required: everybody."""

    PUBLIC = "public"
    """Everybody: it tells nothing of jobs, nodes or keys."""
    CLIENT = "client"
    """Keys of clients and admins."""
    OWNER = "owner"
    """The client whose job {job_id} is, and admins; for all others the job does not exist (404)."""
    NODE = "node"
    """A node in its present session (headers Sandrun-Node and Sandrun-Session)."""
    JOIN = "join"
    """A join token: a key of role node."""
    METRICS = "metrics"
    """Keys of role metrics, and admins."""
    ADMIN = "admin"
    """Keys of admins."""


RULES: dict[tuple[str, str], Rule] = {
    # The service itself
    ("GET", "/"): Rule.PUBLIC,
    ("HEAD", "/"): Rule.PUBLIC,
    ("GET", "/dashboard/{build}/{path}"): Rule.PUBLIC,
    ("HEAD", "/dashboard/{build}/{path}"): Rule.PUBLIC,
    ("GET", "/health"): Rule.PUBLIC,
    ("GET", "/ready"): Rule.PUBLIC,
    ("GET", "/docs"): Rule.PUBLIC,
    ("GET", "/openapi.json"): Rule.PUBLIC,
    ("HEAD", "/docs"): Rule.PUBLIC,
    ("HEAD", "/openapi.json"): Rule.PUBLIC,
    # Jobs
    ("POST", "/submit"): Rule.CLIENT,
    ("POST", "/submit/batch"): Rule.CLIENT,
    ("POST", "/results/batch"): Rule.CLIENT,
    ("GET", "/jobs"): Rule.CLIENT,
    ("DELETE", "/jobs"): Rule.CLIENT,
    ("GET", "/status/{job_id}"): Rule.OWNER,
    ("GET", "/results/{job_id}"): Rule.OWNER,
    ("GET", "/jobs/{job_id}"): Rule.OWNER,
    ("DELETE", "/jobs/{job_id}"): Rule.OWNER,
    ("GET", "/jobs/{job_id}/input"): Rule.OWNER,
    ("GET", "/jobs/{job_id}/webhooks"): Rule.OWNER,
    ("POST", "/jobs/{job_id}/webhooks/redeliver"): Rule.OWNER,
    ("GET", "/logs/{job_id}"): Rule.OWNER,
    ("GET", "/outputs/{job_id}"): Rule.OWNER,
    ("GET", "/download/{job_id}"): Rule.OWNER,
    ("HEAD", "/download/{job_id}"): Rule.OWNER,
    ("HEAD", "/download/{job_id}/{path}"): Rule.OWNER,
    ("GET", "/download/{job_id}/{path}"): Rule.OWNER,
    (WEBSOCKET, "/stream/{job_id}"): Rule.OWNER,
    ("GET", "/stats"): Rule.CLIENT,
    ("GET", "/environments"): Rule.CLIENT,
    # Nodes
    ("POST", "/register"): Rule.JOIN,
    ("POST", "/heartbeat"): Rule.NODE,
    ("POST", "/link"): Rule.NODE,
    ("POST", "/claim"): Rule.NODE,
    ("POST", "/start"): Rule.NODE,
    ("POST", "/progress"): Rule.NODE,
    ("POST", "/complete"): Rule.NODE,
    ("POST", "/complete/batch"): Rule.NODE,
    ("POST", "/release"): Rule.NODE,
    ("GET", "/inputs/{job_id}/{sha256}"): Rule.NODE,
    ("PUT", "/artifacts/{job_id}/{sha256}"): Rule.NODE,
    ("POST", "/artifacts/{job_id}/missing"): Rule.NODE,
    # Operation
    ("GET", "/nodes"): Rule.CLIENT,
    ("GET", "/nodes/{node_id}"): Rule.CLIENT,
    ("POST", "/nodes/{node_id}/drain"): Rule.ADMIN,
    ("POST", "/nodes/{node_id}/resume"): Rule.ADMIN,
    ("GET", "/overview"): Rule.CLIENT,
    ("GET", "/events"): Rule.CLIENT,
    ("GET", "/metrics"): Rule.METRICS,
    # Keys, logins, usage
    ("GET", "/session"): Rule.PUBLIC,
    ("POST", "/session"): Rule.PUBLIC,
    ("DELETE", "/session"): Rule.PUBLIC,
    ("POST", "/keys"): Rule.ADMIN,
    ("GET", "/keys"): Rule.ADMIN,
    ("GET", "/keys/{key_id}"): Rule.ADMIN,
    ("DELETE", "/keys/{key_id}"): Rule.ADMIN,
    ("POST", "/keys/{key_id}/rotate"): Rule.ADMIN,
    ("POST", "/keys/{key_id}/limits"): Rule.ADMIN,
    ("GET", "/usage"): Rule.CLIENT,
    ("GET", "/usage/export"): Rule.CLIENT,
}


def rule_for(method: str, path: str) -> Rule:
    """The rule of a route, by its method and path as declared. LookupError says which line is missing."""
    rule = RULES.get((method, path))
    if rule is None:
        raise LookupError(f"broker/api/access.py has no rule for {method} {path}")
    return rule


def principal_of(request: HTTPConnection) -> Principal:
    """Who calls; EVERYBODY, who is an admin, when the broker asks for no keys."""
    principal: Principal = request.scope.get(SCOPE_KEY, EVERYBODY)
    return principal
