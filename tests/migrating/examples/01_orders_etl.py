"""Load yesterday's orders into a small warehouse: extract, transform, load."""

import csv
import io
import sqlite3
from collections import defaultdict

from prefect import flow, task

RAW = """order_id,customer,amount,currency
1001,anna,19.90,EUR
1002,bert,250.00,USD
1003,anna,,EUR
1004,cleo,75.50,EUR
1005,bert,12.25,USD
"""
RATES = {"EUR": 1.0, "USD": 0.9}


@task(name="Extract orders", retries=2, retry_delay_seconds=0)
def extract(source: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(source)))


@task(name="Clean orders")
def clean(rows: list[dict]) -> list[dict]:
    cleaned = [row for row in rows if row["amount"]]
    print(f"dropped {len(rows) - len(cleaned)} of {len(rows)} rows")
    return cleaned


@task
def to_euros(rows: list[dict]) -> list[dict]:
    return [
        {**row, "amount": round(float(row["amount"]) * RATES[row["currency"]], 2)} for row in rows
    ]


@task
def total_by_customer(rows: list[dict]) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for row in rows:
        totals[row["customer"]] += row["amount"]
    return {customer: round(total, 2) for customer, total in totals.items()}


@task(persist_result=False)
def load(connection: sqlite3.Connection, totals: dict[str, float]) -> int:
    connection.execute("CREATE TABLE IF NOT EXISTS totals (customer TEXT PRIMARY KEY, euros REAL)")
    connection.executemany("INSERT OR REPLACE INTO totals VALUES (?, ?)", totals.items())
    connection.commit()
    return connection.total_changes


@flow(name="Orders ETL")
def orders_etl(source: str = RAW) -> int:
    connection = sqlite3.connect(":memory:")
    raw = extract(source)
    rows = to_euros(clean(raw))
    totals = total_by_customer(rows)
    changes = load(connection, totals)
    for customer, euros in connection.execute("SELECT * FROM totals ORDER BY euros DESC"):
        print(f"{customer}: {euros}")
    connection.close()
    return changes


print("rows written:", orders_etl())

# prints: dropped 1 of 5 rows
# prints: bert: 236.03
# prints: cleo: 75.5
# prints: anna: 19.9
# prints: rows written: 3
