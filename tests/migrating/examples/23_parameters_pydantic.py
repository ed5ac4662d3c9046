"""Parameters of flows: models, enums, dates, defaults, and what is refused."""

from datetime import date, timedelta
from enum import Enum
from typing import Annotated, Literal, Optional

from prefect import flow, task
from prefect.exceptions import ParameterTypeError
from pydantic import BaseModel, Field, field_validator


class Environment(str, Enum):
    STAGING = "staging"
    PRODUCTION = "production"


class Source(BaseModel):
    name: str
    rows: int = Field(default=10, ge=1)

    @field_validator("name")
    @classmethod
    def lower(cls, name: str) -> str:
        return name.lower()


class Config(BaseModel):
    sources: list[Source]
    environment: Environment = Environment.STAGING
    wait: timedelta = timedelta(seconds=90)


@task
def plan(source: Source) -> str:
    return f"{source.name}:{source.rows}"


@flow
def ingest(
    config: Config,
    day: date,
    mode: Literal["full", "delta"] = "delta",
    limit: Annotated[int, Field(gt=0)] = 100,
    note: Optional[str] = None,
):
    print(type(config).__name__, config.environment.value, config.wait.total_seconds())
    print([plan(source) for source in config.sources], day.isoformat(), mode, limit, note)
    return day + timedelta(days=1)


print(ingest(Config(sources=[Source(name="A")]), date(2024, 1, 31)))
raw = {"sources": [{"name": "CRM", "rows": "7"}], "environment": "production", "wait": "PT1M"}
print(ingest(raw, "2024-02-28", mode="full", limit="5", note="by hand"))

for arguments in [
    ([raw, "not a day"], {}),
    ([{"sources": [{"name": "x", "rows": 0}]}, "2024-01-01"], {}),
    ([raw, "2024-01-01", "partial"], {}),
    ([raw, "2024-01-01"], {"limit": -1}),
]:
    try:
        ingest(*arguments[0], **arguments[1])
    except ParameterTypeError as error:
        print("refused:", str(error).splitlines()[0])

try:
    ingest(raw)
except TypeError as error:
    print("TypeError:", "day" in str(error))
try:
    ingest(raw, "2024-01-01", colour="red")
except TypeError as error:
    print("TypeError:", "colour" in str(error))
state = ingest(raw, "never", return_state=True)
print(state.type.value, state.is_failed())


@flow(validate_parameters=False)
def unchecked(count: int, *more: int, **options: str):
    return count, more, options


@flow
def checked(count: int, *more: int, flag: bool = False, **options: str):
    return count, more, flag, options


print(unchecked("1", "2", colour="red"))
print(checked("1", 2, 3, flag="yes", colour="red"))

# prints: Config staging 90.0
# prints: ['a:10'] 2024-01-31 delta 100 None
# prints: 2024-02-01
# prints: Config production 60.0
# prints: ['crm:7'] 2024-02-28 full 5 by hand
# prints: 2024-02-29
# prefect prints: refused: Flow run received invalid parameters:
# prefect prints: refused: Flow run received invalid parameters:
# prefect prints: refused: Flow run received invalid parameters:
# prefect prints: refused: Flow run received invalid parameters:
# flowspan prints: refused: Flow 'ingest': parameter 'day': Input should be a valid date or datetime, input is too short (got 'not a day' of type str)
# flowspan prints: refused: Flow 'ingest': parameter 'config'['sources'][0]['rows']: Input should be greater than or equal to 1 (got {'sources': [{'name': 'x', 'rows': 0}]} of type dict)
# flowspan prints: refused: Flow 'ingest': parameter 'mode': Input should be 'full' or 'delta' (got 'partial' of type str)
# flowspan prints: refused: Flow 'ingest': parameter 'limit': Input should be greater than 0 (got -1 of type int)
# prints: TypeError: True
# prints: TypeError: True
# prints: FAILED True
# prints: ('1', ('2',), {'colour': 'red'})
# prints: (1, (2, 3), True, {'colour': 'red'})
# because: the message names the flow and the parameter
