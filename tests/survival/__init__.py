"""The kill harness: random SIGKILL of server and keeper under seeded workflows, and what must still hold afterwards.

``workload`` makes workflows whose tasks leave witness; ``machine`` starts, freezes, looks at and kills the processes;
``client`` is a user who goes on asking; ``round`` plays one store to its end; ``invariants`` judges it; ``mutants``
are broken protocols that must be caught; ``campaign`` adds rounds up; ``python -m survival`` prints the table.
"""
