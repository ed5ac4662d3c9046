package flowspan_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"flowspan.dev/go"
	"flowspan.dev/go/flowspanpb"
)

// oldService is a service without capabilities, which can be unavailable for some calls.
type oldService struct {
	flowspanpb.UnimplementedFlowRunServiceServer
	flowspanpb.UnimplementedSystemServiceServer
	flowspanpb.UnimplementedLabelServiceServer

	mu          sync.Mutex
	unavailable int
	calls       []string
	tokens      []string
}

func (s *oldService) called(ctx context.Context, method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, method)
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		s.tokens = append(s.tokens, values[0])
	}
	if s.unavailable == 0 {
		return nil
	}
	s.unavailable--
	failure, err := status.New(codes.Unavailable, "stopping").WithDetails(
		&errdetails.ErrorInfo{Domain: "flowspan.v1", Reason: "STOPPING", Metadata: map[string]string{"advice": "Call again."}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(70 * time.Millisecond)})
	if err != nil {
		return err
	}
	return failure.Err()
}

func (s *oldService) GetInfo(ctx context.Context, _ *flowspanpb.GetInfoRequest) (*flowspanpb.GetInfoResponse, error) {
	return &flowspanpb.GetInfoResponse{Version: "0.1.0"}, s.called(ctx, "GetInfo")
}

func (s *oldService) GetFlowRun(ctx context.Context, request *flowspanpb.GetFlowRunRequest) (*flowspanpb.GetFlowRunResponse, error) {
	return &flowspanpb.GetFlowRunResponse{FlowRun: &flowspanpb.FlowRun{Id: request.GetId()}}, s.called(ctx, "GetFlowRun")
}

func (s *oldService) SetFlowRunState(ctx context.Context, request *flowspanpb.SetFlowRunStateRequest) (*flowspanpb.SetFlowRunStateResponse, error) {
	verdict := &flowspanpb.Verdict{Kind: flowspanpb.VerdictKind_VERDICT_KIND_ACCEPTED, Reason: request.GetState().GetMessage()}
	return &flowspanpb.SetFlowRunStateResponse{Verdict: verdict}, s.called(ctx, "SetFlowRunState "+request.GetState().GetType().String())
}

func (s *oldService) SetLabels(ctx context.Context, _ *flowspanpb.SetLabelsRequest) (*flowspanpb.SetLabelsResponse, error) {
	return &flowspanpb.SetLabelsResponse{}, s.called(ctx, "SetLabels")
}

// serve returns the address of the service.
func (s *oldService) serve(t *testing.T, options ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	flowspanpb.RegisterFlowRunServiceServer(server, s)
	flowspanpb.RegisterSystemServiceServer(server, s)
	flowspanpb.RegisterLabelServiceServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func TestOnlyCallsThatCanBeRepeatedAreRepeated(t *testing.T) {
	old := &oldService{}
	client := connectTo(t, old.serve(t))
	old.unavailable = 2
	began := time.Now()
	if _, err := client.GetFlowRun(ctxOf(t), "x"); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 140*time.Millisecond {
		t.Error("it did not wait for the delay that the service asked for", took)
	}
	old.unavailable = 1
	_, err := client.SetLabels(ctxOf(t), "x", nil)
	var failure *flowspan.Error
	if !errors.As(err, &failure) || failure.Reason != "STOPPING" || !failure.Retryable() || failure.Advice != "Call again." || failure.RetryDelay != 70*time.Millisecond {
		t.Errorf("%+v", failure)
	}
	same(t, old.calls, []string{"GetInfo", "GetFlowRun", "GetFlowRun", "GetFlowRun", "SetLabels"})
}

func TestAnOlderServiceCancelsWithAState(t *testing.T) {
	old := &oldService{}
	client := connectTo(t, old.serve(t))
	answer, err := client.CancelFlowRun(ctxOf(t), "x", "why")
	if err != nil || !answer.Accepted() || answer.Verdict.GetReason() != "why" {
		t.Error(answer, err)
	}
	same(t, old.calls, []string{"GetInfo", "SetFlowRunState STATE_TYPE_CANCELLING"})
}

func TestTLSAndTokens(t *testing.T) {
	issued := httptest.NewUnstartedServer(nil)
	issued.StartTLS()
	defer issued.Close()
	roots := x509.NewCertPool()
	roots.AddCert(issued.Certificate())
	old := &oldService{}
	address := old.serve(t, grpc.Creds(credentials.NewServerTLSFromCert(&issued.TLS.Certificates[0])))
	if _, err := flowspan.Connect(ctxOf(t), flowspan.WithAddress(address), flowspan.WithTimeout(300*time.Millisecond)); err == nil {
		t.Error("connected without TLS")
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FLOWSPAN_TOKEN_FILE", file)
	settings := &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12}
	client := connectTo(t, address, flowspan.WithTLS(settings))
	if err := os.WriteFile(file, []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Info(ctxOf(t)); err != nil {
		t.Error(err)
	}
	connectTo(t, address, flowspan.WithTLS(settings), flowspan.WithToken("three"))
	same(t, old.tokens, []string{"Bearer one", "Bearer two", "Bearer three"})
}

func TestTheEnvironmentSetsUpTLS(t *testing.T) {
	issued := httptest.NewUnstartedServer(nil)
	issued.StartTLS()
	defer issued.Close()
	folder := t.TempDir()
	ca := filepath.Join(folder, "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: issued.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	old := &oldService{}
	address := old.serve(t, grpc.Creds(credentials.NewServerTLSFromCert(&issued.TLS.Certificates[0])))
	t.Setenv("FLOWSPAN_TLS_CA", ca)
	t.Setenv("FLOWSPAN_TLS_SERVER_NAME", "example.com")
	connectTo(t, address)
	t.Setenv("FLOWSPAN_TLS", "true")
	connectTo(t, address)
	for name, text := range map[string]string{
		"FLOWSPAN_TLS":             "perhaps",
		"FLOWSPAN_TLS_CA":          filepath.Join(folder, "none.pem"),
		"FLOWSPAN_TLS_CLIENT_CERT": ca, // without its key
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, text)
			_, err := flowspan.Connect(ctxOf(t), flowspan.WithAddress(address))
			var failure *flowspan.Error
			if !errors.As(err, &failure) || failure.Code != codes.InvalidArgument || !strings.Contains(failure.Message, name) {
				t.Error(err)
			}
		})
	}
	t.Setenv("FLOWSPAN_TLS", "off")
	if _, err := flowspan.Connect(ctxOf(t), flowspan.WithAddress(address), flowspan.WithTimeout(300*time.Millisecond)); err == nil {
		t.Error("connected without TLS")
	}
}
