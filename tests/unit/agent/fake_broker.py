"""A broker of a hundred lines that keeps to docs/node-protocol.md, for tests of the agent."""

import json
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from unit.agent.http_fake import PATIENCE, FakeServer, LostAnswerError

LEASE = 30.0
"""Outlives what a busy machine does to an agent; with another, beats come every third of it."""


class FakeBroker(FakeServer):
    """Jobs are put in with `submit` and found in `jobs`; every fence rule of the protocol holds."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.nodes: dict[str, dict[str, Any]] = {}
        self.beats: list[dict[str, Any]] = []
        self.registrations: list[dict[str, Any]] = []
        self.completions: list[dict[str, Any]] = []
        self.released: list[dict[str, Any]] = []
        self.started: list[str] = []
        self.links: list[Any] = []
        self.lease = LEASE
        self.cancels: list[dict[str, Any]] = []
        self.drain = False
        self.count = 0
        self.reject_beats = False
        self.hold_beats = False
        """Beats are done and their answers held back."""
        self.on_register: Callable[[], object] = lambda: None
        self.token: str | None = None
        """With a token the broker asks for it, and for each session's headers."""
        super().__init__()

    # -- the test's side

    def submit(self, job_id: str, code: str = "echo hello", **more: Any) -> None:
        with self.changed:
            self.jobs[job_id] = {
                "id": job_id,
                "code": code,
                "interpreter": "python3",
                "timeout": 30,
                **more,
                "status": "pending",
                "fence": 0,
                "attempt": 0,
                "holder": None,
                "claim": 0,
            }
            self.changed.notify_all()

    def status(self, job_id: str) -> str:
        with self.lock:
            return str(self.jobs[job_id]["status"])

    def wait_status(self, job_id: str, *wanted: str, timeout: float = PATIENCE) -> dict[str, Any]:
        with self.changed:
            self.changed.wait_for(lambda: self.jobs[job_id]["status"] in wanted, timeout)
            job = self.jobs[job_id]
            assert job["status"] in wanted, f"{job_id} is {job['status']}, not {wanted}"
            return dict(job)

    def tell(self, line: dict[str, Any]) -> None:
        """Send a line down every open link."""
        with self.lock:
            for handler in list(self.links):
                try:
                    self._chunk(handler, line)
                except OSError:
                    self.links.remove(handler)

    def take_back(self, job_id: str) -> None:
        """Rescue a job from its node."""
        with self.changed:
            self.jobs[job_id].update(status="pending", holder=None)
            self.changed.notify_all()

    # -- the node's side

    def answer(self, handler: Any, path: str, body: bytes) -> tuple[int, dict[str, Any] | None]:
        if self.token is not None and (refused := self._refusal(handler.headers, path)) is not None:
            return refused
        said = json.loads(body)
        if path == "/register":
            return self._register(said)
        with self.lock:
            node = self.nodes.get(said["node_id"])
            if node is None:
                return 404, {"error": "unknown node", "reason": "unknown_node"}
            if said.get("session") != node["session"]:
                return 409, {"error": "session ended", "reason": "session_ended"}
        method = getattr(self, "_" + path.strip("/").replace("/", "_"))
        result: tuple[int, dict[str, Any] | None] = method(handler, node, said)
        return result

    def _refusal(self, headers: Any, path: str) -> tuple[int, dict[str, Any]] | None:
        if path == "/register":
            good = headers.get("Authorization") == f"Bearer {self.token}"
            return None if good else (401, {"error": "The broker knows no such key.", "reason": "unknown_key"})
        node = self.nodes.get(headers.get("Sandrun-Node") or "")
        good = node is not None and headers.get("Sandrun-Session") == node["session"] and not headers["Authorization"]
        return None if good else (401, {"error": "This is a node's call.", "reason": "missing_key"})

    def _register(self, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.changed:
            self.registrations.append(said)
            self.on_register()
            node_id = said.get("node_id")
            known = self.nodes.get(node_id or "")
            if known is not None and known["secret"] != said["secret"]:
                return 403, {"error": "wrong secret", "reason": "wrong_secret"}
            answer: dict[str, Any] = {}
            if known is None:
                self.count += 1
                node_id = f"node-{self.count}"
                known = self.nodes[node_id] = {"id": node_id, "secret": f"secret-{node_id}", "number": 0}
                answer["secret"] = known["secret"]
            known["number"] += 1
            known["session"] = f"{node_id}-session-{known['number']}"
            known["answered"] = {}
            known["draining"] = False
            self._requeue(lambda job: str(job["holder"]).startswith(f"{node_id}-"))
            self.changed.notify_all()
            return 200, {
                **answer,
                "node_id": node_id,
                "session": known["session"],
                "lease_seconds": self.lease,
                "heartbeat_seconds": 0.3 if self.lease == LEASE else self.lease / 3,
                "link_grace_seconds": 1,
            }

    def _requeue(self, condition: Any) -> None:
        for job in self.jobs.values():
            if job["status"] in ("assigned", "running") and condition(job):
                job.update(status="pending", holder=None)
        self.changed.notify_all()

    def _heartbeat(self, _handler: Any, node: dict[str, Any], said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.changed:
            if self.reject_beats:
                return 503, {"error": "overloaded", "reason": "overloaded"}
            self.beats.append(said)
            node["draining"] = said["draining"]
            held = {(ref["job_id"], ref["fence"]) for ref in said["held"]}
            mine = {key for key in held if self._holds(node, *key)}
            self._requeue(
                lambda job: (
                    job["holder"] == node["session"]
                    and job["claim"] <= said["claims_done"]
                    and (job["id"], job["fence"]) not in held
                )
            )
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self.hold_beats, 60)
            return 200, {
                "status": "ok",
                "lease_seconds": self.lease,
                "renewed": [_ref(key) for key in mine],
                "lost": [_ref(key) for key in held - mine],
                "cancel": self.cancels,
                "drain": self.drain,
            }

    def _holds(self, node: dict[str, Any], job_id: str, fence: int) -> bool:
        job = self.jobs.get(job_id)
        return bool(job and job["holder"] == node["session"] and job["fence"] == fence)

    def _claim(self, handler: Any, node: dict[str, Any], said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        number, session = said["claim_number"], said["session"]
        with self.changed:
            if number in node["answered"]:
                return 200, node["answered"][number]
            deadline = time.monotonic() + said["wait"]
            node["asking"] = number

            def over() -> bool:
                return bool(
                    node["session"] != session
                    or node["asking"] != number
                    or node["draining"]
                    or self.drain
                    or self._pending()
                )

            self.changed.wait_for(over, deadline - time.monotonic())
            jobs = []
            if _gone(handler):
                raise LostAnswerError  # the protocol: a client that has gone before the grant gets none
            if node["session"] == session and node["asking"] == number and not node["draining"] and not self.drain:
                for job in self._pending()[: said["max_jobs"]]:
                    job.update(status="assigned", holder=session, claim=number)
                    job["fence"] += 1
                    job["attempt"] += 1
                    jobs.append({k: v for k, v in job.items() if k not in ("status", "holder", "claim")})
            answer: dict[str, Any] = {"job": jobs[0] if jobs else None, "jobs": jobs}
            if node["draining"] or self.drain:
                answer["drain"] = True
            node["answered"][number] = answer
            self.changed.notify_all()
            return 200, answer

    def _pending(self) -> list[dict[str, Any]]:
        return [job for job in self.jobs.values() if job["status"] == "pending"]

    def _start(self, _handler: Any, node: dict[str, Any], said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.changed:
            lost = []
            for ref in said["jobs"]:
                if self._holds(node, ref["job_id"], ref["fence"]):
                    self.jobs[ref["job_id"]]["status"] = "running"
                    self.started.append(ref["job_id"])
                else:
                    lost.append(ref)
            self.changed.notify_all()
            return 200, {"status": "ok", "lost": lost}

    def _complete(self, _handler: Any, node: dict[str, Any], said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        word = self._end(node, said)
        if word in ("ok", "duplicate"):
            return 200, {"status": "ok", **({"duplicate": True} if word == "duplicate" else {})}
        return 409 if word == "stale_lease" else 404, {"error": word, "reason": word}

    def _complete_batch(self, _handler: Any, node: dict[str, Any], said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        results = [{"job_id": one["job_id"], "status": self._end(node, one)} for one in said["completions"]]
        return 200, {"status": "ok", "results": results}

    def _end(self, node: dict[str, Any], said: dict[str, Any]) -> str:
        with self.changed:
            self.completions.append(said)
            self.changed.notify_all()
            job = self.jobs.get(said["job_id"])
            if job is None:
                return "unknown_job"
            if job["fence"] == said["fence"] and job["status"] in ("completed", "failed"):
                return "duplicate"
            if not self._holds(node, said["job_id"], said["fence"]):
                return "stale_lease"
            if said["failure"] == "platform":
                job.update(status="pending", holder=None, platform=said["message"])
            else:
                job.update(status="failed" if said["failure"] else "completed", result=said, holder=None)
            return "ok"

    def _release(self, _handler: Any, node: dict[str, Any], said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.changed:
            for ref in said["jobs"]:
                if self._holds(node, ref["job_id"], ref["fence"]):
                    self.released.append({**ref, "reason": said["reason"]})
                    job = self.jobs[ref["job_id"]]
                    job.update(status="pending", holder=None, attempt=job["attempt"] - 1)
            self.changed.notify_all()
            return 200, {"status": "ok"}

    def _link(self, handler: Any, node: dict[str, Any], _said: dict[str, Any]) -> tuple[int, None]:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/x-ndjson")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        with self.changed:
            self._chunk(handler, {"type": "hello"})
            self.links.append(handler)
            self.changed.notify_all()
            session = node["session"]
            self.changed.wait_for(lambda: handler not in self.links or node["session"] != session, 300)
        handler.close_connection = True
        return 200, None

    def break_links(self) -> None:
        with self.changed:
            self.links.clear()
            self.break_connections()
            self.changed.notify_all()

    @staticmethod
    def _chunk(handler: Any, line: dict[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        handler.wfile.flush()


def _gone(handler: Any) -> bool:
    readable, _, _ = select.select([handler.connection], [], [], 0)
    return bool(readable) and handler.connection.recv(1, socket.MSG_PEEK) == b""


def _ref(key: tuple[str, int]) -> dict[str, Any]:
    return {"job_id": key[0], "fence": key[1]}
