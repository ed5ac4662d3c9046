package dev.flowspan.internal;

import com.google.protobuf.DescriptorProtos.MethodOptions.IdempotencyLevel;
import dev.flowspan.ClientOptions;
import dev.flowspan.FlowspanException;
import dev.flowspan.TlsOptions;
import dev.flowspan.v1.ReportServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.ForwardingClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.EventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.epoll.Epoll;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollDomainSocketChannel;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.unix.DomainSocketAddress;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContextBuilder;
import io.grpc.protobuf.ProtoMethodDescriptorSupplier;
import io.grpc.stub.ClientCalls;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.function.Supplier;
import javax.net.ssl.SSLException;

/** The connection to a service: its channel, the token, and unary calls with retries. */
public final class Connection implements AutoCloseable {
  private static final int MAX_MESSAGE_BYTES = 64 << 20;
  private static final long MAX_RETRY_DELAY_MILLIS = 10_000;
  private static final long FIRST_RETRY_DELAY_MILLIS = 100;
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final Endpoint endpoint;
  private final ClientOptions options;
  private final Supplier<String> token;
  private volatile String reportToken = "";
  private final ManagedChannel managed;
  private final Channel channel;
  private EventLoopGroup unixLoop;

  /**
   * Opens the channel, which connects on first use.
   *
   * @throws FlowspanException if the address, the token file or a certificate is invalid
   */
  public Connection(ClientOptions options, Map<String, String> environ) {
    this.options = options;
    endpoint =
        options.address() == null
            ? Endpoint.find(environ)
            : Endpoint.parse(options.address(), "address");
    token = options.token() != null ? options.token() : tokenFrom(environ);
    managed = open(environ);
    channel =
        token == null
            ? managed
            : ClientInterceptors.intercept(managed, new Bearer(token, this::noteToken));
  }

  private ManagedChannel open(Map<String, String> environ) {
    NettyChannelBuilder builder;
    if (endpoint.isUnix()) {
      if (!Epoll.isAvailable()) {
        throw Errors.local(
            Status.Code.UNIMPLEMENTED,
            "Unix sockets need Linux. Start the service with a port, and set FLOWSPAN_ADDRESS to"
                + " host:port.");
      }
      unixLoop = new EpollEventLoopGroup(1, daemonThreads());
      builder =
          NettyChannelBuilder.forAddress(new DomainSocketAddress(endpoint.path()))
              .eventLoopGroup(unixLoop)
              .channelType(EpollDomainSocketChannel.class, DomainSocketAddress.class)
              .overrideAuthority("localhost");
    } else {
      builder = NettyChannelBuilder.forAddress(endpoint.host(), endpoint.port());
    }
    if (endpoint.isLocal()) {
      builder.proxyDetector(address -> null);
    }
    secure(builder, environ);
    return builder
        .directExecutor()
        .keepAliveTime(options.keepalive().toNanos(), TimeUnit.NANOSECONDS)
        .keepAliveTimeout(15, TimeUnit.SECONDS)
        .maxInboundMessageSize(MAX_MESSAGE_BYTES)
        .disableRetry()
        .build();
  }

  private static java.util.concurrent.ThreadFactory daemonThreads() {
    return task -> {
      Thread thread = new Thread(task, "flowspan-socket");
      thread.setDaemon(true);
      return thread;
    };
  }

  private void secure(NettyChannelBuilder builder, Map<String, String> environ) {
    TlsOptions tls = options.tls();
    if (tls == null && !endpoint.isUnix()) {
      tls = TlsEnvironment.read(environ);
    }
    if (tls == null) {
      builder.usePlaintext();
      return;
    }
    try {
      SslContextBuilder context = GrpcSslContexts.forClient();
      if (tls.ca() != null) {
        context.trustManager(tls.ca().toFile());
      }
      if (tls.certificate() != null) {
        context.keyManager(tls.certificate().toFile(), tls.key().toFile());
      }
      builder.sslContext(context.build());
    } catch (SSLException | IllegalArgumentException error) {
      throw new FlowspanException(
          Status.Code.INVALID_ARGUMENT,
          "",
          "The certificates for TLS cannot be used: "
              + error.getMessage()
              + ". Check that they"
              + " are PEM files.",
          Map.of(),
          false,
          error);
    }
    if (tls.serverName() != null) {
      builder.overrideAuthority(tls.serverName());
    }
  }

  private static Supplier<String> tokenFrom(Map<String, String> environ) {
    String token = environ.getOrDefault("FLOWSPAN_TOKEN", "").strip();
    if (!token.isEmpty()) {
      return () -> token;
    }
    String file = environ.getOrDefault("FLOWSPAN_TOKEN_FILE", "").strip();
    if (file.isEmpty()) {
      return null;
    }
    return () -> {
      try {
        return Files.readString(Path.of(file)).strip(); // read each time: tokens are replaced
      } catch (IOException error) {
        throw Errors.local(
            Status.Code.UNAUTHENTICATED,
            "FLOWSPAN_TOKEN_FILE=\"" + file + "\" cannot be read: " + error + ".");
      }
    };
  }

  /** Returns the channel, which adds the token to each call. */
  public Channel channel() {
    return channel;
  }

  private void noteToken(MethodDescriptor<?, ?> method, String token) {
    if (method == ReportServiceGrpc.getReportMethod()) {
      reportToken = token;
    }
  }

  /** Returns the token of the last report stream; empty if it had none. */
  public String reportToken() {
    return reportToken;
  }

  /** Returns the token of the next call; empty if there is none, or it cannot be read. */
  public String token() {
    try {
      return token == null ? "" : token.get();
    } catch (RuntimeException error) {
      return ""; // the next call says why
    }
  }

  /** Returns the address for messages. */
  public String address() {
    return endpoint.toString();
  }

  /** Returns the time for a call. */
  public Duration timeout() {
    return options.timeout();
  }

  /** Connects at once instead of after gRPC's own back-off, which grows to two minutes. */
  public void reconnectNow() {
    managed.resetConnectBackoff();
  }

  /**
   * Calls a method, and calls it again if it is idempotent and the service is unavailable.
   *
   * @throws FlowspanException if it fails
   */
  public <Q, A> A call(MethodDescriptor<Q, A> method, Q request) {
    return call(method, request, options.timeout(), isIdempotent(method));
  }

  /** Calls a method with a timeout; see {@link #call(MethodDescriptor, Object)}. */
  public <Q, A> A call(MethodDescriptor<Q, A> method, Q request, Duration timeout, boolean retry) {
    long end = System.nanoTime() + timeout.toNanos();
    for (int attempt = 1; ; attempt++) {
      long left = Math.max(1, end - System.nanoTime());
      try {
        CallOptions call = CallOptions.DEFAULT.withDeadlineAfter(left, TimeUnit.NANOSECONDS);
        return ClientCalls.blockingUnaryCall(channel, method, call, request);
      } catch (StatusRuntimeException error) {
        Errors.Failed failed = Errors.of(error.getStatus(), error.getTrailers(), address());
        long delay = backoffMillis(attempt, failed.retryDelay());
        boolean late = System.nanoTime() + delay * 1_000_000 >= end;
        if (!retry || !failed.error().retryable() || attempt >= options.callAttempts() || late) {
          throw failed.error();
        }
        pause(delay, failed.error());
        reconnectNow();
      }
    }
  }

  private static long backoffMillis(int attempt, Duration asked) {
    double growing = FIRST_RETRY_DELAY_MILLIS * Math.pow(2, attempt - 1.0);
    double jitter = 0.5 + ThreadLocalRandom.current().nextDouble() / 2;
    long own = (long) (Math.min(growing, MAX_RETRY_DELAY_MILLIS) * jitter);
    return Math.min(Math.max(own, asked.toMillis()), MAX_RETRY_DELAY_MILLIS);
  }

  private static void pause(long millis, FlowspanException error) {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw error;
    }
  }

  private static boolean isIdempotent(MethodDescriptor<?, ?> method) {
    return method.getSchemaDescriptor() instanceof ProtoMethodDescriptorSupplier supplier
        && supplier.getMethodDescriptor().getOptions().getIdempotencyLevel()
            != IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
  }

  @Override
  public void close() {
    managed.shutdownNow();
    try {
      managed.awaitTermination(2, TimeUnit.SECONDS);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
    if (unixLoop != null) {
      unixLoop.shutdownGracefully(0, 1, TimeUnit.SECONDS).awaitUninterruptibly(2, TimeUnit.SECONDS);
    }
  }

  /** Adds the token to each call. */
  private record Bearer(Supplier<String> token, BiConsumer<MethodDescriptor<?, ?>, String> used)
      implements ClientInterceptor {
    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(
        MethodDescriptor<Q, A> method, CallOptions call, Channel next) {
      return new ForwardingClientCall.SimpleForwardingClientCall<>(next.newCall(method, call)) {
        @Override
        public void start(Listener<A> listener, Metadata headers) {
          String text = token.get();
          used.accept(method, text);
          headers.put(AUTHORIZATION, "Bearer " + text);
          super.start(listener, headers);
        }
      };
    }
  }
}
