package flowspan

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	defaultAddress = "127.0.0.1:4600"
	unixScheme     = "unix:"
	dialTimeout    = time.Second
	maxPort        = 65535
)

// target is where a client connects to.
type target struct {
	// text is the address for people.
	text string
	// network and address are for net.Dial.
	network, address string
	// home is the home of the local service, whose address is read anew for each connection; empty
	// for a configured address.
	home string
}

// parseAddress reads host:port, [ip6]:port or unix:/path.
func parseAddress(text, source string) (target, error) {
	const forms = "expected host:port, as in 127.0.0.1:4600, or unix:/path/to/socket"
	if path, ok := strings.CutPrefix(text, unixScheme); ok {
		path = strings.TrimPrefix(path, "//")
		if !strings.HasPrefix(path, "/") || len(path) < 2 {
			return target{}, configError("%s=%q: the path of a Unix socket must be absolute; %s", source, text, forms)
		}
		return target{text: unixScheme + path, network: "unix", address: path}, nil
	}
	if strings.Contains(text, "://") {
		return target{}, configError("%s=%q: it is a gRPC address and not a URL; %s", source, text, forms)
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return target{}, configError("%s=%q: it has no host or no port; %s", source, text, forms)
	}
	number, err := strconv.Atoi(port)
	if err != nil || number < 1 || number > maxPort {
		return target{}, configError("%s=%q: the port is not a number from 1 to %d; %s", source, text, maxPort, forms)
	}
	return target{text: text, network: "tcp", address: text}, nil
}

// resolveTarget returns the configured address, or else the published one of the local service, or
// else the default port.
func resolveTarget(configured string) (target, error) {
	if configured != "" {
		return parseAddress(configured, "address")
	}
	if text := strings.TrimSpace(os.Getenv("FLOWSPAN_ADDRESS")); text != "" {
		return parseAddress(text, "FLOWSPAN_ADDRESS")
	}
	home := localHome()
	if len(published(home)) > 0 {
		return target{text: filepath.Join(home, serviceFile), home: home}, nil
	}
	return target{text: defaultAddress, network: "tcp", address: defaultAddress}, nil
}

const serviceFile = "service.json"

// published returns the addresses that the local service has published, alive or not.
func published(home string) []target {
	data, err := os.ReadFile(filepath.Join(home, serviceFile)) //nolint:gosec // a file of the user
	if err != nil {
		return nil
	}
	var info struct {
		Addresses []string `json:"addresses"`
	}
	if json.Unmarshal(data, &info) != nil {
		return nil
	}
	var found []target
	for _, text := range info.Addresses {
		if one, err := parseAddress(text, serviceFile); err == nil {
			found = append(found, one)
		}
	}
	return found
}

// localHome returns the home of the local service, as the Python client finds it.
func localHome() string {
	if home := strings.TrimSpace(os.Getenv("FLOWSPAN_HOME")); home != "" {
		home = expandUser(home)
		if absolute, err := filepath.Abs(home); err == nil {
			return absolute
		}
		return home
	}
	home := dataFolder()
	if home != "" {
		if _, err := os.Stat(home); err == nil {
			return home
		}
	}
	// A process without a usable home directory keeps its runs in a private temporary folder.
	private := filepath.Join(os.TempDir(), "flowspan-"+strconv.Itoa(os.Geteuid()), "home")
	if _, err := os.Stat(private); err == nil {
		return private
	}
	return home
}

func dataFolder() string {
	user, err := os.UserHomeDir()
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) && runtime.GOOS != "darwin" {
		return filepath.Join(data, "flowspan")
	}
	if err != nil {
		return ""
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(user, "Library", "Application Support", "flowspan")
	}
	return filepath.Join(user, ".local", "share", "flowspan")
}

// dial connects to the service. The local service is looked up each time, because it may have been
// restarted at another address.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 0, KeepAlive: keepaliveTime}
	if t.home == "" {
		return dialer.DialContext(ctx, t.network, t.address)
	}
	dialer.Timeout = dialTimeout
	err := error(&net.OpError{Op: "dial", Net: "unix", Err: os.ErrNotExist})
	for _, one := range published(t.home) {
		conn, failure := dialer.DialContext(ctx, one.network, one.address)
		if failure == nil {
			return conn, nil
		}
		err = failure
	}
	return nil, err
}

// authority is the host that TLS checks and that HTTP/2 names.
func (t target) authority() string {
	if t.network == "tcp" {
		return t.address
	}
	return "localhost"
}

// grpcTarget is an address that gRPC does not resolve: dial does.
func (t target) grpcTarget() string {
	return "passthrough:///" + url.PathEscape(t.authority())
}
