"""A fault test: real jobs on the three real processes, which are killed at random and started again.

`python -m tests.chaos --jobs 200 --seed 7` (or `make chaos JOBS=200 SEED=7`). The parts::

    plan       what will be asked for and who will be killed when, drawn from the seed alone
    watching   watchers that check every event they are sent
    ledger     every write to a job's row, noted by the database itself, which no kill can hinder
    monkey     kill -9, and a start again
    workload   makes the jobs, watches them, cancels some
    audit      compares what was seen, what is stored and what the ledger says
    report     the table and the last line
    show       how far it is, on a terminal
"""
