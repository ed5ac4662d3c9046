package flowspan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/report"
	"flowspan.dev/go/internal/wire"
)

// ArtifactOption is an option of an artifact.
type ArtifactOption func(*flowspanpb.Artifact)

// Key names the thing that the artifact is a version of: lower-case letters, digits and dashes. An
// artifact with a key outlives its run.
func Key(key string) ArtifactOption {
	return func(a *flowspanpb.Artifact) { a.Key = key }
}

// About describes the artifact for people, in Markdown.
func About(text string) ArtifactOption {
	return func(a *flowspanpb.Artifact) { a.Description = wire.Shorten(text, wire.MaxArtifactText) }
}

// Markdown adds a text in Markdown to the run of ctx. It returns the id of the artifact.
func Markdown(ctx context.Context, text string, options ...ArtifactOption) (string, error) {
	return makeArtifact(ctx, "markdown", text, options)
}

// Table adds a table to the run of ctx: a slice of structs or maps, one for each row, or a map of
// slices, one for each column.
func Table(ctx context.Context, rows any, options ...ArtifactOption) (string, error) {
	return makeArtifact(ctx, "table", rows, options)
}

// Link adds a link to the run of ctx. An empty text shows the URL.
func Link(ctx context.Context, url, text string, options ...ArtifactOption) (string, error) {
	if text == "" {
		text = url
	}
	return makeArtifact(ctx, "link", fmt.Sprintf("[%s](%s)", text, url), options)
}

// Image adds an image, which the URL names, to the run of ctx.
func Image(ctx context.Context, url string, options ...ArtifactOption) (string, error) {
	return makeArtifact(ctx, "image", url, options)
}

// CustomArtifact adds an artifact of another type, which the clients of a project agree on.
func CustomArtifact(ctx context.Context, kind string, data any, options ...ArtifactOption) (string, error) {
	return makeArtifact(ctx, kind, data, options)
}

// Progress is an artifact that shows how far a run is.
type Progress struct {
	id     string
	client *Client
}

// NewProgress adds a progress of 0 % to the run of ctx.
func NewProgress(ctx context.Context, options ...ArtifactOption) (*Progress, error) {
	id, err := makeArtifact(ctx, "progress", 0, options)
	if err != nil {
		return nil, err
	}
	run, _ := RunFromContext(ctx)
	return &Progress{id: id, client: run.client}, nil
}

// ID returns the id of the artifact.
func (p *Progress) ID() string { return p.id }

// Set changes the progress, in percent from 0 to 100.
func (p *Progress) Set(ctx context.Context, percent float64) error {
	if math.IsNaN(percent) {
		return configError("the progress is not a number")
	}
	data, err := toJSON(min(max(percent, 0), 100))
	if err != nil {
		return configError("the progress: %v", err)
	}
	return p.client.reportRare(ctx, wire.KindArtifactChanged, &flowspanpb.ArtifactChange{
		Id: p.id, Data: jsonPayload(data), ChangeTime: timestamppb.New(p.client.now()),
	})
}

func jsonPayload(data []byte) *flowspanpb.Payload {
	return &flowspanpb.Payload{Encoding: wire.EncodingJSON, Data: data}
}

func makeArtifact(ctx context.Context, kind string, value any, options []ArtifactOption) (string, error) {
	run, ok := RunFromContext(ctx)
	if !ok {
		failure := statusError(codes.FailedPrecondition, "an artifact was made outside runs: use Client.CreateArtifact.")
		return "", failure
	}
	if text, ok := value.(string); ok {
		value = wire.Clean(text)
	}
	data, err := toJSON(value)
	switch {
	case err != nil:
		return "", configError("the data of the artifact: %v", err)
	case len(data) > wire.MaxPayload:
		return "", configError("the data of the artifact has %d bytes; at most %d are stored", len(data), wire.MaxPayload)
	case kind == "" || len(kind) > wire.MaxArtifactType:
		return "", configError("the type of the artifact has %d bytes; 1 to %d are allowed", len(kind), wire.MaxArtifactType)
	}
	now := run.client.now()
	artifact := &flowspanpb.Artifact{
		Id: run.client.NewRunID(), Type: wire.Clean(kind), Data: jsonPayload(data), RunId: run.idText, CreateTime: timestamppb.New(now),
	}
	for _, option := range options {
		option(artifact)
	}
	if !isArtifactKey(artifact.GetKey()) {
		return "", configError("the key %q of an artifact: it has at most %d lower-case letters, digits and dashes", artifact.GetKey(), wire.MaxName)
	}
	run.mu.Lock()
	run.span.madeArtifact(artifact.GetId(), kind, artifact.GetKey(), now.UnixNano())
	run.mu.Unlock()
	run.client.session.Leave(&run.short) // its artifacts come before its end
	return artifact.GetId(), run.client.reportRare(ctx, wire.KindArtifactCreated, artifact)
}

func isArtifactKey(key string) bool {
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(key) <= wire.MaxName
}

// reportRare queues an event in its generated form. It waits while the outbox is full.
func (c *Client) reportRare(ctx context.Context, kind wire.Kind, message proto.Message) error {
	err := c.session.Gate(ctx)
	if err == nil {
		err = c.session.Force(kind, wire.AppendMessage(nil, message))
	}
	if errors.As(err, new(*report.EndedError)) {
		return nil // a broken report does not break the work, and has been logged
	}
	return sessionError(err)
}

// Times of the API.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
