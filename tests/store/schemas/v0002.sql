-- {"node_id": "node-db3737a4e7c35a89", "session": "a4aGz3IQ5DJo6id0CQ7M1JQEs3TMfS98"}
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
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
INSERT INTO "api_keys" VALUES('iuYPtrachNV6','old','client','ed3d8f9506d884d8abc5d395c0dd8e5ff0c218078cb870ea6295138bafea9ff4',NULL,NULL,1.7958495870802419186e+09,NULL,NULL,NULL,NULL);
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
INSERT INTO "attempts" VALUES(1,1,1,'node-db3737a4e7c35a89',1,1.79584958574109148981e+09,1.79584958575075817111e+09,1.79584958575941300391e+09,'completed',NULL,0,NULL,NULL,NULL,'5e1d54e7f724b56c6ee674056f1a53696e825a85a0b27e0600efb47f42187b89',NULL);
INSERT INTO "attempts" VALUES(2,1,1,'node-db3737a4e7c35a89',1,1.79584958592404842379e+09,NULL,1.7958495859342734814e+09,'failed','exit',3,NULL,NULL,NULL,'6438c11082208d5e0c1d7647754e3e0da10f4be8a0043bb8ac8792e3c68ab83c',NULL);
INSERT INTO "attempts" VALUES(3,1,1,'node-db3737a4e7c35a89',1,1.79584958594665884974e+09,1.79584958594905519488e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "attempts" VALUES(4,1,1,'node-db3737a4e7c35a89',1,1.79584958595304083816e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE broker_state (
	id INTEGER NOT NULL, 
	clock FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "broker_state" VALUES(1,1.79584958743548202516e+09);
CREATE TABLE idempotency_keys (
	"key" VARCHAR NOT NULL, 
	body_hash VARCHAR NOT NULL, 
	job_ids VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY ("key")
)
 WITHOUT ROWID

;
INSERT INTO "idempotency_keys" VALUES('the-same','0ba7adba0b1dfef6c4f0b01f8c698c03a60a8def931632c87803a3e362e0f723','["01a220fa-0529-747d-8281-44e51e87c514"]',1.79584958596146392821e+09);
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
	expires_at FLOAT, owner VARCHAR, stored_bytes INTEGER DEFAULT 0 NOT NULL, 
	CONSTRAINT failed_has_failure CHECK ((status = 'failed') = (failure IS NOT NULL)), 
	CONSTRAINT held_has_deadline CHECK ((status IN ('assigned', 'running')) = (deadline_at IS NOT NULL)), 
	CONSTRAINT ended_has_time CHECK ((status IN ('completed', 'failed')) = (completed_at IS NOT NULL)), 
	UNIQUE (id)
);
INSERT INTO "job_states" VALUES(1,'01a220fa-0440-7e16-8e26-db6eef1634f7','completed','python3','["python3"]',5,-5000.0,NULL,'{"old": "v0002"}',300.0,3,'',1.7958495857287092209e+09,NULL,NULL,1,0,0,1,'node-db3737a4e7c35a89',1,1.79584958575075817111e+09,NULL,NULL,NULL,NULL,NULL,NULL,0,1.79584958575941300391e+09,4.7958495857594127653e+09,NULL,0);
INSERT INTO "job_states" VALUES(2,'01a220fa-04ca-70a4-802e-817e5f3d1a65','failed','python3','["python3"]',5,-4999.0,NULL,NULL,300.0,3,'',1795849585.86657,NULL,NULL,1,0,0,1,'node-db3737a4e7c35a89',2,NULL,NULL,NULL,NULL,NULL,NULL,'exit',3,1.7958495859342734814e+09,4.79584958593427371957e+09,NULL,0);
INSERT INTO "job_states" VALUES(3,'01a220fa-0517-78ba-a145-0f55d7a6b81c','running','python3','["python3"]',5,-4998.0,NULL,NULL,300.0,3,'',1.79584958594350290296e+09,NULL,NULL,1,0,0,1,'node-db3737a4e7c35a89',3,1.79584958594905519488e+09,1.79584990094905519487e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "job_states" VALUES(4,'01a220fa-051f-77f6-9556-54fc257fbb35','assigned','python3','["python3"]',5,-4997.0,NULL,NULL,300.0,3,'',1.795849585950946331e+09,NULL,NULL,1,0,0,1,'node-db3737a4e7c35a89',4,NULL,1.79585020095304083824e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "job_states" VALUES(5,'01a220fa-0523-738a-a835-85b7e02a5c0a','failed','python3','["python3"]',5,-4996.0,NULL,NULL,300.0,3,'',1.79584958595525574689e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'cancelled',NULL,1.79584958595730233192e+09,4.79584958595730209349e+09,NULL,0);
INSERT INTO "job_states" VALUES(6,'01a220fa-0529-747d-8281-44e51e87c514','pending','python3','["python3"]',7,-6996.0,NULL,NULL,300.0,3,'',1.79584958596146392821e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "job_states" VALUES(7,'01a220fa-052c-70ab-8e0e-e81c33ec5b5e','pending','python3','["python3"]',5,-4996.0,'ann','{"old": "v0002"}',300.0,5,'',1.79584958596398591994e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "job_states" VALUES(8,'01a220fa-052e-7487-ad32-24d5f5fed751','pending','ruby','["ruby",0,1,0.0,[["rack","7"]]]',5,-4996.0,NULL,NULL,300.0,3,'',1.79584958596598601339e+09,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
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
INSERT INTO "nodes" VALUES('node-db3737a4e7c35a89','70cbe0a6d6692db5b3de8aed1b183e0ee8b7c50b9c6d7c3f12f7af46a2cc1cd7','af303b24ddaa6933c8203f429d0c46194033db1d73192ae40a1a45e634d6c764',1,'http://localhost:8443','{"interpreters": ["python3"]}',4,NULL,NULL,0,1.79584958571684503558e+09,1.79584958595299148563e+09,1.79584964595299148562e+09,1,1,NULL);
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('job_states',8);
COMMIT;
