"""`validate_parameters` by hand: defaults come back as they are, and are validated by calls only."""

from prefect import flow
from pydantic import BaseModel


class Day(BaseModel):
    number: int = 1


@flow
def load(count: int, where: dict = None, times: int = "3", day: Day = {"number": "2"}):
    return count, where, times, day


@flow
async def load_later(count: int, where: dict = None):
    return count


print(load.validate_parameters({"count": "3"}))
print(load.validate_parameters({"count": 1, "times": "4", "day": {"number": "5"}}))
print(load_later.validate_parameters({"count": "3"}))
print(load.with_options(name="copy").validate_parameters({"count": "3"}))
for wrong in ({}, {"count": "x"}, {"count": 1, "where": None}, {"count": 1, "other": 2}):
    try:
        print(load.validate_parameters(wrong))
    except Exception:
        print("refused", sorted(wrong))
print(load(1, {}), load(1, return_state=True).name)

# prints: {'count': 3, 'where': None, 'times': '3', 'day': {'number': '2'}}
# prints: {'count': 1, 'where': None, 'times': 4, 'day': Day(number=5)}
# prints: {'count': 3, 'where': None}
# prints: {'count': 3, 'where': None, 'times': '3', 'day': {'number': '2'}}
# prints: refused []
# prints: refused ['count']
# prints: refused ['count', 'where']
# prints: refused ['count', 'other']
# prints: (1, {}, 3, Day(number=2)) Failed
