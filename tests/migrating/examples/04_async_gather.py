"""Ask many shops for a price at once, with asyncio.gather."""

import asyncio

from prefect import flow, task

PRICES = {"alpha": 12.0, "beta": 10.5, "gamma": None, "delta": 11.25}


class AsyncClient:
    """As httpx.AsyncClient."""

    open = 0
    most = 0

    async def __aenter__(self):
        return self

    async def __aexit__(self, *details):
        return None

    async def get(self, shop: str) -> float:
        AsyncClient.open += 1
        AsyncClient.most = max(AsyncClient.most, AsyncClient.open)
        await asyncio.sleep(0.05)
        AsyncClient.open -= 1
        price = PRICES[shop]
        if price is None:
            raise LookupError(f"{shop} does not have it")
        return price


@task(retries=1, retry_delay_seconds=0, log_prints=True)
async def ask(shop: str) -> tuple[str, float]:
    async with AsyncClient() as client:
        return shop, await client.get(shop)


@task
async def cheapest(offers: list[tuple[str, float]]) -> tuple[str, float]:
    return min(offers, key=lambda offer: offer[1])


@flow
async def compare_prices(shops: list[str], quiet: bool = False) -> tuple[str, float]:
    answers = await asyncio.gather(*[ask(shop) for shop in shops], return_exceptions=True)
    offers = []
    for shop, answer in zip(shops, answers):
        if not isinstance(answer, Exception):
            offers.append(answer)
        if not quiet:
            print(f"{shop}: {answer!r}")
    if not offers:
        raise LookupError(f"none of {len(shops)} shops has it")
    return await cheapest(offers)


async def main():
    best = await compare_prices(list(PRICES))
    print("best:", best)
    print("asked at once:", AsyncClient.most > 1)
    async with asyncio.timeout(10):
        states = await asyncio.gather(
            compare_prices(["alpha"], quiet=True, return_state=True),
            compare_prices(["gamma"], quiet=True, return_state=True),
        )
    print([(state.name, state.message) for state in states])
    print(await states[0].result())


asyncio.run(main())

# prints: alpha: ('alpha', 12.0)
# prints: beta: ('beta', 10.5)
# prints: gamma: LookupError('gamma does not have it')
# prints: delta: ('delta', 11.25)
# prints: best: ('beta', 10.5)
# prints: asked at once: True
# prefect prints: [('Completed', None), ('Failed', 'Flow run encountered an exception: LookupError: none of 1 shops has it')]
# flowspan prints: [('Completed', ''), ('Failed', 'LookupError: none of 1 shops has it')]
# prints: ('alpha', 12.0)
# because: a message is the error alone, and empty where there is none
