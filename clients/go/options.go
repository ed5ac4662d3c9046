package flowspan

import (
	"crypto/tls"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	defaultTimeout   = 30 * time.Second
	defaultMaxEvents = 100_000
	defaultMaxBytes  = 64 << 20
	defaultLinger    = 4 * time.Millisecond
	defaultFlush     = 10 * time.Second
	keepaliveTime    = 20 * time.Second
	keepaliveTimeout = 10 * time.Second
)

type config struct {
	address       string
	tls           *tls.Config
	token         string
	tokenFile     string
	timeout       time.Duration
	flushTimeout  time.Duration
	blockTimeout  time.Duration
	maxEvents     int
	maxBytes      int
	linger        time.Duration
	lease         time.Duration
	logger        *slog.Logger
	tracer        trace.TracerProvider
	resource      map[string]string
	lazy          bool
	signals       bool
	serviceName   string
	readOwnWrites bool
}

// Option changes how Connect connects.
type Option func(*config)

// WithAddress sets the address of the service: host:port or unix:/path. Without it, the address is
// FLOWSPAN_ADDRESS, or else that of the local service, or else 127.0.0.1:4600.
func WithAddress(address string) Option {
	return func(c *config) { c.address = address }
}

// WithTLS connects with TLS. Without it, the variables FLOWSPAN_TLS, FLOWSPAN_TLS_CA and so on say
// whether and how to; they have no effect on Unix sockets.
func WithTLS(settings *tls.Config) Option {
	return func(c *config) { c.tls = settings.Clone() }
}

// WithToken sends a bearer token with each call. Without it, the token is FLOWSPAN_TOKEN, or the
// content of the file FLOWSPAN_TOKEN_FILE, which is read anew for each call.
func WithToken(token string) Option {
	return func(c *config) { c.token = token }
}

// WithTimeout bounds a call with one answer whose context has no deadline. The default is 30 s.
func WithTimeout(timeout time.Duration) Option {
	return func(c *config) { c.timeout = timeout }
}

// WithFlushTimeout bounds the wait for the service at the end of an outermost run. The default is
// 10 s. The events that are not stored by then stay in memory and are sent when the service answers;
// Close waits for them.
func WithFlushTimeout(timeout time.Duration) Option {
	return func(c *config) { c.flushTimeout = timeout }
}

// WithOutbox bounds the events that the service has not stored yet. When they are more, log records
// are left out, and new runs wait. The defaults are 100,000 events and 64 MiB.
func WithOutbox(events, bytes int) Option {
	return func(c *config) { c.maxEvents, c.maxBytes = events, bytes }
}

// WithBlockTimeout bounds the wait of a new run while the outbox is full. After it, Flow and Task
// return an error without calling the function. Zero, the default, waits without a limit.
func WithBlockTimeout(timeout time.Duration) Option {
	return func(c *config) { c.blockTimeout = timeout }
}

// WithLease asks for another lease than the service's default: how long a silent process counts as
// alive. The service enforces limits.
func WithLease(lease time.Duration) Option {
	return func(c *config) { c.lease = lease }
}

// WithLogger sets the logger for messages of the client itself. The default is slog.Default().
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) { c.logger = logger }
}

// WithTracerProvider sets the OpenTelemetry provider that makes the spans of runs. The default is the
// global one. Without an SDK, the service makes the spans.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(c *config) { c.tracer = provider }
}

// WithResource adds attributes to the OpenTelemetry resource of spans that the service makes.
func WithResource(attributes map[string]string) Option {
	return func(c *config) {
		for key, value := range attributes {
			c.resource[key] = value
		}
	}
}

// WithServiceName sets the resource attribute service.name. The default is OTEL_SERVICE_NAME, or else
// the name of the program.
func WithServiceName(name string) Option {
	return func(c *config) { c.serviceName = name }
}

// Lazy makes Connect succeed without an answer of the service. Runs are kept in memory until it
// answers.
func Lazy() Option {
	return func(c *config) { c.lazy = true }
}

// WithoutSignals leaves SIGINT and SIGTERM to the program. Otherwise, the client ends the open runs as
// CRASHED, waits until they are stored, and gives the signal back to the program (see Client).
func WithoutSignals() Option {
	return func(c *config) { c.signals = false }
}

// WithStaleReads makes calls not wait until the service has stored what this process has reported.
func WithStaleReads() Option {
	return func(c *config) { c.readOwnWrites = false }
}
