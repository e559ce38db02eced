-- Ids are 32 hex digits. Times are seconds since the epoch (REAL, UTC). JSON is TEXT.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- A definition by content. `version` is NULL for one that was only ever run inline; the current one of a name has the
-- highest version. Deleted ones stay for the runs that hold them.
CREATE TABLE workflow (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  hash TEXT NOT NULL,
  version INTEGER,
  spec TEXT NOT NULL,
  total INTEGER NOT NULL,
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  deleted_at REAL,
  UNIQUE (name, hash)
);
CREATE UNIQUE INDEX workflow_version ON workflow (name, version) WHERE version IS NOT NULL;

CREATE TABLE run (
  id TEXT PRIMARY KEY,
  workflow_id TEXT NOT NULL REFERENCES workflow (id),
  workflow TEXT NOT NULL,
  workflow_hash TEXT NOT NULL,
  params TEXT NOT NULL,
  mode TEXT NOT NULL,
  priority TEXT NOT NULL,
  user TEXT NOT NULL,
  cause TEXT NOT NULL,
  parent_task_run TEXT,
  scripts TEXT NOT NULL,
  only_tasks TEXT,
  given TEXT NOT NULL,
  total INTEGER NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  cancel_at REAL,
  cancelled_by TEXT,
  paused_at REAL,
  created_at REAL NOT NULL,
  started_at REAL,
  ended_at REAL
);
CREATE INDEX run_created ON run (created_at);
CREATE INDEX run_workflow ON run (workflow, created_at);
CREATE INDEX run_state ON run (state, created_at);

CREATE TABLE task_run (
  id TEXT PRIMARY KEY,
  run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  task TEXT NOT NULL,
  item TEXT NOT NULL DEFAULT '',
  spec_hash TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  round INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  losses INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  attempt TEXT,
  not_before REAL,
  stop_at REAL,
  stopped_by TEXT,
  cache_key TEXT,
  reused_attempt TEXT,
  queued_at REAL,
  started_at REAL,
  ended_at REAL,
  UNIQUE (run, task, item)
);

-- Edges that the snapshot does not hold: a plan may grow while its run goes on.
CREATE TABLE edge (
  run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  src TEXT NOT NULL,
  dst TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('data', 'order', 'stream')),
  condition TEXT,
  PRIMARY KEY (run, src, dst, kind)
) WITHOUT ROWID;

CREATE TABLE attempt (
  id TEXT PRIMARY KEY,
  task_run TEXT NOT NULL REFERENCES task_run (id) ON DELETE CASCADE,
  run TEXT NOT NULL,
  n INTEGER NOT NULL,
  round INTEGER NOT NULL,
  executor TEXT NOT NULL,
  host TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  lease_until REAL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  pid INTEGER,
  code INTEGER,
  signal INTEGER,
  created_at REAL NOT NULL,
  started_at REAL,
  ended_at REAL,
  peak_rss INTEGER,
  log_size INTEGER,
  UNIQUE (task_run, n)
);
-- The two promises that the database itself keeps: never two live attempts, never two successes in one round.
CREATE UNIQUE INDEX attempt_active ON attempt (task_run) WHERE state IN ('starting', 'running');
CREATE UNIQUE INDEX attempt_success ON attempt (task_run, round) WHERE state = 'completed';

CREATE TABLE value (
  attempt TEXT NOT NULL REFERENCES attempt (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('json', 'file', 'object', 'stream')),
  ref TEXT NOT NULL,
  hash TEXT,
  size INTEGER,
  PRIMARY KEY (attempt, name)
) WITHOUT ROWID;

CREATE TABLE event (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  run TEXT,
  kind TEXT NOT NULL,
  at REAL NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX event_run ON event (run, seq);

-- Requests that changed something, by their Idempotency-Key: a repeat is answered with what the first one made.
CREATE TABLE request (
  key TEXT PRIMARY KEY,
  verb TEXT NOT NULL,
  run TEXT NOT NULL,
  at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE schedule (
  id TEXT PRIMARY KEY, workflow TEXT NOT NULL, spec TEXT NOT NULL, state TEXT NOT NULL, next_at REAL, created_at REAL NOT NULL
);
CREATE TABLE fire (
  schedule TEXT NOT NULL REFERENCES schedule (id) ON DELETE CASCADE, at REAL NOT NULL, run TEXT,
  PRIMARY KEY (schedule, at)
) WITHOUT ROWID;
CREATE TABLE host (
  name TEXT PRIMARY KEY, executor TEXT NOT NULL, slots INTEGER NOT NULL, labels TEXT NOT NULL, state TEXT NOT NULL, seen_at REAL
);
CREATE TABLE pool (name TEXT PRIMARY KEY, slots INTEGER NOT NULL);
