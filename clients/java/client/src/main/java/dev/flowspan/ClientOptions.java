package dev.flowspan;

import dev.flowspan.internal.GsonJson;
import java.time.Duration;
import java.util.Objects;
import java.util.function.Supplier;

/**
 * The options of a client. Immutable: each method returns a copy.
 *
 * <pre>{@code
 * ClientOptions.create().address("flowspan.example:4600").tls(TlsOptions.system())
 * }</pre>
 */
public final class ClientOptions {
  private String address;
  private TlsOptions tls;
  private Supplier<String> token;
  private Duration timeout = Duration.ofSeconds(30);
  private Duration connectTimeout = Duration.ofSeconds(10);
  private int callAttempts = 4;
  private Duration keepalive = Duration.ofSeconds(30);
  private int outboxEvents = 100_000;
  private long outboxBytes = 64L << 20;
  private Duration outboxTimeout = Duration.ofSeconds(60);
  private Duration closeTimeout = Duration.ofSeconds(10);
  private boolean shutdownHook = true;
  private Json json = new GsonJson();
  private Object openTelemetry;

  private ClientOptions() {}

  private ClientOptions(ClientOptions other) {
    address = other.address;
    tls = other.tls;
    token = other.token;
    timeout = other.timeout;
    connectTimeout = other.connectTimeout;
    callAttempts = other.callAttempts;
    keepalive = other.keepalive;
    outboxEvents = other.outboxEvents;
    outboxBytes = other.outboxBytes;
    outboxTimeout = other.outboxTimeout;
    closeTimeout = other.closeTimeout;
    shutdownHook = other.shutdownHook;
    json = other.json;
    openTelemetry = other.openTelemetry;
  }

  /** Returns the defaults. */
  public static ClientOptions create() {
    return new ClientOptions();
  }

  /**
   * Sets the address: {@code host:port}, {@code [ip6]:port} or {@code unix:/path}. The default is
   * FLOWSPAN_ADDRESS, then the address that the local service published in its home, then {@code
   * 127.0.0.1:4600}.
   */
  public ClientOptions address(String address) {
    ClientOptions copy = new ClientOptions(this);
    copy.address = Objects.requireNonNull(address, "address");
    return copy;
  }

  /**
   * Connects with TLS. Without this option, the variables FLOWSPAN_TLS, FLOWSPAN_TLS_CA and so on
   * say whether and how to; they have no effect on Unix sockets.
   */
  public ClientOptions tls(TlsOptions tls) {
    ClientOptions copy = new ClientOptions(this);
    copy.tls = Objects.requireNonNull(tls, "tls");
    return copy;
  }

  /** Sets the bearer token. The default is FLOWSPAN_TOKEN, then the file FLOWSPAN_TOKEN_FILE. */
  public ClientOptions token(String token) {
    Objects.requireNonNull(token, "token");
    return token(() -> token);
  }

  /** Sets a source of bearer tokens, which is asked before each call. */
  public ClientOptions token(Supplier<String> token) {
    ClientOptions copy = new ClientOptions(this);
    copy.token = Objects.requireNonNull(token, "token");
    return copy;
  }

  /** Sets the time for a call, with all its retries; 30 s by default. */
  public ClientOptions timeout(Duration timeout) {
    ClientOptions copy = new ClientOptions(this);
    copy.timeout = positive("timeout", timeout);
    return copy;
  }

  /** Sets the time to wait for the service in {@code connect}; 10 s by default. */
  public ClientOptions connectTimeout(Duration timeout) {
    ClientOptions copy = new ClientOptions(this);
    copy.connectTimeout = positive("connectTimeout", timeout);
    return copy;
  }

  /**
   * Sets the number of attempts of an idempotent call if the service is unavailable; 4 by default.
   *
   * @throws IllegalArgumentException if it is below 1
   */
  public ClientOptions callAttempts(int attempts) {
    ClientOptions copy = new ClientOptions(this);
    copy.callAttempts = (int) atLeastOne("callAttempts", attempts);
    return copy;
  }

  /** Sets the time between keepalive pings while a call is open; 30 s by default, at least 10 s. */
  public ClientOptions keepalive(Duration keepalive) {
    if (keepalive.compareTo(Duration.ofSeconds(10)) < 0) {
      throw new IllegalArgumentException(
          "The keepalive time is " + keepalive + "; the service allows 10 s or more.");
    }
    ClientOptions copy = new ClientOptions(this);
    copy.keepalive = keepalive;
    return copy;
  }

  /**
   * Sets the limits of the events that wait for their ack: 100,000 events and 64 MiB by default.
   * Beyond them, log records are dropped and counted, and callers of runs wait.
   *
   * @throws IllegalArgumentException if one is below 1
   */
  public ClientOptions outbox(int events, long bytes) {
    ClientOptions copy = new ClientOptions(this);
    copy.outboxEvents = (int) atLeastOne("outbox events", events);
    copy.outboxBytes = atLeastOne("outbox bytes", bytes);
    return copy;
  }

  /**
   * Sets the longest time that a run waits for room in a full outbox; 60 s by default. A run that
   * cannot begin in this time fails with RESOURCE_EXHAUSTED. States of runs that have begun are
   * kept beyond the limits instead.
   */
  public ClientOptions outboxTimeout(Duration timeout) {
    ClientOptions copy = new ClientOptions(this);
    copy.outboxTimeout = positive("outboxTimeout", timeout);
    return copy;
  }

  /** Sets the time that {@code close} waits for the last acks; 10 s by default. */
  public ClientOptions closeTimeout(Duration timeout) {
    ClientOptions copy = new ClientOptions(this);
    copy.closeTimeout = positive("closeTimeout", timeout);
    return copy;
  }

  /**
   * Chooses whether Ctrl-C, SIGTERM and {@link System#exit} report open runs as CRASHED before the
   * process ends; true by default. Without it, the service finds out by itself, seconds later.
   */
  public ClientOptions shutdownHook(boolean enabled) {
    ClientOptions copy = new ClientOptions(this);
    copy.shutdownHook = enabled;
    return copy;
  }

  /** Sets the JSON library for parameters, results and artifacts; Gson by default. */
  public ClientOptions json(Json json) {
    ClientOptions copy = new ClientOptions(this);
    copy.json = Objects.requireNonNull(json, "json");
    return copy;
  }

  /**
   * Sets the OpenTelemetry instance whose tracer makes the spans of runs. The default is the global
   * one if the program has set it. Without one, the service exports the spans.
   *
   * @param openTelemetry an {@code io.opentelemetry.api.OpenTelemetry}; declared as Object because
   *     OpenTelemetry is an optional dependency
   */
  public ClientOptions openTelemetry(Object openTelemetry) {
    ClientOptions copy = new ClientOptions(this);
    copy.openTelemetry = Objects.requireNonNull(openTelemetry, "openTelemetry");
    return copy;
  }

  /** Returns the address, or null for the default. */
  public String address() {
    return address;
  }

  /** Returns the options for TLS, or null. */
  public TlsOptions tls() {
    return tls;
  }

  /** Returns the source of tokens, or null for the default. */
  public Supplier<String> token() {
    return token;
  }

  /** Returns the time for a call. */
  public Duration timeout() {
    return timeout;
  }

  /** Returns the time to wait for the service in {@code connect}. */
  public Duration connectTimeout() {
    return connectTimeout;
  }

  /** Returns the number of attempts of an idempotent call. */
  public int callAttempts() {
    return callAttempts;
  }

  /** Returns the time between keepalive pings. */
  public Duration keepalive() {
    return keepalive;
  }

  /** Returns the limit of unacknowledged events. */
  public int outboxEvents() {
    return outboxEvents;
  }

  /** Returns the limit of unacknowledged bytes. */
  public long outboxBytes() {
    return outboxBytes;
  }

  /** Returns the longest wait for room in the outbox. */
  public Duration outboxTimeout() {
    return outboxTimeout;
  }

  /** Returns the time that {@code close} waits. */
  public Duration closeTimeout() {
    return closeTimeout;
  }

  /** Returns true if open runs are reported when the process ends. */
  public boolean shutdownHook() {
    return shutdownHook;
  }

  /** Returns the JSON library. */
  public Json json() {
    return json;
  }

  /** Returns the OpenTelemetry instance, or null for the global one. */
  public Object openTelemetry() {
    return openTelemetry;
  }

  private static Duration positive(String name, Duration value) {
    if (value.isNegative() || value.isZero()) {
      throw new IllegalArgumentException(name + " is " + value + "; give more than zero.");
    }
    return value;
  }

  private static long atLeastOne(String name, long value) {
    if (value < 1) {
      throw new IllegalArgumentException(name + " is " + value + "; give 1 or more.");
    }
    return value;
  }
}
