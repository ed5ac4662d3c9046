package dev.flowspan;

/**
 * Thrown inside a run that is being cancelled: when it calls another run, and by {@link
 * Run#checkCancelled()}. Let it pass, and the run ends as CANCELLED.
 */
public final class CancelledRunException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final String runId;

  /**
   * Creates the exception.
   *
   * @param runId the id of the cancelled run
   * @param reason the reason, for people
   */
  public CancelledRunException(String runId, String reason) {
    super(reason);
    this.runId = runId;
  }

  /** Returns the id of the cancelled run. */
  public String runId() {
    return runId;
  }
}
