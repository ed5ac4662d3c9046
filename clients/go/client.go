package flowspan

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/clock"
	"flowspan.dev/go/internal/report"
	"flowspan.dev/go/internal/uuid7"
	"flowspan.dev/go/internal/wire"
)

const (
	clientName     = "flowspan-go"
	clientLanguage = "go"
	maxAnswerBytes = 16 << 20
	connectTimeout = 10 * time.Second
)

// Client is a connection to a flowspan service. It reports the runs of this process and reads the
// runs of all. It is safe for concurrent use; a process needs one.
//
// # Signals
//
// While a client has open runs, SIGINT and SIGTERM end them: their contexts are cancelled, and they
// become CRASHED. When everything is stored, or after ten seconds, the signal is sent again, for the
// handlers of the program, or to end it. A second signal ends the process at once. WithoutSignals
// turns this off.
type Client struct {
	config  config
	target  target
	conn    *grpc.ClientConn
	session *report.Session
	clock   *clock.Clock
	ids     *uuid7.Generator
	tracing tracing
	outer   outerContext

	sessionID string
	secret    []byte

	mu     sync.Mutex
	open   map[string]*Run
	closed bool
	caps   map[string]bool

	inHub atomic.Bool // registered for signals, now or before
}

// Connect connects to the service and asks for its version. Close the client when you are done.
//
// It fails with an *Error if an option or a variable of the environment is invalid, or, unless Lazy
// is set, if no service answers.
func Connect(ctx context.Context, options ...Option) (*Client, error) {
	settings := config{
		timeout:       defaultTimeout,
		flushTimeout:  defaultFlush,
		maxEvents:     defaultMaxEvents,
		maxBytes:      defaultMaxBytes,
		linger:        defaultLinger,
		resource:      map[string]string{},
		signals:       true,
		readOwnWrites: true,
		token:         strings.TrimSpace(os.Getenv("FLOWSPAN_TOKEN")),
		tokenFile:     strings.TrimSpace(os.Getenv("FLOWSPAN_TOKEN_FILE")),
	}
	for _, option := range options {
		option(&settings)
	}
	if settings.logger == nil {
		settings.logger = slog.Default()
	}
	where, err := resolveTarget(settings.address)
	if err != nil {
		return nil, err
	}
	if settings.tls == nil && where.network == "tcp" { // Unix sockets need no TLS
		if err := settings.setUpTLS(); err != nil {
			return nil, err
		}
	}
	client, err := newClient(settings, where)
	if err != nil {
		return nil, err
	}
	if settings.lazy {
		return client, nil
	}
	if err := client.check(ctx); err != nil {
		_ = client.conn.Close()
		return nil, err
	}
	return client, nil
}

func newClient(settings config, where target) (*Client, error) {
	if settings.maxEvents < 1 || settings.maxBytes < 1 {
		return nil, configError("WithOutbox(%d, %d): both bounds must be positive", settings.maxEvents, settings.maxBytes)
	}
	now := clock.New()
	client := &Client{
		config: settings,
		target: where,
		clock:  now,
		ids:    uuid7.NewGenerator(now.Now),
		open:   map[string]*Run{},
		outer:  outerFromEnviron(settings.logger),
		secret: make([]byte, wire.SecretSize),
	}
	client.sessionID = client.ids.Next().String()
	_, _ = rand.Read(client.secret) // never fails (crypto/rand)
	client.tracing.provider = settings.tracer
	conn, err := grpc.NewClient(where.grpcTarget(), client.dialOptions()...)
	if err != nil {
		return nil, configError("the address %s: %v", where.text, err)
	}
	client.conn = conn
	client.session = report.NewSession(report.Config{
		Conn:  conn,
		Hello: client.hello,
		Token: func() string {
			token, _ := client.token() // empty if it cannot be read
			return token
		},
		OnCancel:     client.cancelRun,
		Logger:       settings.logger,
		MaxEvents:    settings.maxEvents,
		MaxBytes:     settings.maxBytes,
		Linger:       settings.linger,
		BlockTimeout: settings.blockTimeout,
	})
	return client, nil
}

func (c *Client) dialOptions() []grpc.DialOption {
	security := insecure.NewCredentials()
	authority := c.target.authority()
	if c.config.tls != nil {
		security = credentials.NewTLS(c.config.tls)
		if c.config.tls.ServerName != "" {
			authority = c.config.tls.ServerName
		}
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(security),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.target.dial(ctx) }),
		grpc.WithAuthority(authority),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswerBytes)),
		grpc.WithUserAgent(clientName + "/" + Version),
		grpc.WithDisableServiceConfig(),
		grpc.WithChainUnaryInterceptor(c.unary),
		grpc.WithChainStreamInterceptor(c.stream),
	}
}

// check asks the service for its version, so that a wrong address shows at once.
func (c *Client) check(ctx context.Context) error {
	info, err := c.Info(ctx)
	if err == nil {
		c.learn(info.GetCapabilities())
		return nil
	}
	var failure *Error
	if !errors.As(err, &failure) {
		return err
	}
	switch failure.Code {
	case codes.Unavailable, codes.DeadlineExceeded:
		if ctx.Err() != nil {
			return fmt.Errorf("flowspan: connecting to %s: %w", c.target.text, context.Cause(ctx))
		}
		failure.Advice = c.adviceAway(failure.Message)
		failure.Message = fmt.Sprintf("no service answers at %s (%s).", c.target.text, failure.Message)
	case codes.Unimplemented:
		failure.Message = fmt.Sprintf("the server at %s is not a flowspan service (%s).", c.target.text, failure.Message)
		failure.Advice = "Is FLOWSPAN_ADDRESS right?"
	case codes.Unauthenticated, codes.PermissionDenied:
		if failure.Advice == "" {
			failure.Advice = "Set FLOWSPAN_TOKEN or FLOWSPAN_TOKEN_FILE."
		}
	default:
	}
	return failure
}

// adviceAway returns the advice for a service that does not answer.
func (c *Client) adviceAway(problem string) string {
	switch {
	case strings.Contains(problem, "failed to verify certificate"):
		return "Is the authority that issued its certificate one of RootCAs (WithTLS), and is the host of the address in it?"
	case c.config.tls != nil && len(c.config.tls.Certificates) == 0 && c.config.tls.GetClientCertificate == nil:
		return "Does it serve TLS? If it requires a certificate of its clients, give one (WithTLS)."
	case c.config.tls == nil && strings.Contains(problem, "error reading server preface"):
		return "If it serves TLS, connect WithTLS."
	default:
		return "Start one with `flowspan server start`, or set FLOWSPAN_ADDRESS."
	}
}

func (c *Client) learn(capabilities []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.caps = make(map[string]bool, len(capabilities))
	for _, name := range capabilities {
		c.caps[name] = true
	}
}

// can reports whether the service has an optional feature.
func (c *Client) can(ctx context.Context, capability string) (bool, error) {
	c.mu.Lock()
	known := c.caps
	c.mu.Unlock()
	if known == nil {
		info, err := c.Info(ctx)
		if err != nil {
			return false, err
		}
		c.learn(info.GetCapabilities())
		c.mu.Lock()
		known = c.caps
		c.mu.Unlock()
	}
	return known[capability], nil
}

// Address returns the address of the service, for people.
func (c *Client) Address() string { return c.target.text }

// SessionID returns the id of the session in which this process reports.
func (c *Client) SessionID() string { return c.sessionID }

// Flush waits until the service has stored everything that was reported so far.
//
// It returns the error of the context, with the reason why the service does not answer, if there is
// one.
func (c *Client) Flush(ctx context.Context) error {
	if err := c.session.Flush(ctx); err != nil {
		return sessionError(err)
	}
	return nil
}

// Close waits until everything is stored, ends the session, and closes the connection. Runs that are
// still open become CRASHED. When the context ends, the rest is lost, and the error says how many
// events.
//
// Calls after the first do nothing.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if again {
		return nil
	}
	signalHub.remove(c)
	err := c.session.Close(ctx)
	return errors.Join(sessionError(err), c.conn.Close())
}

func sessionError(err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	failure := &Error{Code: codes.Unavailable, Message: err.Error(), cause: err}
	var ended *report.EndedError
	if errors.As(err, &ended) {
		var inner *Error
		if errors.As(errorOf(ended.Cause), &inner) {
			failure.Code, failure.Reason, failure.Metadata = inner.Code, inner.Reason, inner.Metadata
		}
		return failure
	}
	switch {
	case errors.Is(err, report.ErrClosed):
		failure.Code = codes.FailedPrecondition
	case errors.Is(err, report.ErrFull):
		failure.Code, failure.retryable = codes.ResourceExhausted, true
		failure.Advice = "Is the service running? WithOutbox sets the bounds."
	default:
		failure.retryable = true
	}
	return failure
}

// hello returns the first frame of a connection.
func (c *Client) hello() *flowspanpb.Hello {
	hostname, _ := os.Hostname() // empty if the system does not know it
	hello := &flowspanpb.Hello{
		SessionId:      c.sessionID,
		ClientName:     clientName,
		ClientVersion:  Version,
		ClientLanguage: clientLanguage,
		Hostname:       wire.Clip(hostname, wire.MaxName),
		ProcessId:      int64(os.Getpid()),
		Secret:         c.secret,
		ClientTime:     timestamppb.New(time.Unix(0, c.clock.Now())),
		Resource:       c.resource(hostname),
		SpansByService: !c.tracing.hasSDK(),
		LogsByService:  !c.tracing.hasSDK() && wantsLogs(os.Getenv),
		OtlpTarget:     otlpTarget(os.Getenv),
	}
	if c.config.lease > 0 {
		hello.Lease = durationpb.New(c.config.lease)
	}
	return hello
}

// resource returns the OpenTelemetry resource of this process, as the SDK would find it.
func (c *Client) resource(hostname string) map[string]string {
	found := map[string]string{
		"service.name": filepath.Base(os.Args[0]),
		"host.name":    hostname,
		"process.pid":  strconv.Itoa(os.Getpid()),
	}
	for pair := range strings.SplitSeq(os.Getenv("OTEL_RESOURCE_ATTRIBUTES"), ",") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			found[strings.TrimSpace(key)] = strings.TrimSpace(unescape(value))
		}
	}
	if name := os.Getenv("OTEL_SERVICE_NAME"); name != "" {
		found["service.name"] = name
	}
	for key, value := range c.config.resource {
		found[key] = value
	}
	if c.config.serviceName != "" {
		found["service.name"] = c.config.serviceName
	}
	bounded := make(map[string]string, len(found))
	for key, value := range found {
		if key != "" && value != "" && len(bounded) < wire.MaxResource && len(key) <= wire.MaxResourceKey {
			bounded[wire.Clean(key)] = wire.Clip(value, wire.MaxResourceValue)
		}
	}
	return bounded
}

func statusError(code codes.Code, format string, arguments ...any) error {
	return errorOf(status.Errorf(code, format, arguments...))
}
