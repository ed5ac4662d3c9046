"""Subflows: flows that call flows, each with a run below its caller's.

python examples/subflows.py && flowspan run show latest
"""

from __future__ import annotations

from flowspan import flow, tags, task


@task
def measure(city: str, hour: int) -> float:
    return 10 + (len(city) * 7 + hour * 3) % 15


@flow(flow_run_name="{city}")
def report_city(city: str, hours: int) -> float:
    """Return the mean temperature of a city. Parameters are coerced: hours="3" becomes 3."""
    return sum(measure(city, hour) for hour in range(hours)) / hours


@flow
def report_country(cities: list[str], hours: int = 3) -> dict[str, float]:
    with tags("weather"):  # every run called in this block gets the tag
        return {city: report_city(city, hours) for city in cities}


if __name__ == "__main__":
    for city, mean in report_country(["Ulm", "Kiel", "Rostock"]).items():
        print(f"{city:10} {mean:5.1f}")
