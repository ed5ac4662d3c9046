package flowspan

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
)

// setUpTLS takes the settings of TLS from the environment, which has the variables of the Python
// client. It changes nothing if they ask for a connection without TLS.
func (c *config) setUpTLS() error {
	ca, certificate, name := variable("FLOWSPAN_TLS_CA"), variable("FLOWSPAN_TLS_CLIENT_CERT"), variable("FLOWSPAN_TLS_SERVER_NAME")
	switch text := variable("FLOWSPAN_TLS"); strings.ToLower(text) {
	case "1", "true", "yes", "on":
	case "0", "false", "no", "off":
		return nil
	case "", "auto":
		if ca == "" && certificate == "" && name == "" {
			return nil
		}
	default:
		return configError("FLOWSPAN_TLS=%q: expected true, false or auto", text)
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}
	var err error
	if ca != "" {
		if settings.RootCAs, err = readAuthorities(ca); err != nil {
			return err
		}
	}
	if certificate != "" {
		if settings.Certificates, err = readCertificate(certificate); err != nil {
			return err
		}
	}
	c.tls = settings
	return nil
}

func readAuthorities(path string) (*x509.CertPool, error) {
	content, err := os.ReadFile(expandUser(path))
	if err != nil {
		return nil, configError("FLOWSPAN_TLS_CA: %v", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, configError("FLOWSPAN_TLS_CA: %s has no certificate in PEM", path)
	}
	return pool, nil
}

// readCertificate reads the certificate of this client, and its key, which may be in the same file.
func readCertificate(path string) ([]tls.Certificate, error) {
	key := variable("FLOWSPAN_TLS_CLIENT_KEY")
	if key == "" {
		key = path
	}
	pair, err := tls.LoadX509KeyPair(expandUser(path), expandUser(key))
	if err != nil {
		return nil, configError("FLOWSPAN_TLS_CLIENT_CERT, FLOWSPAN_TLS_CLIENT_KEY: %v", err)
	}
	return []tls.Certificate{pair}, nil
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
