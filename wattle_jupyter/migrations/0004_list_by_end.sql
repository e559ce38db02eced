-- Pages of one workflow's runs in the order of their ends are read from this index without sorting all of them.
CREATE INDEX run_list_ended ON run (deleted_at, workflow, ended_at, state, id);
