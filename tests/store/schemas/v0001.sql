-- {"node_id": "node-dca53373d91a85f8", "session": "JfuZgOXttPdthjW-hhKRbpqzMlSXtdoR"}
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
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
INSERT INTO "attempts" VALUES(1,1,1,'node-dca53373d91a85f8',1,1.79584958081432104108e+09,1.79584958081815886498e+09,1.7958495808223922253e+09,'completed',NULL,0,NULL,NULL,NULL,'5e1d54e7f724b56c6ee674056f1a53696e825a85a0b27e0600efb47f42187b89',NULL);
INSERT INTO "attempts" VALUES(2,1,1,'node-dca53373d91a85f8',1,1.79584958084479117388e+09,NULL,1.79584958085064029693e+09,'failed','exit',3,NULL,NULL,NULL,'6438c11082208d5e0c1d7647754e3e0da10f4be8a0043bb8ac8792e3c68ab83c',NULL);
INSERT INTO "attempts" VALUES(3,1,1,'node-dca53373d91a85f8',1,1.79584958085680842405e+09,1.79584958086038851739e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "attempts" VALUES(4,1,1,'node-dca53373d91a85f8',1,1.79584958087046408659e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE broker_state (
	id INTEGER NOT NULL, 
	clock FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "broker_state" VALUES(1,1.79584958100162625309e+09);
CREATE TABLE idempotency_keys (
	"key" VARCHAR NOT NULL, 
	body_hash VARCHAR NOT NULL, 
	job_ids VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY ("key")
)
 WITHOUT ROWID

;
INSERT INTO "idempotency_keys" VALUES('the-same','0ba7adba0b1dfef6c4f0b01f8c698c03a60a8def931632c87803a3e362e0f723','["01a220f9-f157-7cfc-8af9-baa816af72c6"]',1.79584958088698315621e+09);
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
CREATE TABLE job_results (
	seq INTEGER NOT NULL, 
	output VARCHAR NOT NULL, 
	error VARCHAR NOT NULL, 
	details VARCHAR, 
	PRIMARY KEY (seq)
);
INSERT INTO "job_results" VALUES(1,'42
','',NULL);
INSERT INTO "job_results" VALUES(2,'','no',NULL);
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
	expires_at FLOAT, 
	CONSTRAINT failed_has_failure CHECK ((status = 'failed') = (failure IS NOT NULL)), 
	CONSTRAINT held_has_deadline CHECK ((status IN ('assigned', 'running')) = (deadline_at IS NOT NULL)), 
	CONSTRAINT ended_has_time CHECK ((status IN ('completed', 'failed')) = (completed_at IS NOT NULL)), 
	UNIQUE (id)
);
INSERT INTO "job_states" VALUES(1,'01a220f9-f10b-7b4c-84a8-7731b6fbc5db','completed','python3','["python3"]',5,-5000.0,NULL,'{"old": "v0001"}',300.0,3,'',1.79584958081179761881e+09,NULL,NULL,1,0,0,1,'node-dca53373d91a85f8',1,1.79584958081815886498e+09,NULL,NULL,NULL,NULL,NULL,NULL,0,1.7958495808223922253e+09,4.79584958082239246361e+09);
INSERT INTO "job_states" VALUES(2,'01a220f9-f11d-77b8-9784-73eb036d42b6','failed','python3','["python3"]',5,-4999.0,NULL,NULL,300.0,3,'',1795849580.82903,NULL,NULL,1,0,0,1,'node-dca53373d91a85f8',2,NULL,NULL,NULL,NULL,NULL,NULL,'exit',3,1.79584958085064029693e+09,4795849580.85064);
INSERT INTO "job_states" VALUES(3,'01a220f9-f135-79cc-bfd5-3104e5a0b2b6','running','python3','["python3"]',5,-4998.0,NULL,NULL,300.0,3,'',1795849580.85309,NULL,NULL,1,0,0,1,'node-dca53373d91a85f8',3,1.79584958086038851739e+09,1.79584989586038851734e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "job_states" VALUES(4,'01a220f9-f140-757e-8c2f-3438fb44dfc1','assigned','python3','["python3"]',5,-4997.0,NULL,NULL,300.0,3,'',1.79584958086456179622e+09,NULL,NULL,1,0,0,1,'node-dca53373d91a85f8',4,NULL,1.7958501958704640865e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "job_states" VALUES(5,'01a220f9-f14a-70e8-903a-1eb12e099524','failed','python3','["python3"]',5,-4996.0,NULL,NULL,300.0,3,'',1.79584958087451624871e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'cancelled',NULL,1.79584958088125610348e+09,4.7958495808812561037e+09);
INSERT INTO "job_states" VALUES(6,'01a220f9-f157-7cfc-8af9-baa816af72c6','pending','python3','["python3"]',7,-6996.0,NULL,NULL,300.0,3,'',1.79584958088698315621e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "job_states" VALUES(7,'01a220f9-f15b-7cef-b6d1-4299163f16de','pending','python3','["python3"]',5,-4996.0,'ann','{"old": "v0001"}',300.0,5,'',1.79584958089170670511e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "job_states" VALUES(8,'01a220f9-f15d-7ed6-a10e-4328252fdd6e','pending','ruby','["ruby",0,1,0.0,[["rack","7"]]]',5,-4996.0,NULL,NULL,300.0,3,'',1.79584958089345264435e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
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
	jobs_failed INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "nodes" VALUES('node-dca53373d91a85f8','8ae3f110a1d50d1114432f859ce2a6e4d5d4499984e3f3fbfc7590bf28cf014a','d88787a57d7d0121b490b07ea85c3cd4eb1cf05286942ea76bbfd583c5468bb2',1,'http://localhost:8443','{"interpreters": ["python3"]}',4,NULL,NULL,0,1.79584958080689239502e+09,1.79584958087041330343e+09,1.79584964087041330338e+09,1,1);
CREATE TABLE tombstones (
	id VARCHAR NOT NULL, 
	deleted_at FLOAT NOT NULL, 
	PRIMARY KEY (id)
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('job_states',8);
COMMIT;
