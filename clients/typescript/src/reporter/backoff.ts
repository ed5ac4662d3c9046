/** Waiting times between attempts: they double, with jitter. */

/** See the module. */
export class Backoff {
  private attempt = 0;

  /**
   * @param firstMs - The waiting time after the first failure, before jitter.
   * @param longestMs - The upper bound, also of the times that the service asks for.
   * @param random - Returns a random number from 0 to below 1.
   */
  constructor(
    private readonly firstMs: number,
    private readonly longestMs: number,
    private readonly random: () => number = Math.random,
  ) {}

  /** Start again with the first waiting time, after a success. */
  reset(): void {
    this.attempt = 0;
  }

  /**
   * Return the next waiting time in milliseconds.
   *
   * @param atLeastMs - The time that the service asked for.
   */
  next(atLeastMs = 0): number {
    const own = Math.min(this.firstMs * 2 ** Math.min(this.attempt++, 30), this.longestMs);
    const jittered = own * (0.5 + this.random() / 2);
    const asked = Math.min(atLeastMs, this.longestMs) * (1 + this.random() * 0.2);
    return Math.max(jittered, asked);
  }
}
