package flowspan

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"flowspan.dev/go/internal/rpcerr"
)

const (
	maxCallAttempts  = 5
	firstCallBackoff = 50 * time.Millisecond
	longestCallDelay = 5 * time.Second
)

// authorize adds the token, the run context and the trace context to the header of a call.
func (c *Client) authorize(ctx context.Context) (context.Context, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	if run, ok := RunFromContext(ctx); ok {
		ctx = metadata.AppendToOutgoingContext(ctx, headerRun, run.context())
	}
	return ctx, nil
}

// token returns the access token. Its file is read each time, because it may be replaced.
func (c *Client) token() (string, error) {
	if c.config.token != "" || c.config.tokenFile == "" {
		return c.config.token, nil
	}
	data, err := os.ReadFile(c.config.tokenFile)
	if err != nil {
		// Not an invalid argument, which would end the session: the file may come back.
		message := fmt.Sprintf("FLOWSPAN_TOKEN_FILE: %v", err)
		return "", &Error{Code: codes.Unauthenticated, Message: message, cause: status.Error(codes.Unauthenticated, message)}
	}
	return strings.TrimSpace(string(data)), nil
}

// unary gives a call a deadline and repeats it, if it can be repeated, while the service is not
// available.
func (c *Client) unary(
	ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.timeout)
		defer cancel()
	}
	if err := c.readYourWrites(ctx); err != nil {
		return err
	}
	ctx, err := c.authorize(ctx)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := invoke(ctx, method, request, answer, conn, options...)
		if err == nil {
			return nil
		}
		details := rpcerr.Of(err)
		passes := details.Code == codes.Unavailable || details.Reason == rpcerr.Overloaded
		if !passes || attempt == maxCallAttempts || !isIdempotent(method) {
			return errorOf(err)
		}
		if !pauseBefore(ctx, attempt, details.RetryDelay) {
			return errorOf(err)
		}
	}
}

// pauseBefore waits before another attempt; it returns false if the context ends before that.
func pauseBefore(ctx context.Context, attempt int, retryAfter time.Duration) bool {
	delay := max(firstCallBackoff<<(attempt-1), min(retryAfter, longestCallDelay))
	delay = time.Duration(float64(delay) * (1 + 0.3*rand.Float64())) //nolint:gosec // no secret
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < delay {
		return false
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// readYourWrites waits until the service has stored what this process has reported.
func (c *Client) readYourWrites(ctx context.Context) error {
	if !c.config.readOwnWrites || c.session.Unacked() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.flushTimeout)
	defer cancel()
	err := c.session.Flush(ctx)
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return errorOf(status.FromContextError(context.Canceled).Err())
	}
	return sessionError(err)
}

func (c *Client) stream(
	ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	ctx, err := c.authorize(ctx)
	if err != nil {
		return nil, err
	}
	return open(ctx, description, conn, method, options...)
}

var idempotent sync.Map // method name → bool

// isIdempotent reports whether the protos say that a method can be repeated.
func isIdempotent(method string) bool {
	if known, ok := idempotent.Load(method); ok {
		return known == true
	}
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	is := false
	if described, ok := found.(protoreflect.MethodDescriptor); ok && err == nil {
		if options, ok := described.Options().(*descriptorpb.MethodOptions); ok {
			is = options.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
		}
	}
	idempotent.Store(method, is)
	return is
}

func unescape(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}
