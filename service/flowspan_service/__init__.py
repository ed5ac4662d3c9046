"""The flowspan service: takes reports of runs, keeps their histories, answers for them."""
