"""Small things for flows, under the names that Prefect has for them."""
