package flowspan

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
)

// tlsFromEnviron returns the settings of TLS that the environment names, with the variables of the
// Python client; nil for a connection without TLS.
func tlsFromEnviron() (*tls.Config, error) {
	ca, certificate := variable("FLOWSPAN_TLS_CA"), variable("FLOWSPAN_TLS_CLIENT_CERT")
	key, name := variable("FLOWSPAN_TLS_CLIENT_KEY"), variable("FLOWSPAN_TLS_SERVER_NAME")
	switch text := variable("FLOWSPAN_TLS"); strings.ToLower(text) {
	case "1", "true", "yes", "on":
	case "0", "false", "no", "off":
		return nil, nil
	case "", "auto":
		if ca == "" && certificate == "" && name == "" {
			return nil, nil
		}
	default:
		return nil, configError("FLOWSPAN_TLS=%q: expected true, false or auto", text)
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}
	if ca != "" {
		content, err := os.ReadFile(expandUser(ca))
		if err != nil {
			return nil, configError("FLOWSPAN_TLS_CA: %v", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(content) {
			return nil, configError("FLOWSPAN_TLS_CA: %s has no certificate in PEM", ca)
		}
	}
	if certificate != "" {
		if key == "" {
			key = certificate
		}
		pair, err := tls.LoadX509KeyPair(expandUser(certificate), expandUser(key))
		if err != nil {
			return nil, configError("FLOWSPAN_TLS_CLIENT_CERT, FLOWSPAN_TLS_CLIENT_KEY: %v", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return settings, nil
}

func variable(name string) string { return strings.TrimSpace(os.Getenv(name)) }

// expandUser returns a path with the home directory of the user in place of a leading "~/".
func expandUser(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if user, err := os.UserHomeDir(); err == nil {
			return filepath.Join(user, rest)
		}
	}
	return path
}
