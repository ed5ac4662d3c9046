"""Fetch the weather from an API that is down now and then."""

from dataclasses import dataclass, field

from prefect import flow, get_run_logger, task
from prefect.runtime import task_run
from prefect.tasks import exponential_backoff


class HTTPError(Exception):
    def __init__(self, status: int):
        super().__init__(f"HTTP {status}")
        self.status = status


@dataclass
class WeatherAPI:
    """Stands in for the real one: answers with what it was given, one after the other."""

    answers: dict[str, list]
    calls: dict[str, int] = field(default_factory=dict)

    def get(self, city: str) -> dict:
        self.calls[city] = self.calls.get(city, 0) + 1
        answer = self.answers[city].pop(0)
        if isinstance(answer, int):
            raise HTTPError(answer)
        return {"city": city, "temperature": answer["t"]}


api = WeatherAPI(
    {
        "berlin": [{"t": 21.5}],
        "oslo": [503, 503, {"t": 9.0}],
        "rome": [404],
        "lima": [500, 500, 500, 500],
    }
)


def is_worth_retrying(task, run, state) -> bool:
    try:
        state.result()
    except HTTPError as error:
        return error.status >= 500
    except Exception:
        return True
    return True


@task(
    retries=3,
    retry_delay_seconds=[0, 0.01, 0.01],
    retry_condition_fn=is_worth_retrying,
    task_run_name="weather-{city}",
)
def fetch_weather(city: str) -> dict:
    get_run_logger().info("attempt %s", task_run.run_count)
    return api.get(city) | {"attempt": task_run.run_count}


@task(retries=2, retry_delay_seconds=exponential_backoff(backoff_factor=0), retry_jitter_factor=0.1)
def save(reports: list[dict]) -> int:
    if task_run.run_count < 3:
        raise ConnectionError("the database restarts")
    return len(reports)


@flow(log_prints=True)
def weather_report(cities: list[str]):
    reports = []
    for city in cities:
        try:
            reports.append(fetch_weather(city))
        except HTTPError as error:
            reports.append({"city": city, "error": str(error)})
    return reports, save(reports)


reports, saved = weather_report(["berlin", "oslo", "rome", "lima"])
for report in reports:
    print(report)
print("saved:", saved)
print("calls:", api.calls)

# prints: {'city': 'berlin', 'temperature': 21.5, 'attempt': 1}
# prints: {'city': 'oslo', 'temperature': 9.0, 'attempt': 3}
# prints: {'city': 'rome', 'error': 'HTTP 404'}
# prints: {'city': 'lima', 'error': 'HTTP 500'}
# prints: saved: 4
# prints: calls: {'berlin': 1, 'oslo': 3, 'rome': 1, 'lima': 4}
