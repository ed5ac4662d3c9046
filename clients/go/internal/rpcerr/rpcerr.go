// Package rpcerr reads the details of the errors of the service.
package rpcerr

import (
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Domain is the domain of every ErrorInfo of the service.
const Domain = "flowspan.v1"

// The reasons that clients handle, from flowspan.v1.ErrorReason.
const (
	TooLarge         = "TOO_LARGE"
	Overloaded       = "OVERLOADED"
	RateLimited      = "RATE_LIMITED"
	Stopping         = "STOPPING"
	StoreUnavailable = "STORE_UNAVAILABLE"
	SessionTakenOver = "SESSION_TAKEN_OVER"
	WrongSecret      = "WRONG_SECRET"
	MissingScope     = "MISSING_SCOPE"
)

// Details is what an error of a call says.
type Details struct {
	Code       codes.Code
	Message    string
	Reason     string // empty if the error is not from the service itself
	Metadata   map[string]string
	RetryDelay time.Duration
}

// Of returns the details of an error of a call.
func Of(err error) Details {
	st := status.Convert(err)
	details := Details{Code: st.Code(), Message: st.Message()}
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == Domain {
				details.Reason = detail.GetReason()
				details.Metadata = detail.GetMetadata()
			}
		case *errdetails.RetryInfo:
			details.RetryDelay = max(detail.GetRetryDelay().AsDuration(), 0)
		}
	}
	return details
}

// AboutSize reports whether a message was refused because of its size, and not because of one event
// in it.
func (d *Details) AboutSize() bool {
	if d.Reason == TooLarge {
		return d.Metadata["sequence"] == ""
	}
	if d.Code != codes.ResourceExhausted || d.Reason != "" {
		return false
	}
	text := strings.ToLower(d.Message)
	for _, word := range []string{"larger than", "too large", "exceeds"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// AboutAccess reports whether the access token was refused, or lacks the scope. It may be replaced.
func (d *Details) AboutAccess() bool {
	return d.Code == codes.Unauthenticated || d.Reason == MissingScope
}

// Retryable reports whether the same call may succeed later.
func (d *Details) Retryable() bool {
	switch d.Reason {
	case Overloaded, RateLimited, Stopping, StoreUnavailable:
		return true
	case "":
		return d.Code == codes.Unavailable || d.Code == codes.DeadlineExceeded || (d.Code == codes.ResourceExhausted && !d.AboutSize())
	default:
		return false
	}
}
