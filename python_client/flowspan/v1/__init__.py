"""The messages and services of flowspan.v1, generated from proto/ by `make gen`. Never edited."""
