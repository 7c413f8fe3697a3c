"""Judges a scenario by its history and by the broker's own rows: nothing lost, nothing twice.

The letters are the invariants of every fault test:

(a) no accepted job is lost: each is in the database, or was deleted after it had ended
(b) a job ends once: no later answer tells another end, no attempt ends it a second time
(c) a job's fences strictly increase, and each (job, fence) was granted to one session
(d) an accepted result carries the fence that was current, and is the result that is kept
(e) attempts and losses never exceed their limits, and add up
(f) what was answered with success before a crash is there after it
(g) no session is given more than its slots plus one claim ahead per slot
(h) a node's counters equal the sum of its accepted outcomes

A simulated node's calls are in the history. Real agents in containers leave their logs instead (node_log.py), and what
they were granted is judged by the broker's rows alone (lease_rows.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from support.history import Call, History, Notice
from support.lease_rows import judge_leases
from support.node_log import NodeLog, judge_logs
from support.records import Records, Ref, Row

TERMINAL = ("completed", "failed")
LOSSES = ("node_lost", "platform", "overdue")


class Auditor:
    """`check()` after the scenario; AssertionError lists every violation."""

    def __init__(
        self, history: History, database: Path, *, deletes: bool = False, logs: Sequence[NodeLog] = ()
    ) -> None:
        self._logs = logs
        self._history = history
        self._rows = Records(database)
        self._deletes = deletes
        """Whether the scenario lets RESULT_TTL pass: then ended jobs may be gone."""
        self._violations: list[str] = []
        self._grants = self._granted()

    def check(self) -> Records:
        """Judge everything; the rows, for what a scenario asks beyond the invariants."""
        if self._rows.integrity != "ok":
            self._violates("f", f"the file is damaged: {self._rows.integrity}")
        if self._rows.orphans:
            self._violates("a", f"{self._rows.orphans} attempts belong to no job")
        self._nothing_lost()
        self._one_end()
        self._one_winner()
        self._verified()
        self._fences()
        self._results()
        self._limits()
        self._acknowledged()
        self._keys()
        self._slots()
        self._counters()
        for invariant, what in (*judge_leases(self._rows), *judge_logs(self._rows, self._logs)):
            self._violates(invariant, what)
        for call in self._history.answers_5xx():
            self._violates("-", f"{call.verb} answered {call.status}: {call.body}")
        assert not self._violations, f"{len(self._violations)} violations:\n" + "\n".join(self._violations[:40])
        return self._rows

    def _violates(self, invariant: str, what: str) -> None:
        self._violations.append(f"({invariant}) {what}")

    # -- readings of the history

    def accepted(self) -> set[str]:
        """Ids of the jobs whose submission was answered with success."""
        ids = {call.body["job_id"] for call in self._history.calls("submit") if call.status == 200}
        for call in self._history.calls("submit_batch"):
            if call.status == 200:
                ids |= {job["job_id"] for job in call.body["jobs"]}
        return ids

    def _granted(self) -> dict[Ref, list[Call]]:
        grants: dict[Ref, list[Call]] = defaultdict(list)
        for call in self._history.calls("claim"):
            if call.ok:
                for job in call.body["jobs"]:
                    grants[job["id"], job["fence"]].append(call)
        return grants

    def _completions(self) -> list[tuple[Call, Row, str]]:
        """(call, what was reported, ok or duplicate) of every completion that the broker acknowledged."""
        found = []
        for call in self._history.calls("complete"):
            if call.ok:
                found.append((call, call.request, "duplicate" if call.body.get("duplicate") else "ok"))
        for call in self._history.calls("complete_batch"):
            if call.ok:
                pairs = zip(call.request["completions"], call.body["results"], strict=True)
                found += [
                    (call, sent, result["status"]) for sent, result in pairs if result["status"] in ("ok", "duplicate")
                ]
        return found

    def _gone(self, job_id: str) -> bool:
        return self._deletes and job_id not in self._rows.jobs

    # -- the invariants

    def _nothing_lost(self) -> None:
        for job_id in self.accepted() - self._rows.jobs.keys():
            if not (self._deletes and job_id in self._rows.buried):
                self._violates("a", f"{job_id} was accepted and is not there")

    def _one_end(self) -> None:
        ends: dict[str, tuple[Any, ...]] = {}
        outputs: dict[str, str] = {}
        ended_at: dict[str, int] = {}
        calls = [call for call in self._history.calls("status", "results") if call.answered_at is not None]
        for call in sorted(calls, key=lambda call: call.answered_at or 0):
            if call.status not in (200, 202) or not isinstance(call.body, dict) or "status" not in call.body:
                continue
            job_id = call.body.get("job_id") or call.request["path"].split("/")[2].split("?")[0]
            if call.body["status"] not in TERMINAL:
                if job_id in ended_at and call.sent_at > ended_at[job_id]:
                    self._violates("b", f"{job_id} had ended and then was {call.body['status']}")
                continue
            ended_at.setdefault(job_id, call.answered_at or 0)
            end = (call.body["status"], call.body.get("failure"))
            if ends.setdefault(job_id, end) != end:
                self._violates("b", f"{job_id} ended as {ends[job_id]} and as {end}")
            if call.verb == "results" and outputs.setdefault(job_id, call.body["output"]) != call.body["output"]:
                self._violates("b", f"{job_id} printed {outputs[job_id]!r} and then {call.body['output']!r}")
            row = self._rows.jobs.get(job_id)
            if row is not None and (row["status"], row["failure"]) != end:
                self._violates(
                    "b", f"{job_id} was told to have ended as {end}, the row says {row['status']}/{row['failure']}"
                )

    def _one_winner(self) -> None:
        wins: dict[str, list[int]] = defaultdict(list)
        for (job_id, fence), attempt in self._rows.attempts.items():
            if attempt["outcome"] == "completed" and self._rows.jobs[job_id]["quorum"] is None:
                wins[job_id].append(fence)
            if attempt["ended_at"] is None and self._rows.jobs[job_id]["status"] not in ("assigned", "running"):
                self._violates(
                    "b", f"{job_id} is {self._rows.jobs[job_id]['status']} and attempt {fence} is still open"
                )
        for job_id, fences in wins.items():
            if len(fences) > 1 or self._rows.jobs[job_id]["status"] != "completed":
                self._violates(
                    "b", f"{job_id} was completed by attempts {fences}, status {self._rows.jobs[job_id]['status']}"
                )

    def _verified(self) -> None:
        """(b) and (d) of verified jobs: a node gives one result, and the end is what the results amount to."""
        given: dict[str, list[Row]] = defaultdict(list)
        for (job_id, _), attempt in sorted(self._rows.attempts.items()):
            if attempt["result_digest"] is not None:
                given[job_id].append(attempt)
        for job_id, row in self._rows.jobs.items():
            nodes = [attempt["node_id"] for attempt in given[job_id]]
            digests = [attempt["result_digest"] for attempt in given[job_id]]
            equal = max(map(digests.count, digests), default=0)
            if len(set(nodes)) < len(nodes) or len(nodes) > (row["replicas"] or 0):
                self._violates("b", f"{job_id}: results of {nodes}, {row['replicas']} nodes may give one")
            if row["result_of"] is None and ((row["results"] or 0), (row["equal"] or 0)) != (len(nodes), equal):
                self._violates("d", f"{job_id}: {digests}, the row says {row['results']} results, {row['equal']} equal")
            if row["quorum"] is None or row["status"] not in TERMINAL or row["result_of"] is not None:
                continue
            by_results = row["status"] == "completed" or row["failure"] == "exit"
            if by_results != (bool(digests) and digests.count(digests[-1]) == row["quorum"]):
                self._violates("d", f"{job_id} ended as {row['status']}/{row['failure']} with {digests}")
            if row["failure"] == "verification" and equal + row["replicas"] - len(digests) >= row["quorum"]:
                self._violates("d", f"{job_id} was given up with {digests}")

    def _fences(self) -> None:
        by_job: dict[str, list[tuple[int, Call]]] = defaultdict(list)
        for (job_id, fence), calls in self._grants.items():
            by_job[job_id].append((fence, calls[0]))
            owners = {(call.request["session"], call.request["claim_number"]) for call in calls}
            if len(owners) > 1:
                self._violates("c", f"attempt {fence} of {job_id} was granted to {owners}")
            attempt = self._rows.attempts.get((job_id, fence))
            if attempt is None:
                if not self._gone(job_id):
                    self._violates("f", f"attempt {fence} of {job_id} was granted and has no row")
            elif attempt["node_id"] != calls[0].request["node_id"]:
                self._violates("c", f"attempt {fence} of {job_id} was granted to another node than its row says")
        for job_id, grants in by_job.items():
            grants.sort(key=lambda grant: grant[0])
            for (fence, earlier), (later_fence, later) in pairwise(grants):
                if later.answered_at is not None and later.answered_at < earlier.sent_at:
                    self._violates("c", f"{job_id}: fence {later_fence} was granted before fence {fence} was asked for")
            row = self._rows.jobs.get(job_id)
            if row is not None and row["fence"] < grants[-1][0]:
                self._violates("c", f"{job_id}: fence {grants[-1][0]} was granted, the row has {row['fence']}")

    def _results(self) -> None:
        grants: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for (job_id, fence), calls in self._grants.items():
            grants[job_id].append((fence, min(call.answered_at or 0 for call in calls)))
        for call, sent, word in self._completions():
            job_id, fence = sent["job_id"], sent["fence"]
            newer = [later for later, granted_at in grants[job_id] if later > fence and granted_at < call.sent_at]
            if word == "ok" and newer:
                self._violates(
                    "d", f"{job_id}: a result for fence {fence} was accepted after fence {newer} was granted"
                )
            row = self._rows.jobs.get(job_id)
            kept = self._rows.outputs.get(job_id)
            won = row is not None and row["status"] == "completed" and row["fence"] == fence
            if won and kept != sent["output"]:
                self._violates("d", f"{job_id}: kept {kept!r}, accepted {sent['output']!r}")
        for job_id, row in self._rows.jobs.items():
            if row["status"] == "completed" and row["result_of"] is None:
                winner = self._rows.attempts.get((job_id, row["fence"]))
                if winner is None or winner["outcome"] != "completed":
                    self._violates("d", f"{job_id} is completed and attempt {row['fence']}, its last, is not")

    def _limits(self) -> None:
        losses: dict[str, int] = defaultdict(int)
        used: dict[str, int] = defaultdict(int)
        for (job_id, _), attempt in self._rows.attempts.items():
            losses[job_id] += attempt["outcome"] in LOSSES
            used[job_id] += attempt["outcome"] != "released"
        for job_id, row in self._rows.jobs.items():
            if losses[job_id] != row["losses"]:
                self._violates("e", f"{job_id}: {losses[job_id]} attempts were lost, the row says {row['losses']}")
            if row["losses"] > row["max_retries"] + 1 or row["reruns"] > row["max_retries"]:
                self._violates(
                    "e", f"{job_id}: {row['losses']} losses, {row['reruns']} reruns of at most {row['max_retries']}"
                )
            if row["losses"] > row["max_retries"] and row["status"] != "failed":
                self._violates("e", f"{job_id} used up its losses and is {row['status']}")
            if used[job_id] != row["attempt"]:
                self._violates("e", f"{job_id}: {used[job_id]} attempts were used, the row says {row['attempt']}")

    def _acknowledged(self) -> None:
        for call, sent, _ in self._completions():
            attempt = self._rows.attempts.get((sent["job_id"], sent["fence"]))
            if attempt is None:
                if not self._gone(sent["job_id"]):
                    self._violates(
                        "f",
                        f"completion of {sent['job_id']}/{sent['fence']} by {call.actor} was acknowledged and is gone",
                    )
            elif attempt["outcome"] is None:
                self._violates(
                    "f", f"completion of {sent['job_id']}/{sent['fence']} was acknowledged, its attempt is open"
                )
        for call in self._history.calls("release"):
            for ref in call.body.get("released", []) if call.ok else ():
                attempt = self._rows.attempts.get((ref["job_id"], ref["fence"]))
                if attempt is not None and attempt["outcome"] != "released":
                    self._violates("f", f"release of {ref} was acknowledged, the attempt says {attempt['outcome']}")
        for call in self._history.calls("register"):
            if call.ok and call.body["node_id"] not in self._rows.nodes:
                self._violates("f", f"{call.actor} was registered and is not there")

    def _keys(self) -> None:
        keys: dict[tuple[str, str], str] = {}
        for call in self._history.calls("submit"):
            if call.status == 200 and call.request["headers"]:
                key = (call.actor, call.request["headers"])
                if keys.setdefault(key, call.body["job_id"]) != call.body["job_id"]:
                    self._violates("f", f"one idempotency key made {keys[key]} and {call.body['job_id']}")

    def _slots(self) -> None:
        slots = {call.body["session"]: call.request["slots"] for call in self._history.calls("register") if call.ok}
        held: dict[str, set[Ref]] = defaultdict(set)
        holder: dict[str, tuple[str, Ref]] = {}
        for _, entry, answer in self._history.in_order():
            if isinstance(entry, Notice):
                continue
            session = entry.request.get("session", "")
            if entry.verb == "complete" and not answer:
                held[session].discard((entry.request["job_id"], entry.request["fence"]))
            elif entry.verb in ("release", "complete_batch") and not answer:
                refs = entry.request.get("jobs") or entry.request.get("completions") or []
                held[session] -= {(ref["job_id"], ref["fence"]) for ref in refs}
            elif entry.verb == "cancel" and not answer:
                former, old = holder.pop(entry.request["path"].removeprefix("/jobs/"), ("", ("", 0)))
                held[former].discard(old)
            elif entry.verb == "heartbeat" and answer and entry.ok:
                held[session] -= {(lost["job_id"], lost["fence"]) for lost in entry.body.get("lost", [])}
            elif entry.verb == "claim" and answer and entry.ok:
                for job in entry.body["jobs"]:
                    ref = (job["id"], job["fence"])
                    if job["id"] in holder:  # taken from whoever had it
                        former, old = holder[job["id"]]
                        held[former].discard(old)
                    holder[job["id"]] = (session, ref)
                    held[session].add(ref)
                if len(held[session]) > 2 * slots.get(session, 1 << 30):
                    self._violates("g", f"{entry.actor} with {slots[session]} slots holds {len(held[session])}")

    def _counters(self) -> None:
        if self._deletes:
            return
        completed: dict[str, int] = defaultdict(int)
        failed: dict[str, int] = defaultdict(int)
        cancelled: dict[str, int] = defaultdict(int)
        for (job_id, fence), attempt in self._rows.attempts.items():
            job = self._rows.jobs[job_id]
            ended_the_job = job["fence"] == fence and job["status"] in TERMINAL
            node_id = attempt["node_id"]
            completed[node_id] += attempt["outcome"] == "completed"
            counts = ended_the_job or attempt["result_digest"] is not None
            failed[node_id] += counts and attempt["outcome"] in ("failed", "platform")
            cancelled[node_id] += attempt["outcome"] == "cancelled"  # counted only when the node delivered the end
        for node_id, node in self._rows.nodes.items():
            counted = (node["jobs_completed"], node["jobs_failed"])
            most = failed[node_id] + cancelled[node_id]
            if counted[0] != completed[node_id] or not failed[node_id] <= counted[1] <= most:
                expected = (completed[node_id], f"{failed[node_id]} to {most}")
                self._violates("h", f"{node['name']} counts {counted}, its attempts say {expected}")
