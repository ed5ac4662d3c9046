"""Resize pictures with asynchronous tasks that are submitted, and wait for them."""

import asyncio

from prefect import flow, task
from prefect.futures import as_completed, wait


@task
async def download(name: str) -> bytes:
    await asyncio.sleep(0.01)
    return name.encode() * 100


@task
async def resize(picture: bytes, width: int = 10) -> bytes:
    await asyncio.sleep(0.01)
    return picture[:width]


@task
def describe(picture: bytes) -> str:
    return picture.decode()


@flow(log_prints=False)
async def thumbnails(names: list[str], width: int) -> dict[str, str]:
    downloads = {name: download.submit(name) for name in names}
    resized = {name: resize.submit(future, width=width) for name, future in downloads.items()}
    texts = {name: describe.submit(future) for name, future in resized.items()}
    done, not_done = wait(list(texts.values()))
    print("done:", len(done), "not done:", len(not_done))
    for future in resized.values():
        print(type(future.result()).__name__, future.state.is_completed())
    return {name: future.result() for name, future in texts.items()}


@flow
async def in_order_of_size(names: list[str]) -> list[int]:
    futures = download.map(names)
    sizes = [len(future.result()) for future in as_completed(futures)]
    return sorted(sizes)


@flow
async def mapped(names: list[str]):
    pictures = download.map(names)
    small = resize.map(pictures, width=4)
    return small.result()


async def main():
    print(await thumbnails(["cat", "horse"], width=7))
    print(await in_order_of_size(["cat", "horse", "ox"]))
    print(await mapped(["cat", "horse"]))


asyncio.run(main())

# prints: done: 2 not done: 0
# prints: bytes True
# prints: bytes True
# prints: {'cat': 'catcatc', 'horse': 'horseho'}
# prints: [200, 300, 500]
# prints: [b'catc', b'hors']
