package dev.flowspan;

import com.google.protobuf.ByteString;
import dev.flowspan.internal.Core;
import dev.flowspan.internal.Pages;
import dev.flowspan.v1.DeleteVariableRequest;
import dev.flowspan.v1.GetVariableRequest;
import dev.flowspan.v1.ListVariablesRequest;
import dev.flowspan.v1.ListVariablesResponse;
import dev.flowspan.v1.Payload;
import dev.flowspan.v1.SetVariableRequest;
import dev.flowspan.v1.Variable;
import dev.flowspan.v1.VariableServiceGrpc;
import java.util.List;
import java.util.Optional;

/**
 * The variables of the service: named JSON values that flows and people share. All methods throw
 * {@link FlowspanException} if the call fails.
 */
public final class Variables {
  private static final int PAGE_SIZE = 200;

  private final Core core;

  Variables(Core core) {
    this.core = core;
  }

  /**
   * Sets a variable, and replaces an existing one.
   *
   * @param name lower-case letters, digits, dashes and underscores
   * @param value a value that can be encoded as JSON
   * @return the variable as stored
   */
  public Variable set(String name, Object value) {
    return set(name, value, List.of(), true);
  }

  /**
   * Sets a variable with tags.
   *
   * @param overwrite true to replace an existing variable of this name, including its tags
   * @throws FlowspanException with the reason ALREADY_EXISTS if it exists and {@code overwrite} is
   *     not set
   */
  public Variable set(String name, Object value, List<String> tags, boolean overwrite) {
    Payload payload =
        Payload.newBuilder()
            .setEncoding("json")
            .setData(ByteString.copyFromUtf8(core.json().encode(value)))
            .build();
    Variable variable =
        Variable.newBuilder().setName(name).setValue(payload).addAllTags(tags).build();
    return core.call(
            VariableServiceGrpc.getSetVariableMethod(),
            SetVariableRequest.newBuilder().setVariable(variable).setOverwrite(overwrite).build())
        .getVariable();
  }

  /**
   * Gets the value of a variable.
   *
   * @param type the type of the value; {@code Object.class} gives maps, lists, strings and numbers
   * @return the value; empty if the variable does not exist, or is null
   */
  public <T> Optional<T> get(String name, Class<T> type) {
    try {
      Variable variable =
          core.call(
                  VariableServiceGrpc.getGetVariableMethod(),
                  GetVariableRequest.newBuilder().setName(name).build())
              .getVariable();
      return Optional.ofNullable(
          core.json().decode(variable.getValue().getData().toStringUtf8(), type));
    } catch (FlowspanException error) {
      if (error.reason().equals("NOT_FOUND")) {
        return Optional.empty();
      }
      throw error;
    }
  }

  /** Lists the variables whose names begin with a prefix, by name. */
  public Iterable<Variable> list(String prefix) {
    return new Pages<>(
        token -> {
          ListVariablesResponse page =
              core.call(
                  VariableServiceGrpc.getListVariablesMethod(),
                  ListVariablesRequest.newBuilder()
                      .setNamePrefix(prefix)
                      .setPageSize(PAGE_SIZE)
                      .setPageToken(token)
                      .build());
          return new Pages.Page<>(page.getVariablesList(), page.getNextPageToken());
        });
  }

  /**
   * Deletes a variable.
   *
   * @return true if it existed
   */
  public boolean delete(String name) {
    return core.call(
            VariableServiceGrpc.getDeleteVariableMethod(),
            DeleteVariableRequest.newBuilder().setName(name).build())
        .getDeleted();
  }
}
