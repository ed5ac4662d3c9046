package flowspan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"flowspan.dev/go/internal/rpcerr"
)

// ErrCancelled is what the error of a cancelled run matches: errors.Is(err, flowspan.ErrCancelled).
var ErrCancelled = errors.New("the run was cancelled")

// Error is an error of the service, or of the way to it.
type Error struct {
	// Code is the gRPC code.
	Code codes.Code
	// Reason is the name of a flowspan.v1.ErrorReason, such as "NOT_FOUND". It is empty if the error
	// is not from the service itself.
	Reason string
	// Message says what happened.
	Message string
	// Advice says what to do about it. It may be empty.
	Advice string
	// Metadata names the field, the run or the limit concerned.
	Metadata map[string]string
	// RetryDelay is how long the service asks to wait before the next attempt; zero if it does not.
	RetryDelay time.Duration

	retryable bool
	cause     error
}

// Error returns the message and the advice.
func (e *Error) Error() string {
	text := "flowspan: " + e.Message
	if e.Advice != "" {
		text += " " + e.Advice
	}
	return text
}

// Unwrap returns the underlying error of gRPC.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus returns the status, for status.FromError.
func (e *Error) GRPCStatus() *status.Status { return status.Convert(e.cause) }

// Retryable reports whether the same call may succeed later.
func (e *Error) Retryable() bool { return e.retryable }

// errorOf returns an error of a call as an *Error.
func errorOf(err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	details := rpcerr.Of(err)
	return &Error{
		Code:       details.Code,
		Reason:     details.Reason,
		Message:    details.Message,
		Advice:     details.Metadata["advice"],
		Metadata:   details.Metadata,
		RetryDelay: details.RetryDelay,
		retryable:  details.Retryable(),
		cause:      err,
	}
}

func configError(format string, arguments ...any) error {
	message := fmt.Sprintf(format, arguments...)
	return &Error{Code: codes.InvalidArgument, Message: message, cause: status.Error(codes.InvalidArgument, message)}
}

// CancelledError is the error of a run that was cancelled through the service.
type CancelledError struct {
	// RunID is the run that was cancelled: the run itself, or one that called it.
	RunID string
	// Reason is the reason for people. It may be empty.
	Reason string
	// Err is the error that the function returned; nil if it was not called.
	Err error
}

// Error returns the reason.
func (e *CancelledError) Error() string {
	if e.Reason == "" {
		return ErrCancelled.Error()
	}
	return ErrCancelled.Error() + ": " + e.Reason
}

// Unwrap returns the error of the function.
func (e *CancelledError) Unwrap() error { return e.Err }

// Is reports that the error is ErrCancelled.
func (e *CancelledError) Is(target error) bool { return target == ErrCancelled }

// TimeoutError is the error of a run whose attempt exceeded its timeout (see Timeout).
type TimeoutError struct {
	// RunName is the name of the run.
	RunName string
	// Limit is the timeout.
	Limit time.Duration
	// Err is the error that the function returned.
	Err error
}

// Error says which run exceeded which timeout.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("the run %q exceeded its timeout of %s", e.RunName, e.Limit)
}

// Unwrap returns the error of the function.
func (e *TimeoutError) Unwrap() error { return e.Err }

// Is reports that the error is context.DeadlineExceeded.
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// PanicError is the panic of a task that was started with Go. Future.Wait panics with it.
type PanicError struct {
	// Value is the value of the panic.
	Value any
	// Stack is the stack of the goroutine that panicked.
	Stack []byte
}

// Error returns the value and the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("panic in a task: %s\n\n%s", shown(e.Value), e.Stack)
}

// Unwrap returns the value, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// interrupted is the cause of the cancellation of runs whose process was told to end.
type interrupted struct{ message string }

func (e *interrupted) Error() string { return e.message }

// shown returns a value as text, whatever its methods do.
func shown(value any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("%T (its text cannot be shown: a method panicked)", value)
		}
	}()
	if err, ok := value.(error); ok {
		return err.Error()
	}
	return fmt.Sprint(value)
}
