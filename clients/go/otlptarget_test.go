package flowspan

import (
	"strings"
	"testing"
)

func TestTheReceiverOfThisProcessFollowsFromItsEnvironment(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, test := range []struct {
		environ                string
		protocol, traces, logs string
	}{
		{"", "", "", ""},
		{endpoint + "=http://collector:4318", "http/protobuf", "http://collector:4318/v1/traces", ""},
		{endpoint + "=http://collector:4317/", "grpc", "http://collector:4317", ""},
		{endpoint + "=https://user:secret@collector/base/?key=secret#x", "http/protobuf", "https://collector/base/v1/traces", ""},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:1/own/path OTEL_EXPORTER_OTLP_PROTOCOL=http/json", "http/protobuf", "http://c:1/own/path", ""},
		{endpoint + "=collector:4317", "grpc", "https://collector:4317", ""},
		{endpoint + "=collector:4317 OTEL_EXPORTER_OTLP_INSECURE=true", "grpc", "http://collector:4317", ""},
		{endpoint + "=http://c:1 OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc", "grpc", "http://c:1", ""},
		{"FLOWSPAN_OTLP_ENDPOINT=own:1 " + endpoint + "=http://c:4318", "grpc", "http://own:1", ""},
		{endpoint + "=http://c:4318 OTEL_LOGS_EXPORTER=console,otlp", "http/protobuf", "http://c:4318/v1/traces", "http://c:4318/v1/logs"},
		{endpoint + "=http://c:4318 OTEL_TRACES_EXPORTER=none OTEL_LOGS_EXPORTER=otlp", "http/protobuf", "", "http://c:4318/v1/logs"},
		{"OTEL_TRACES_EXPORTER=otlp", "http/protobuf", "http://localhost:4318/v1/traces", ""},
		{endpoint + "=http://c:4318 OTEL_TRACES_EXPORTER=console", "", "", ""},
		{endpoint + "=http://c:4318 OTEL_SDK_DISABLED=True", "", "", ""},
		{endpoint + "=http://c:4318 FLOWSPAN_TRACING=false", "", "", ""},
		{endpoint + "=http://c:4318 OTEL_EXPORTER_OTLP_PROTOCOL=carrier-pigeon", "", "", ""},
		{endpoint + "=ftp://c:4318", "", "", ""},
		{endpoint + "=http://", "", "", ""},
		{endpoint + "=http://c:0", "", "", ""},
		{endpoint + "=http://c:65536", "", "", ""},
		{endpoint + "=http://c:x", "", "", ""},
		{endpoint + "=http://c/" + strings.Repeat("a", 1024), "", "", ""},
	} {
		environ := map[string]string{}
		for pair := range strings.FieldsSeq(test.environ) {
			name, value, _ := strings.Cut(pair, "=")
			environ[name] = value
		}
		found := otlpTarget(func(name string) string { return environ[name] })
		if (found == nil) != (test.protocol == "") || found.GetProtocol() != test.protocol ||
			found.GetTracesUrl() != test.traces || found.GetLogsUrl() != test.logs {
			t.Errorf("%s: %v", test.environ, found)
		}
	}
}

func TestTheServiceExportsLogsUnlessTheEnvironmentSaysNo(t *testing.T) {
	for variable, want := range map[string]bool{
		"": true, "OTEL_LOGS_EXPORTER=otlp": true, "OTEL_LOGS_EXPORTER=None": false, "OTEL_SDK_DISABLED=true": false, "OTEL_SDK_DISABLED=false": true,
	} {
		name, value, _ := strings.Cut(variable, "=")
		environ := func(asked string) string {
			if asked == name {
				return value
			}
			return ""
		}
		if found := wantsLogs(environ); found != want {
			t.Errorf("%s: %v", variable, found)
		}
	}
}

func TestTheAddressOfATrace(t *testing.T) {
	const told = "http://told/{trace_id}"
	for own, want := range map[string]string{
		"":                              "http://told/1",
		"https://own/#{trace_id}":       "https://own/#1",
		"https://own/":                  "",
		"javascript:{trace_id}":         "",
		"http://own/\x1b{trace_id}":     "",
		"http://own/ {trace_id}/traces": "",
	} {
		t.Setenv("FLOWSPAN_TRACE_URL", own)
		if found := traceURL(told, "1"); found != want {
			t.Errorf("%q: %q", own, found)
		}
	}
	t.Setenv("FLOWSPAN_TRACE_URL", "")
	if found := traceURL("", "1"); found != "" {
		t.Error(found)
	}
}
