"""Figures of the service: their names, and plain aggregates that are updated where things happen.

`api.figures` collects all of them in one snapshot. It has two renderings: the page /metrics
(`transports.http.metrics`) and OTLP (`loops.metric_records`).
"""
