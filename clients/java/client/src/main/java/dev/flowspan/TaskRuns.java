package dev.flowspan;

import dev.flowspan.internal.Core;
import dev.flowspan.internal.Pages;
import dev.flowspan.v1.CancelTaskRunRequest;
import dev.flowspan.v1.CancelTaskRunResponse;
import dev.flowspan.v1.CountTaskRunsRequest;
import dev.flowspan.v1.GetTaskRunRequest;
import dev.flowspan.v1.ListTaskRunTransitionsRequest;
import dev.flowspan.v1.ListTaskRunTransitionsResponse;
import dev.flowspan.v1.ListTaskRunsRequest;
import dev.flowspan.v1.ListTaskRunsResponse;
import dev.flowspan.v1.RunFilter;
import dev.flowspan.v1.RunOrder;
import dev.flowspan.v1.SetTaskRunStateRequest;
import dev.flowspan.v1.SetTaskRunStateResponse;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateCount;
import dev.flowspan.v1.StateType;
import dev.flowspan.v1.TaskRun;
import dev.flowspan.v1.TaskRunServiceGrpc;
import dev.flowspan.v1.Transition;
import java.util.EnumMap;
import java.util.Map;

/** The task runs of the service. All methods throw {@link FlowspanException} if the call fails. */
public final class TaskRuns {
  private static final int PAGE_SIZE = 200;
  private static final int TRANSITIONS_PAGE_SIZE = 1000;

  private final Core core;

  TaskRuns(Core core) {
    this.core = core;
  }

  /**
   * Gets a run.
   *
   * @throws FlowspanException with the reason NOT_FOUND if it does not exist
   */
  public TaskRun get(String id) {
    GetTaskRunRequest request = GetTaskRunRequest.newBuilder().setId(id).build();
    return core.call(TaskRunServiceGrpc.getGetTaskRunMethod(), request).getTaskRun();
  }

  /** Lists runs, newest first. Pages are read while you iterate. */
  public Iterable<TaskRun> list(RunFilter filter) {
    return list(filter, RunOrder.RUN_ORDER_NEWEST_FIRST);
  }

  /** Lists runs in an order. Pages are read while you iterate. */
  public Iterable<TaskRun> list(RunFilter filter, RunOrder order) {
    return new Pages<>(
        token -> {
          ListTaskRunsResponse page =
              core.call(
                  TaskRunServiceGrpc.getListTaskRunsMethod(),
                  ListTaskRunsRequest.newBuilder()
                      .setFilter(filter)
                      .setOrder(order)
                      .setPageSize(PAGE_SIZE)
                      .setPageToken(token)
                      .build());
          return new Pages.Page<>(page.getTaskRunsList(), page.getNextPageToken());
        });
  }

  /** Counts runs by the type of their state. Types without runs are left out. */
  public Map<StateType, Long> count(RunFilter filter) {
    CountTaskRunsRequest request = CountTaskRunsRequest.newBuilder().setFilter(filter).build();
    Map<StateType, Long> counts = new EnumMap<>(StateType.class);
    for (StateCount count :
        core.call(TaskRunServiceGrpc.getCountTaskRunsMethod(), request).getCountsList()) {
      counts.merge(count.getType(), count.getCount(), Long::sum);
    }
    return counts;
  }

  /**
   * Cancels a run with all runs that it called, in whichever processes they run.
   *
   * @param reason the reason, for people; may be empty
   * @return the verdict, the run after the call, and the number of runs that were asked to stop
   */
  public CancelTaskRunResponse cancel(String id, String reason) {
    if (!core.has("cancel.v1")) {
      return cancelAlone(id, reason);
    }
    return core.call(
        TaskRunServiceGrpc.getCancelTaskRunMethod(),
        CancelTaskRunRequest.newBuilder().setId(id).setReason(reason).build());
  }

  /** Cancels through the state: older services have no other way. */
  private CancelTaskRunResponse cancelAlone(String id, String reason) {
    State state =
        State.newBuilder().setType(StateType.STATE_TYPE_CANCELLING).setMessage(reason).build();
    SetTaskRunStateResponse response = setState(id, state);
    return CancelTaskRunResponse.newBuilder()
        .setVerdict(response.getVerdict())
        .setTaskRun(response.getTaskRun())
        .build();
  }

  /** Requests a state for this run alone. A state that breaks the rules is a verdict. */
  public SetTaskRunStateResponse setState(String id, State state) {
    return core.call(
        TaskRunServiceGrpc.getSetTaskRunStateMethod(),
        SetTaskRunStateRequest.newBuilder().setId(id).setState(state).build());
  }

  /** Lists the history of a run, in order. */
  public Iterable<Transition> transitions(String id) {
    return new Pages<>(
        token -> {
          ListTaskRunTransitionsResponse page =
              core.call(
                  TaskRunServiceGrpc.getListTaskRunTransitionsMethod(),
                  ListTaskRunTransitionsRequest.newBuilder()
                      .setId(id)
                      .setPageSize(TRANSITIONS_PAGE_SIZE)
                      .setPageToken(token)
                      .build());
          return new Pages.Page<>(page.getTransitionsList(), page.getNextPageToken());
        });
  }
}
