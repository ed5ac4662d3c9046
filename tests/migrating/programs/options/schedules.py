"""Schedules are values: made, compared, refused where they are wrong."""

import datetime

from prefect.schedules import Cron, Interval, RRule, Schedule

start = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
print(Interval(60, anchor_date=start) == Interval(datetime.timedelta(minutes=1), anchor_date=start))
print(Interval(60, anchor_date=start) == Interval(61, anchor_date=start), Interval(1.5).interval)
print(Schedule(cron="0 0 * * *", anchor_date=start))
full = Cron("0 8 * * MON", timezone="Europe/Zurich", day_or=False, active=False, slug="s")
print(full.cron, full.timezone, full.day_or, full.active, full.slug, full.parameters)
print(RRule("FREQ=DAILY", parameters={"a": 1}).parameters, Interval(5).anchor_date.tzinfo)
for cron in (
    *("@daily", "*/5 * * * *", "0 0 1 1 * *", "0 0 1 1", "61 * * * *", "0 0 L * *", "nonsense"),
    *("0 0 * * 5#2", "@reboot", "", "0-70 * * * *", "0 0 * jan-mar *", "0 0 * * 7", "*/0 * * * *"),
    *("1,2,3 * * * *", "5/15 * * * *", "* * * * * * *", "* * * * * * * *"),
):
    try:
        print(Cron(cron).cron)
    except ValueError as error:
        print("refused", cron)
for rrule in (
    *("RRULE:FREQ=DAILY;INTERVAL=1", "FREQ=MONTHLY;BYDAY=2FR", "nonsense", "FREQ=NO", ""),
    *(
        "FREQ=DAILY;INTERVAL=x",
        "FREQ=DAILY;BYHOUR=25",
        "FREQ=DAILY;UNTIL=soon",
        "FREQ=DAILY;BYHOUR=8",
    ),
    *("FREQ=DAILY;UNTIL=20300101T000000Z", "FREQ=DAILY;BYHOUR=8,20"),
    *("FREQ=DAILY;BYDAY=2XX", "freq=daily", "FREQ=DAILY;COUNT=3", "FREQ=DAILY;" * 700),
):
    try:
        print(RRule(rrule).rrule)
    except ValueError as error:
        print("refused", rrule[:20])
try:
    Schedule(cron="* * * * *", rrule="FREQ=DAILY")
except ValueError:
    print("refused both")
try:
    full.active = True
except AttributeError as error:
    print(type(error).__name__)

# prints: True
# prints: False 0:00:01.500000
# prints: Schedule(interval=None, cron='0 0 * * *', rrule=None, timezone=None, anchor_date=datetime.datetime(2024, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), day_or=True, active=True, parameters={}, slug=None)
# prints: 0 8 * * MON Europe/Zurich False False s {}
# prints: {'a': 1} UTC
# prints: @daily
# prints: */5 * * * *
# prints: 0 0 1 1 * *
# prints: refused 0 0 1 1
# prints: refused 61 * * * *
# prints: 0 0 L * *
# prints: refused nonsense
# prints: 0 0 * * 5#2
# prints: refused @reboot
# prints: refused
# prints: refused 0-70 * * * *
# prints: 0 0 * jan-mar *
# prints: 0 0 * * 7
# prints: refused */0 * * * *
# prints: 1,2,3 * * * *
# prints: 5/15 * * * *
# prints: * * * * * * *
# prints: refused * * * * * * * *
# prints: RRULE:FREQ=DAILY;INTERVAL=1
# prints: FREQ=MONTHLY;BYDAY=2FR
# prints: refused nonsense
# prints: refused FREQ=NO
# prints: refused
# prints: refused FREQ=DAILY;INTERVAL=
# prints: refused FREQ=DAILY;BYHOUR=25
# prints: refused FREQ=DAILY;UNTIL=soo
# prints: FREQ=DAILY;BYHOUR=8
# prints: FREQ=DAILY;UNTIL=20300101T000000Z
# prints: FREQ=DAILY;BYHOUR=8,20
# prints: refused FREQ=DAILY;BYDAY=2XX
# prints: freq=daily
# prints: FREQ=DAILY;COUNT=3
# prints: refused FREQ=DAILY;FREQ=DAIL
# prints: refused both
# prints: FrozenInstanceError
