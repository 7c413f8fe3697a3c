-- {"node_id": "node-f85c76135538bd12", "session": "Y6RGpT9fTdVHxJQQ_nwOcUQ6VQ8cwael"}
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE api_keys (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	role VARCHAR NOT NULL, 
	secret_hash VARCHAR NOT NULL, 
	old_hash VARCHAR, 
	old_until FLOAT, 
	created_at FLOAT NOT NULL, 
	expires_at FLOAT, 
	revoked_at FLOAT, 
	last_used_at FLOAT, 
	limits VARCHAR, 
	PRIMARY KEY (id)
);
INSERT INTO "api_keys" VALUES('duEKZEwmIjJz','old','client','d4d612d837fc0f9656b8d21a1991fe9e84205b0878f70f926351cd530fb45d70',NULL,NULL,1.79584959508504915233e+09,NULL,NULL,NULL,NULL);
CREATE TABLE attempts (
	seq INTEGER NOT NULL, 
	fence INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	node_id VARCHAR NOT NULL, 
	session_number INTEGER NOT NULL, 
	claimed_at FLOAT NOT NULL, 
	started_at FLOAT, 
	ended_at FLOAT, 
	outcome VARCHAR, 
	failure VARCHAR, 
	exit_code INTEGER, 
	wall_seconds FLOAT, 
	cpu_seconds FLOAT, 
	memory_peak_bytes INTEGER, 
	output_digest VARCHAR, 
	message VARCHAR, 
	PRIMARY KEY (seq, fence)
)
 WITHOUT ROWID

;
INSERT INTO "attempts" VALUES(1,1,1,'node-f85c76135538bd12',1,1.79584959377886652946e+09,1.79584959380767393111e+09,1.79584959395673418049e+09,'completed',NULL,0,NULL,NULL,NULL,'5e1d54e7f724b56c6ee674056f1a53696e825a85a0b27e0600efb47f42187b89',NULL);
INSERT INTO "attempts" VALUES(2,1,1,'node-f85c76135538bd12',1,1.7958495939716804027e+09,NULL,1.79584959397362494467e+09,'failed','exit',3,NULL,NULL,NULL,'6438c11082208d5e0c1d7647754e3e0da10f4be8a0043bb8ac8792e3c68ab83c',NULL);
INSERT INTO "attempts" VALUES(3,1,1,'node-f85c76135538bd12',1,1.79584959397666430475e+09,1.7958495939781723023e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "attempts" VALUES(4,1,1,'node-f85c76135538bd12',1,1.79584959398095583915e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE broker_state (
	id INTEGER NOT NULL, 
	clock FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "broker_state" VALUES(1,1.79584959537214446066e+09);
CREATE TABLE idempotency_keys (
	"key" VARCHAR NOT NULL, 
	body_hash VARCHAR NOT NULL, 
	job_ids VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY ("key")
)
 WITHOUT ROWID

;
INSERT INTO "idempotency_keys" VALUES('the-same','0ba7adba0b1dfef6c4f0b01f8c698c03a60a8def931632c87803a3e362e0f723','["01a220fa-2481-7775-8bdd-d9500673cc1a"]',1.79584959398549914356e+09);
CREATE TABLE job_files (
	seq INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	path VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	size INTEGER NOT NULL, 
	mime VARCHAR, 
	PRIMARY KEY (seq, kind, path)
)
 WITHOUT ROWID

;
CREATE TABLE job_inputs (
	seq INTEGER NOT NULL, 
	code VARCHAR NOT NULL, 
	spec VARCHAR, 
	PRIMARY KEY (seq)
);
INSERT INTO "job_inputs" VALUES(1,'print(''completed'')',NULL);
INSERT INTO "job_inputs" VALUES(2,'print(''failed'')',NULL);
INSERT INTO "job_inputs" VALUES(3,'print(''running'')',NULL);
INSERT INTO "job_inputs" VALUES(4,'print(''claimed'')',NULL);
INSERT INTO "job_inputs" VALUES(5,'print(''cancelled'')',NULL);
INSERT INTO "job_inputs" VALUES(6,'print(''once'')',NULL);
INSERT INTO "job_inputs" VALUES(7,'print(''pending'')',NULL);
INSERT INTO "job_inputs" VALUES(8,'print(''gpu'')',NULL);
INSERT INTO "job_inputs" VALUES(9,'','{"args":["a"],"files":{"main.py":"print(1)","in.txt":"x"},"entrypoint":"main.py"}');
CREATE TABLE job_results (
	seq INTEGER NOT NULL, 
	output VARCHAR NOT NULL, 
	error VARCHAR NOT NULL, 
	details VARCHAR, output_binary BLOB, error_binary BLOB, 
	PRIMARY KEY (seq)
);
INSERT INTO "job_results" VALUES(1,'42
','','{"artifacts_dropped": []}',NULL,NULL);
INSERT INTO "job_results" VALUES(2,'','no','{"artifacts_dropped": []}',NULL,NULL);
CREATE TABLE job_states (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	interpreter VARCHAR NOT NULL, 
	class_key VARCHAR NOT NULL, 
	priority INTEGER NOT NULL, 
	rank FLOAT NOT NULL, 
	submitter VARCHAR, 
	labels VARCHAR, 
	timeout FLOAT NOT NULL, 
	max_retries INTEGER NOT NULL, 
	retry_on VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	run_at FLOAT, 
	give_up_at FLOAT, 
	attempt INTEGER NOT NULL, 
	losses INTEGER NOT NULL, 
	reruns INTEGER NOT NULL, 
	fence INTEGER NOT NULL, 
	node_id VARCHAR, 
	claim_number INTEGER, 
	started_at FLOAT, 
	deadline_at FLOAT, 
	cancel_requested_at FLOAT, 
	dedupe_key VARCHAR, 
	follows INTEGER, 
	result_of INTEGER, 
	failure VARCHAR, 
	exit_code INTEGER, 
	completed_at FLOAT, 
	expires_at FLOAT, owner VARCHAR, stored_bytes INTEGER DEFAULT 0 NOT NULL, dialect VARCHAR, file_count INTEGER DEFAULT 0 NOT NULL, 
	CONSTRAINT failed_has_failure CHECK ((status = 'failed') = (failure IS NOT NULL)), 
	CONSTRAINT held_has_deadline CHECK ((status IN ('assigned', 'running')) = (deadline_at IS NOT NULL)), 
	CONSTRAINT ended_has_time CHECK ((status IN ('completed', 'failed')) = (completed_at IS NOT NULL)), 
	UNIQUE (id)
);
INSERT INTO "job_states" VALUES(1,'01a220fa-23b0-7506-8897-b9f80151fbf6','completed','python3','["python3"]',5,-5000.0,NULL,'{"old": "v0003"}',300.0,3,'',1.79584959377611374856e+09,NULL,NULL,1,0,0,1,'node-f85c76135538bd12',1,1.79584959380767393111e+09,NULL,NULL,NULL,NULL,NULL,NULL,0,1.79584959395673418049e+09,4.79584959395673370366e+09,NULL,0,NULL,0);
INSERT INTO "job_states" VALUES(2,'01a220fa-246e-7a1b-adf5-581f627ad55a','failed','python3','["python3"]',5,-4999.0,NULL,NULL,300.0,3,'',1.79584959396656894687e+09,NULL,NULL,1,0,0,1,'node-f85c76135538bd12',2,NULL,NULL,NULL,NULL,NULL,NULL,'exit',3,1.79584959397362494467e+09,4.79584959397362518319e+09,NULL,0,NULL,0);
INSERT INTO "job_states" VALUES(3,'01a220fa-2477-7069-ba40-2dce82471bfc','running','python3','["python3"]',5,-4998.0,NULL,NULL,300.0,3,'',1.79584959397524237634e+09,NULL,NULL,1,0,0,1,'node-f85c76135538bd12',3,1.7958495939781723023e+09,1.79584990897817230225e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0);
INSERT INTO "job_states" VALUES(4,'01a220fa-247b-77bb-8a83-e218a694cc55','assigned','python3','["python3"]',5,-4997.0,NULL,NULL,300.0,3,'',1.79584959397946023937e+09,NULL,NULL,1,0,0,1,'node-f85c76135538bd12',4,NULL,1.79585020898095583915e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0);
INSERT INTO "job_states" VALUES(5,'01a220fa-247e-7307-9f23-64c250db52d5','failed','python3','["python3"]',5,-4996.0,NULL,NULL,300.0,3,'',1.79584959398247694974e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'cancelled',NULL,1.79584959398395586013e+09,4.79584959398395538343e+09,NULL,0,NULL,0);
INSERT INTO "job_states" VALUES(6,'01a220fa-2481-7775-8bdd-d9500673cc1a','pending','python3','["python3"]',7,-6996.0,NULL,NULL,300.0,3,'',1.79584959398549914356e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0);
INSERT INTO "job_states" VALUES(7,'01a220fa-2483-7a2d-9fea-e5bfc807dc72','pending','python3','["python3"]',5,-4996.0,'ann','{"old": "v0003"}',300.0,5,'',1.79584959398706984524e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0);
INSERT INTO "job_states" VALUES(8,'01a220fa-2486-77e3-bd4a-b1f255134460','pending','ruby','["ruby",0,1,0.0,[["rack","7"]]]',5,-4996.0,NULL,NULL,300.0,3,'',1.79584959399018144607e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0);
INSERT INTO "job_states" VALUES(9,'01a220fa-2488-7cbb-929d-585cc9817cfa','pending','python3','["python3"]',5,-4995.0,NULL,NULL,300.0,3,'',1.79584959399250483516e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0);
CREATE TABLE nodes (
	id VARCHAR NOT NULL, 
	secret_hash VARCHAR NOT NULL, 
	session_hash VARCHAR NOT NULL, 
	session_number INTEGER NOT NULL, 
	endpoint VARCHAR NOT NULL, 
	capabilities VARCHAR NOT NULL, 
	slots INTEGER, 
	name VARCHAR, 
	version VARCHAR, 
	draining BOOLEAN NOT NULL, 
	registered_at FLOAT NOT NULL, 
	last_heartbeat FLOAT NOT NULL, 
	lease_until FLOAT NOT NULL, 
	jobs_completed INTEGER NOT NULL, 
	jobs_failed INTEGER NOT NULL, joined_with VARCHAR, 
	PRIMARY KEY (id)
);
INSERT INTO "nodes" VALUES('node-f85c76135538bd12','f59e8807c894f78c646c126751f919a33aefc2c02df1204fda9ca59db180a97f','5e017e93c7a14143401d39590809854c63383662377a97e36ea5a62e72a9b130',1,'http://localhost:8443','{"interpreters": ["python3"]}',4,NULL,NULL,0,1.79584959377320194247e+09,1.79584959398092675205e+09,1.79584965398092675213e+09,1,1,NULL);
CREATE TABLE tombstones (
	id VARCHAR NOT NULL, 
	deleted_at FLOAT NOT NULL, owner VARCHAR, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
CREATE TABLE usage_days (
	day VARCHAR NOT NULL, 
	owner VARCHAR NOT NULL, 
	outcome VARCHAR NOT NULL, 
	count INTEGER NOT NULL, 
	cpu_seconds FLOAT NOT NULL, 
	wall_seconds FLOAT NOT NULL, 
	memory_mb_seconds FLOAT NOT NULL, 
	bytes_in INTEGER NOT NULL, 
	bytes_out INTEGER NOT NULL, 
	PRIMARY KEY (day, owner, outcome)
)
 WITHOUT ROWID

;
CREATE INDEX idempotency_age ON idempotency_keys (created_at);
CREATE INDEX job_cancel ON job_states (cancel_requested_at) WHERE cancel_requested_at IS NOT NULL AND deadline_at IS NOT NULL;
CREATE INDEX job_dedupe ON job_states (dedupe_key) WHERE dedupe_key IS NOT NULL;
CREATE INDEX job_due ON job_states (run_at) WHERE status = 'pending' AND run_at IS NOT NULL;
CREATE INDEX job_expiry ON job_states (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX job_followers ON job_states (follows) WHERE follows IS NOT NULL;
CREATE INDEX job_give_up ON job_states (give_up_at) WHERE status = 'pending' AND give_up_at IS NOT NULL;
CREATE INDEX job_held ON job_states (node_id) WHERE deadline_at IS NOT NULL;
CREATE INDEX job_overdue ON job_states (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX job_ready ON job_states (class_key, rank, seq) WHERE status = 'pending' AND run_at IS NULL;
CREATE UNIQUE INDEX job_single_flight ON job_states (dedupe_key) WHERE dedupe_key IS NOT NULL AND follows IS NULL AND completed_at IS NULL;
CREATE INDEX tombstone_age ON tombstones (deleted_at);
CREATE VIEW jobs AS
SELECT s.id, i.code, s.interpreter, s.status, s.node_id, r.output, r.error, s.exit_code, s.failure,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.created_at, 'unixepoch') AS created_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.started_at, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.completed_at, 'unixepoch') AS completed_at,
       s.submitter, s.labels, s.priority, s.timeout, s.attempt, s.fence
FROM job_states s
JOIN job_inputs i ON i.seq = s.seq
LEFT JOIN job_results r ON r.seq = COALESCE(s.result_of, s.seq);
CREATE INDEX job_owner ON job_states (owner, seq) WHERE owner IS NOT NULL;
CREATE INDEX job_file_content ON job_files (sha256);
CREATE INDEX job_file_inputs ON job_files (seq) WHERE kind = 'input';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('job_states',9);
COMMIT;
