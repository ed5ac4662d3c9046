from flowspan import flow


class Together(ExceptionGroup):
    def __str__(self):
        return self.message


@flow
def etl():
    raise Together("two things failed", [ValueError("first"), OSError("second")])


etl(return_state=True)
