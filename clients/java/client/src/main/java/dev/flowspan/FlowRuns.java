package dev.flowspan;

import dev.flowspan.internal.Core;
import dev.flowspan.internal.Pages;
import dev.flowspan.internal.Uuids;
import dev.flowspan.v1.CancelFlowRunRequest;
import dev.flowspan.v1.CancelFlowRunResponse;
import dev.flowspan.v1.CountFlowRunsRequest;
import dev.flowspan.v1.CreateFlowRunRequest;
import dev.flowspan.v1.DeleteFlowRunRequest;
import dev.flowspan.v1.FlowRun;
import dev.flowspan.v1.FlowRunServiceGrpc;
import dev.flowspan.v1.GetFlowRunRequest;
import dev.flowspan.v1.ListFlowRunTransitionsRequest;
import dev.flowspan.v1.ListFlowRunTransitionsResponse;
import dev.flowspan.v1.ListFlowRunsRequest;
import dev.flowspan.v1.ListFlowRunsResponse;
import dev.flowspan.v1.RunFilter;
import dev.flowspan.v1.RunOrder;
import dev.flowspan.v1.SetFlowRunStateRequest;
import dev.flowspan.v1.SetFlowRunStateResponse;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateCount;
import dev.flowspan.v1.StateType;
import dev.flowspan.v1.Transition;
import java.util.EnumMap;
import java.util.Map;

/** The flow runs of the service. All methods throw {@link FlowspanException} if the call fails. */
public final class FlowRuns {
  private static final int PAGE_SIZE = 200;
  private static final int TRANSITIONS_PAGE_SIZE = 1000;

  private final Core core;

  FlowRuns(Core core) {
    this.core = core;
  }

  /**
   * Creates a run that no process executes yet. Without an id, it gets one here, so that a repeated
   * call creates no second run.
   *
   * @param run the run; its flow name and state (SCHEDULED or PENDING) are required
   * @return the run as stored
   * @throws FlowspanException with the reason ALREADY_EXISTS if the id is taken
   */
  public FlowRun create(FlowRun run) {
    FlowRun named = run.getId().isEmpty() ? run.toBuilder().setId(Uuids.next()).build() : run;
    CreateFlowRunRequest request = CreateFlowRunRequest.newBuilder().setFlowRun(named).build();
    return core.call(FlowRunServiceGrpc.getCreateFlowRunMethod(), request).getFlowRun();
  }

  /**
   * Deletes a run with all runs that it called, their histories and logs.
   *
   * @param force true to delete runs that have not ended as well
   * @return the number of deleted runs; 0 if there was nothing to delete
   */
  public long delete(String id, boolean force) {
    DeleteFlowRunRequest request =
        DeleteFlowRunRequest.newBuilder().setId(id).setForce(force).build();
    return core.call(FlowRunServiceGrpc.getDeleteFlowRunMethod(), request).getDeletedRunCount();
  }

  /**
   * Gets a run.
   *
   * @throws FlowspanException with the reason NOT_FOUND if it does not exist
   */
  public FlowRun get(String id) {
    GetFlowRunRequest request = GetFlowRunRequest.newBuilder().setId(id).build();
    return core.call(FlowRunServiceGrpc.getGetFlowRunMethod(), request).getFlowRun();
  }

  /** Lists runs, newest first. Pages are read while you iterate. */
  public Iterable<FlowRun> list(RunFilter filter) {
    return list(filter, RunOrder.RUN_ORDER_NEWEST_FIRST);
  }

  /** Lists runs in an order. Pages are read while you iterate. */
  public Iterable<FlowRun> list(RunFilter filter, RunOrder order) {
    return new Pages<>(
        token -> {
          ListFlowRunsResponse page =
              core.call(
                  FlowRunServiceGrpc.getListFlowRunsMethod(),
                  ListFlowRunsRequest.newBuilder()
                      .setFilter(filter)
                      .setOrder(order)
                      .setPageSize(PAGE_SIZE)
                      .setPageToken(token)
                      .build());
          return new Pages.Page<>(page.getFlowRunsList(), page.getNextPageToken());
        });
  }

  /** Counts runs by the type of their state. Types without runs are left out. */
  public Map<StateType, Long> count(RunFilter filter) {
    CountFlowRunsRequest request = CountFlowRunsRequest.newBuilder().setFilter(filter).build();
    Map<StateType, Long> counts = new EnumMap<>(StateType.class);
    for (StateCount count :
        core.call(FlowRunServiceGrpc.getCountFlowRunsMethod(), request).getCountsList()) {
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
  public CancelFlowRunResponse cancel(String id, String reason) {
    if (!core.has("cancel.v1")) {
      return cancelAlone(id, reason);
    }
    return core.call(
        FlowRunServiceGrpc.getCancelFlowRunMethod(),
        CancelFlowRunRequest.newBuilder().setId(id).setReason(reason).build());
  }

  /** Cancels through the state: older services have no other way. */
  private CancelFlowRunResponse cancelAlone(String id, String reason) {
    State state =
        State.newBuilder().setType(StateType.STATE_TYPE_CANCELLING).setMessage(reason).build();
    SetFlowRunStateResponse response = setState(id, state);
    return CancelFlowRunResponse.newBuilder()
        .setVerdict(response.getVerdict())
        .setFlowRun(response.getFlowRun())
        .build();
  }

  /** Requests a state for this run alone. A state that breaks the rules is a verdict. */
  public SetFlowRunStateResponse setState(String id, State state) {
    return core.call(
        FlowRunServiceGrpc.getSetFlowRunStateMethod(),
        SetFlowRunStateRequest.newBuilder().setId(id).setState(state).build());
  }

  /** Lists the history of a run, in order. */
  public Iterable<Transition> transitions(String id) {
    return new Pages<>(
        token -> {
          ListFlowRunTransitionsResponse page =
              core.call(
                  FlowRunServiceGrpc.getListFlowRunTransitionsMethod(),
                  ListFlowRunTransitionsRequest.newBuilder()
                      .setId(id)
                      .setPageSize(TRANSITIONS_PAGE_SIZE)
                      .setPageToken(token)
                      .build());
          return new Pages.Page<>(page.getTransitionsList(), page.getNextPageToken());
        });
  }
}
