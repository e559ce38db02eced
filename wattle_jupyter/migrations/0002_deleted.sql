-- Deleted runs are hidden first and can come back; later they are gone with all that they left.
ALTER TABLE run ADD COLUMN deleted_at REAL;
CREATE INDEX run_deleted ON run (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX run_ended ON run (ended_at) WHERE ended_at IS NOT NULL;
