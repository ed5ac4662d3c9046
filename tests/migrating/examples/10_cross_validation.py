"""Cross validation with a subflow for each fold, and early stopping."""

from statistics import mean
from typing import NamedTuple

from prefect import flow, task
from prefect.states import Completed

LOSSES = {
    0: [0.9, 0.6, 0.5, 0.45, 0.46, 0.47, 0.4],
    1: [0.8, 0.7, 0.65, 0.66, 0.67, 0.3],
    2: [0.7, 0.5, 0.4, 0.3, 0.2, 0.1],
}


class Epoch(NamedTuple):
    number: int
    loss: float


class EarlyStopping:
    def __init__(self, patience: int):
        self.patience = patience
        self.best = float("inf")
        self.waited = 0

    def should_stop(self, loss: float) -> bool:
        if loss < self.best:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        return self.waited >= self.patience


@task(task_run_name="fold{fold}-epoch{number}")
def train_epoch(fold: int, number: int) -> Epoch:
    return Epoch(number, LOSSES[fold][number])


@task
def save_checkpoint(epoch: Epoch, checkpoints: list[int]):
    checkpoints.append(epoch.number)
    return checkpoints


@flow(flow_run_name="fold-{fold}")
def train_fold(fold: int, max_epochs: int, patience: int = 2):
    stopping = EarlyStopping(patience)
    checkpoints: list[int] = []
    for number in range(max_epochs):
        epoch = train_epoch(fold, number)
        if stopping.should_stop(epoch.loss):
            return Completed(
                message=f"no better for {patience} epochs",
                name="EarlyStopped",
                data={"loss": stopping.best, "epochs": number + 1},
            )
        if number % 2 == 0:
            checkpoints = save_checkpoint(epoch, checkpoints)
    print(f"fold {fold}: checkpoints {checkpoints}")
    return {"loss": stopping.best, "epochs": max_epochs}


@flow
def cross_validate(folds: int = 3, max_epochs: int = 6) -> float:
    losses = []
    for fold in range(folds):
        state = train_fold(fold, max_epochs, return_state=True)
        result = state.result()
        print(f"fold {fold}: {state.name}, {result['epochs']} epochs, loss {result['loss']}")
        losses.append(result["loss"])
    return round(mean(losses), 3)


print("mean loss:", cross_validate())
stopped = train_fold(0, 6, return_state=True)
print(stopped.type.value, stopped.name, "|", stopped.message)

# prints: fold 0: EarlyStopped, 6 epochs, loss 0.45
# prints: fold 1: EarlyStopped, 5 epochs, loss 0.65
# prints: fold 2: checkpoints [0, 2, 4]
# prints: fold 2: Completed, 6 epochs, loss 0.1
# prints: mean loss: 0.4
# prints: COMPLETED EarlyStopped | no better for 2 epochs
