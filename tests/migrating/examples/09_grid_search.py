"""Look for the best parameters of a small model: a line through noisy points."""

import itertools
import random
from dataclasses import dataclass

from prefect import flow, task, unmapped
from prefect.task_runners import ThreadPoolTaskRunner


@dataclass(frozen=True)
class Params:
    rate: float
    epochs: int


@dataclass
class Model:
    slope: float
    bias: float

    def predict(self, x: float) -> float:
        return self.slope * x + self.bias


Points = list[tuple[float, float]]


@task(persist_result=True)
def make_data(seed: int, size: int = 40) -> Points:
    rng = random.Random(seed)
    return [(x / size, 3 * x / size + 1 + rng.uniform(-0.1, 0.1)) for x in range(size)]


@task
def split(points: Points) -> tuple[Points, Points]:
    return points[::2], points[1::2]


@task(task_run_name="train-{params.rate}-{params.epochs}", tags=["training"])
def train(points: Points, params: Params) -> Model:
    model = Model(0.0, 0.0)
    for _ in range(params.epochs):
        for x, y in points:
            error = model.predict(x) - y
            model.slope -= params.rate * error * x
            model.bias -= params.rate * error
    return model


@task
def evaluate(model: Model, points: Points) -> float:
    return sum((model.predict(x) - y) ** 2 for x, y in points) / len(points)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=3))
def grid_search(rates: list[float], epochs: list[int], seed: int = 7) -> tuple[Params, Model]:
    training, test = split(make_data(seed))
    grid = [Params(rate, count) for rate, count in itertools.product(rates, epochs)]
    models = train.map(points=unmapped(training), params=grid)
    errors = evaluate.map(models, unmapped(test)).result()
    ranked = sorted(zip(errors, range(len(grid))))
    for error, index in ranked[:3]:
        print(f"{grid[index]}: {'good' if error < 0.01 else 'poor'}")
    best = ranked[0][1]
    return grid[best], models[best].result()


params, model = grid_search(rates=[0.001, 0.1, 0.3], epochs=[1, 50])
print("best:", params.epochs, "epochs, slope", round(model.slope), "bias", round(model.bias))
try:
    grid_search(rates="fast", epochs=[1])
except Exception as error:
    print(type(error).__name__, "rates" in str(error))

# prints: Params(rate=0.1, epochs=50): good
# prints: Params(rate=0.3, epochs=50): good
# prints: Params(rate=0.1, epochs=1): poor
# prints: best: 50 epochs, slope 3 bias 1
# prefect prints: ParameterTypeError True
# flowspan prints: ParameterError True
# because: ParameterTypeError is another name of ParameterError
