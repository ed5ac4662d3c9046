"""Code's view of its run, and its logs and prints, as a real service stores them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.flow_processes import run_code
from tests.support.otlp import OtlpReceiver

from flowspan import get_client
from flowspan.client import LogLevel, RunFilter

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

FACTS = """
    import asyncio, json, os
    from flowspan import flow, runtime, tags, task
    from flowspan.context import FlowRunContext, TagsContext, TaskRunContext, get_run_context

    facts = {}

    def note():
        context = get_run_context()
        run = getattr(context, "task_run", None) or context.flow_run
        facts[run.name] = {
            "flow": {name: str(getattr(runtime.flow_run, name)) for name in dir(runtime.flow_run)},
            "task": {name: str(getattr(runtime.task_run, name)) for name in dir(runtime.task_run)},
            "context": [str(run.id), run.tags, str(context.start_time), context.parameters],
        }
        assert runtime.deployment.flow_run_id == runtime.flow_run.id
        assert runtime.deployment.parameters == runtime.flow_run.parameters
        assert str(FlowRunContext.get().flow_run.id) == runtime.flow_run.id
        assert (TaskRunContext.get() is None) == (runtime.task_run.id is None)
        os.environ["FLOWSPAN__RUNTIME__FLOW_RUN__NAME"] = "for a test"
        assert runtime.flow_run.name == "for a test"
        del os.environ["FLOWSPAN__RUNTIME__FLOW_RUN__NAME"]

    @task(tags=["io"], retries=1)
    def step(x):
        note()
        if runtime.task_run.run_count == 1:
            raise ValueError

    @task(tags=["io"], retries=1)
    async def later(x):
        await asyncio.sleep(0)
        note()
        if runtime.task_run.run_count == 1:
            raise ValueError

    @flow(version="7", flow_run_name="inner")
    def inner(day: str):
        note()
        step(1)

    @flow(flow_run_name="outer")
    async def outer():
        note()
        with tags("nightly"):
            assert TagsContext.get().current_tags == {"nightly"}
            inner("monday")
            await later(2)
        assert TagsContext.get().current_tags == set()

    @flow(flow_run_name="plain")
    def plain():
        note()
        with tags("weekly"):
            asyncio.run(later(3))

    asyncio.run(outer())
    plain()
    assert FlowRunContext.get() is None and TaskRunContext.get() is None
    print(json.dumps(facts))
"""


def test_what_code_learns_of_its_run_is_what_the_service_knows(service: ServiceProcess) -> None:
    output = run_code(FACTS, home=service.home / "client", address=service.address)
    facts = json.loads(output.splitlines()[-1])
    with get_client(sync_client=True, address=service.address) as client:
        runs = {run.name: run for run in client.read_flow_runs()}
        tasks = {(run.flow_run_id, run.name): run for run in client.read_task_runs()}
    assert set(runs) == {"outer", "inner", "plain"}
    for name, run in runs.items():
        told = facts[name]["flow"]
        assert told["id"] == facts[name]["context"][0] == str(run.id)
        assert told["name"] == run.name
        assert told["flow_name"] == run.flow_name
        assert told["flow_version"] == str(run.flow_version or None)
        assert told["parameters"] == str(run.parameters.json() if run.parameters else {})
        assert told["parent_flow_run_id"] == str(run.parent_run_id)
        assert told["root_flow_run_id"] == str(run.root_run_id)
        assert told["tags"] == str(list(run.tags))
        assert told["scheduled_start_time"] == facts[name]["context"][2] == str(run.created_at)
        assert facts[name]["task"]["id"] == "None"
    for name, owner, argument in (("step-0", "inner", 1), ("later-0", "plain", 3)):
        run = tasks[runs[owner].id, name]
        told = facts[name]["task"]
        assert (told["id"], told["name"], told["task_name"]) == (str(run.id), name, run.task_name)
        assert told["tags"] == str(list(run.tags))
        assert told["run_count"] == str(run.attempt) == "2"
        assert told["parameters"] == str({"x": argument})
        assert facts[name]["context"][3] == {"x": argument}
        assert facts[name]["flow"]["id"] == str(runs[owner].id)
    assert runs["inner"].tags == ("nightly",)
    assert tasks[runs["inner"].id, "step-0"].tags == ("io", "nightly")
    assert tasks[runs["plain"].id, "later-0"].tags == ("io", "weekly")


LOGS = """
    import asyncio, logging, threading, warnings
    from flowspan import flow, get_run_logger, task
    from flowspan.context import get_run_context
    from flowspan.logging import get_logger

    logging.captureWarnings(True)
    logging.getLogger("library").setLevel(logging.WARNING)
    logging.getLogger("closed").propagate = False

    def speak(logger, who):
        logger.info("%s speaks", who, extra={"mine": 1})
        try:
            raise KeyError(who)
        except KeyError:
            logger.exception("%s fails", who)
        get_logger("my.module").warning("%s warns", who)
        logging.getLogger("library").info("%s says too much", who)
        logging.getLogger("closed").info("%s is heard", who)
        warnings.warn(f"{who} is deprecated")
        thread = threading.Thread(target=lambda: logger.info("%s in a thread", who))
        thread.start()
        thread.join()
        print(who, "prints")

    @task
    def inherits():
        speak(get_run_logger(), "inherits")

    @task(log_prints=False)
    async def quiet():
        speak(get_run_logger(get_run_context()), "quiet")

    @flow
    def subflow():
        inherits()
        print("subflow prints")

    @flow(log_prints=True)
    async def outer():
        speak(get_run_logger(), "outer")
        await asyncio.to_thread(logging.getLogger("my.module").info, "in a thread of asyncio's")
        subflow()
        await quiet()

    @flow
    def by_setting():
        print("by setting")

    @task
    async def mute():
        print("unheard")

    @task(log_prints=True)
    async def loud():
        print("heard")

    @flow(log_prints=False)
    async def ended():
        await mute()
        await loud()

    @task
    async def too():
        print("by setting, too")

    @flow
    async def by_setting_too():
        await too()

    @task
    def plainly_mute():
        print("unheard")

    @task(log_prints=True)
    def plainly_loud():
        print("heard")

    @flow(log_prints=False)
    def plainly_ended():
        plainly_mute()
        plainly_loud()

    asyncio.run(outer())
    by_setting()
    asyncio.run(by_setting_too())
    asyncio.run(ended())
    plainly_ended()
"""


def test_what_runs_say_is_stored_with_them(service: ServiceProcess) -> None:
    env = {
        "FLOWSPAN_LOG_PRINTS": "true",
        "FLOWSPAN_EXTRA_LOGGERS": "closed",
        "PYTHONWARNINGS": "always",
    }
    with OtlpReceiver() as receiver:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.endpoint
        run_code(LOGS, home=service.home / "client", address=service.address, env=env)
        spans = {span.run_id: span for span in receiver.spans}
    with get_client(sync_client=True, address=service.address) as client:
        runs = [*client.read_flow_runs(), *client.read_task_runs()]
        for run in runs:  # Wherever it was logged: in a thread, from a coroutine, by a print.
            ids = {(log.trace_id, log.span_id) for log in client.read_logs(run.id)}
            expected = {(spans[str(run.id)].trace_id, spans[str(run.id)].span_id)}
            assert ids == (set() if run.function_name.endswith("mute") else expected)
        said = {
            run.function_name: [
                log.message.split("\n")[0]
                for log in client.read_logs(run.id)
                if log.logger not in {"flowspan.flow_runs", "flowspan.task_runs"}
                or not log.message.startswith(("Begins", "Completed"))
            ]
            for run in runs
        }
        (run,) = client.read_task_runs(RunFilter(function_names=("quiet",)))
        (failed,) = [log for log in client.read_logs(run.id) if "quiet fails" in log.message]
    for who, prints in (("inherits", True), ("quiet", False), ("outer", True)):
        texts = [text for text in said[who] if "deprecated" not in text]
        expected = ["speaks", "fails", "warns", "is heard", "in a thread"]
        expected += ["prints"] if prints else []
        expected = [f"{who} {text}" for text in expected]
        if who == "outer":
            expected += ["in a thread of asyncio's"]
        assert texts == expected
        assert sum("UserWarning" in text for text in said[who]) == 1
    assert said["subflow"] == ["subflow prints"]
    assert said["by-setting"] == ["by setting"]
    assert said["too"] == ["by setting, too"]
    # log_prints=False turns the setting off for nested calls, until one of them turns it on.
    assert said["mute"] == said["plainly_mute"] == []
    assert said["loud"] == said["plainly_loud"] == ["heard"]
    assert failed.message.endswith("KeyError: 'quiet'")
    assert failed.level == LogLevel.ERROR
