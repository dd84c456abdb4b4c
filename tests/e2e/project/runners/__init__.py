"""One module for each job runner: its worker, and `ask`, which asks it for one of the jobs in `jobs` and returns the job's id."""
