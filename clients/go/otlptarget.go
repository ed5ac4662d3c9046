package flowspan

import (
	"net/url"
	"os"
	"strconv"
	"strings"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/wire"
)

const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
	traceIDPlace = "{trace_id}"
	maxTraceURL  = 2048
)

// otlpTarget returns where this process sends its spans and logs by the variables of OpenTelemetry,
// so that the service can send the spans of its crashed runs there. It returns nil without such a
// configuration. Credentials are left out.
func otlpTarget(environ func(string) string) *flowspanpb.OtlpTarget {
	get := func(name string) string { return strings.TrimSpace(environ(name)) }
	if strings.EqualFold(get("OTEL_SDK_DISABLED"), "true") || strings.EqualFold(get("FLOWSPAN_TRACING"), "false") {
		return nil
	}
	protocol, traces := tracesReceiver(get)
	logs := ""
	if hasOTLP(get("OTEL_LOGS_EXPORTER")) {
		var of string
		if of, logs = receiver(get, "LOGS", "/v1/logs", ""); protocol == "" {
			protocol = of
		} else if of != protocol {
			logs = "" // a target has one protocol
		}
	}
	if traces == "" && logs == "" {
		return nil
	}
	return &flowspanpb.OtlpTarget{Protocol: protocol, TracesUrl: traces, LogsUrl: logs}
}

// wantsLogs reports whether the environment lets the service export the logs of runs over OTLP.
func wantsLogs(environ func(string) string) bool {
	isOff := strings.EqualFold(strings.TrimSpace(environ("OTEL_SDK_DISABLED")), "true")
	return !isOff && !strings.EqualFold(strings.TrimSpace(environ("OTEL_LOGS_EXPORTER")), "none")
}

func tracesReceiver(get func(string) string) (protocol, address string) {
	own := get("FLOWSPAN_OTLP_ENDPOINT")
	exporters := get("OTEL_TRACES_EXPORTER")
	isNamed := get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" || get("OTEL_EXPORTER_OTLP_ENDPOINT") != ""
	if own == "" && (exporters == "" && !isNamed || exporters != "" && !hasOTLP(exporters)) {
		return "", ""
	}
	return receiver(get, "TRACES", "/v1/traces", own)
}

func hasOTLP(exporters string) bool {
	for name := range strings.SplitSeq(exporters, ",") {
		if strings.EqualFold(strings.TrimSpace(name), "otlp") {
			return true
		}
	}
	return false
}

// receiver returns the protocol and the address of the receiver of a signal. The address is empty if a
// variable has no valid value. own replaces the endpoint of the variables, unless it is empty.
func receiver(get func(string) string, signal, path, own string) (protocol, address string) {
	value := func(name string) string {
		if of := get("OTEL_EXPORTER_OTLP_" + signal + "_" + name); of != "" {
			return of
		}
		return get("OTEL_EXPORTER_OTLP_" + name)
	}
	endpoint := own
	if endpoint == "" {
		endpoint = value("ENDPOINT")
	}
	protocol = protocolOf(value("PROTOCOL"), endpoint, own != "")
	if endpoint == "" {
		endpoint = map[string]string{protocolGRPC: "http://localhost:4317", protocolHTTP: "http://localhost:4318"}[protocol]
	}
	if !strings.Contains(endpoint, "://") {
		scheme := "https://"
		if own != "" || strings.EqualFold(value("INSECURE"), "true") {
			scheme = "http://"
		}
		endpoint = scheme + endpoint
	}
	isWhole := own == "" && get("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
	if isWhole {
		path = ""
	}
	return protocol, plainURL(endpoint, protocol, path)
}

// protocolOf returns the protocol: the configured one, else by the port that is usual for it. It is
// empty if the configured one is unknown.
func protocolOf(configured, endpoint string, isOwn bool) string {
	switch {
	case configured == "http/json": // its receivers take the other encoding at the same address
		return protocolHTTP
	case configured == protocolGRPC || configured == protocolHTTP:
		return configured
	case configured != "":
		return ""
	case isOwn || strings.HasSuffix(strings.TrimSuffix(endpoint, "/"), ":4317"):
		return protocolGRPC
	default:
		return protocolHTTP
	}
}

// plainURL returns an address without user, password, query and fragment; empty if it is invalid.
func plainURL(endpoint, protocol, path string) string {
	parsed, err := url.Parse(endpoint)
	if err != nil || protocol == "" || parsed.Hostname() == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		return ""
	}
	plain := url.URL{Scheme: parsed.Scheme, Host: parsed.Host}
	if protocol == protocolHTTP {
		plain.Path = parsed.Path
		if path != "" {
			plain.Path = strings.TrimSuffix(parsed.Path, "/") + path
		}
	}
	// The service refuses a Hello with another address, and with it the session.
	text := plain.String()
	if len(text) > wire.MaxURL || !isPort(plain.Port()) || strings.ContainsFunc(text, isUnsafe) {
		return ""
	}
	return text
}

// isPort reports whether a text is a port that a receiver can have; empty for the usual one.
func isPort(text string) bool {
	number, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && number > 0
}

// traceURL returns the address of a trace, by the variable of this process, else as the service told
// it; empty if neither is an address of a web page with a place for the id.
func traceURL(told, traceID string) string {
	page := strings.TrimSpace(os.Getenv("FLOWSPAN_TRACE_URL"))
	if page == "" {
		page = told
	}
	isPage := strings.HasPrefix(page, "http://") || strings.HasPrefix(page, "https://")
	if !isPage || len(page) > maxTraceURL || !strings.Contains(page, traceIDPlace) || strings.ContainsFunc(page, isUnsafe) {
		return ""
	}
	return strings.ReplaceAll(page, traceIDPlace, traceID)
}

// isUnsafe reports whether a URL must encode a character: terminals may obey control characters.
func isUnsafe(r rune) bool { return r <= ' ' || r > '~' }
