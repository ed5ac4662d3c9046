"""Walk through the pages of an API, and keep what is new."""

from typing import Optional

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

ISSUES = [
    {"number": n, "state": "open" if n % 3 else "closed", "author": "abc"[n % 3]}
    for n in range(1, 24)
]


class Session:
    """As requests.Session, with the answers in memory."""

    def __init__(self, page_size: int = 10):
        self.page_size = page_size
        self.requested: list[int] = []

    def get(self, page: int) -> dict:
        self.requested.append(page)
        start = (page - 1) * self.page_size
        items = ISSUES[start : start + self.page_size]
        has_more = start + self.page_size < len(ISSUES)
        return {"items": items, "next": page + 1 if has_more else None}


@task(task_run_name="page-{page}", cache_policy=NO_CACHE, retries=3)
def fetch_page(session: Session, page: int) -> dict:
    return session.get(page)


@task
def count_by_author(issues: list[dict]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for issue in issues:
        counts[issue["author"]] = counts.get(issue["author"], 0) + 1
    return dict(sorted(counts.items()))


@flow
def fetch_all(session: Session, state: str = "open", limit: Optional[int] = None) -> list[dict]:
    found: list[dict] = []
    page: Optional[int] = 1
    while page is not None:
        answer = fetch_page(session, page)
        found += [issue for issue in answer["items"] if issue["state"] == state]
        if limit is not None and len(found) >= limit:
            return found[:limit]
        page = answer["next"]
    return found


@flow(name="open-issues-report", description="How many open issues each author has.")
def report():
    session = Session()
    issues = fetch_all(session)
    print("open issues:", len(issues), "pages:", session.requested)
    counts = count_by_author.submit(issues)
    first = fetch_all(session, limit=3)
    print("first:", [issue["number"] for issue in first], "pages:", session.requested)
    return counts.result()


print(report())
print(report.name, "|", report.description)
print(fetch_all.name, "|", fetch_page.name)

# prints: open issues: 16 pages: [1, 2, 3]
# prints: first: [1, 2, 4] pages: [1, 2, 3, 1]
# prints: {'b': 8, 'c': 8}
# prints: open-issues-report | How many open issues each author has.
# prints: fetch-all | fetch_page
