"""The shape of a broker that is written in an afternoon: Flask's development server, SQLite, a connection and a commit
for each request. It stands for the program that the broker replaces, and is measured in the same run.

Run: python -m bench.baseline_flask PORT DATABASE
"""

from __future__ import annotations

import logging
import sqlite3
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, request

app = Flask(__name__)
DATABASE = Path("baseline.db")

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, code TEXT, interpreter TEXT, status TEXT, node_id TEXT,
    output TEXT, error TEXT, exit_code INTEGER, created_at TEXT, completed_at TEXT);
CREATE TABLE IF NOT EXISTS nodes (id TEXT PRIMARY KEY, endpoint TEXT, last_heartbeat TEXT);
"""


def _connect() -> sqlite3.Connection:
    connection = sqlite3.connect(DATABASE, timeout=30)
    connection.row_factory = sqlite3.Row
    return connection


def _now() -> str:
    return datetime.now(UTC).isoformat()


@app.post("/submit")
def submit() -> Any:
    """Store a job."""
    body = request.get_json()
    job_id = str(uuid.uuid4())
    connection = _connect()
    connection.execute(
        "INSERT INTO jobs (id, code, interpreter, status, created_at) VALUES (?, ?, ?, 'pending', ?)",
        (job_id, body["code"], body.get("interpreter", "python3"), _now()),
    )
    connection.commit()
    connection.close()
    return jsonify(job_id=job_id, status="pending")


@app.post("/register")
def register() -> Any:
    """Store a node."""
    node_id = str(uuid.uuid4())
    connection = _connect()
    connection.execute("INSERT INTO nodes VALUES (?, ?, ?)", (node_id, request.get_json()["endpoint"], _now()))
    connection.commit()
    connection.close()
    return jsonify(node_id=node_id, session=node_id)


@app.post("/claim")
def claim() -> Any:
    """Hand out the oldest pending job; null also when another request took it first."""
    connection = _connect()
    row = connection.execute("SELECT * FROM jobs WHERE status = 'pending' ORDER BY created_at LIMIT 1").fetchone()
    job = None
    if row is not None:
        taken = connection.execute(
            "UPDATE jobs SET status = 'assigned', node_id = ? WHERE id = ? AND status = 'pending'",
            (request.get_json()["node_id"], row["id"]),
        ).rowcount
        connection.commit()
        job = {"id": row["id"], "code": row["code"], "interpreter": row["interpreter"], "fence": 1} if taken else None
    connection.close()
    return jsonify(job=job, jobs=[job] if job else [])


@app.post("/complete")
def complete() -> Any:
    """Store a result."""
    body = request.get_json()
    connection = _connect()
    connection.execute(
        "UPDATE jobs SET status = 'completed', output = ?, error = ?, exit_code = ?, completed_at = ? WHERE id = ?",
        (body["output"], body["error"], body["exit_code"], _now(), body["job_id"]),
    )
    connection.commit()
    connection.close()
    return jsonify(status="ok")


@app.get("/results/<job_id>")
def results(job_id: str) -> Any:
    """A result."""
    connection = _connect()
    row = connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    connection.close()
    return jsonify(job_id=job_id, status=row["status"], output=row["output"], exit_code=row["exit_code"])


@app.get("/ready")
def ready() -> Any:
    """Whether it answers."""
    return jsonify(status="ready")


def main() -> None:
    """Make the tables and serve."""
    global DATABASE
    port, DATABASE = int(sys.argv[1]), Path(sys.argv[2])
    connection = _connect()
    connection.executescript(SCHEMA)
    connection.close()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app.run(host="127.0.0.1", port=port, threaded=True)


if __name__ == "__main__":
    main()
