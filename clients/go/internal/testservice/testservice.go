// Package testservice starts a real flowspan service for tests and benchmarks.
package testservice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	poll         = 20 * time.Millisecond
)

// Service is a service in a home of its own.
type Service struct {
	Home string
	// Address is the address over TCP.
	Address string

	arguments []string
	mu        sync.Mutex
	process   *exec.Cmd
	ended     chan struct{}
}

// Command returns the command that starts a service: FLOWSPAN_TEST_SERVICE, or the one of this
// repository.
func Command() ([]string, error) {
	if text := os.Getenv("FLOWSPAN_TEST_SERVICE"); text != "" {
		return strings.Fields(text), nil
	}
	_, file, _, _ := runtime.Caller(0)
	program := filepath.Join(filepath.Dir(file), "..", "..", "..", "..", ".venv", "bin", "flowspan")
	if _, err := os.Stat(program); err != nil {
		return nil, errors.New("there is no service to test with: run `make setup`, or set FLOWSPAN_TEST_SERVICE to its command")
	}
	return []string{program, "server", "start"}, nil
}

// New returns a service that is not started yet. The home must exist.
func New(home string, arguments ...string) *Service {
	return &Service{Home: home, arguments: arguments}
}

// Start starts the service and waits until it answers. A restart keeps the port.
func (s *Service) Start() error {
	command, err := Command()
	if err != nil {
		return err
	}
	port := "0"
	if s.Address != "" {
		port = s.Address[strings.LastIndex(s.Address, ":")+1:]
	}
	command = append(command, "--home", s.Home, "--host", "127.0.0.1", "--port", port, "--idle-timeout", "900")
	command = append(command, s.arguments...)
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	process := exec.CommandContext(context.Background(), command[0], command[1:]...)
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	s.mu.Lock()
	s.process, s.ended = process, ended
	s.mu.Unlock()
	return s.await(process.Process.Pid, ended)
}

func (s *Service) await(pid int, ended chan struct{}) error {
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		if address := s.published(pid); address != "" {
			s.Address = address
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("the service ended:\n%s", s.Log())
		case <-time.After(poll):
		}
	}
	_ = s.Kill()
	return fmt.Errorf("the service did not start in %s:\n%s", startTimeout, s.Log())
}

// published returns the address over TCP that the process has published.
func (s *Service) published(pid int) string {
	data, err := os.ReadFile(filepath.Join(s.Home, "service.json"))
	if err != nil {
		return ""
	}
	var info struct {
		PID       int      `json:"pid"`
		Addresses []string `json:"addresses"`
	}
	if json.Unmarshal(data, &info) != nil || info.PID != pid {
		return ""
	}
	for _, address := range info.Addresses {
		if !strings.HasPrefix(address, "unix:") {
			return address
		}
	}
	return ""
}

// LogFile is the file with the output of the service.
func (s *Service) LogFile() string { return filepath.Join(s.Home, "test-service.log") }

// Log returns the output of the service.
func (s *Service) Log() string {
	data, _ := os.ReadFile(s.LogFile()) // empty if there is none
	return string(data)
}

// CPU returns the CPU time of the service so far; zero if the system does not tell it.
func (s *Service) CPU() time.Duration {
	const ticks = time.Second / 100 // of the fields of Linux, on all its machines
	s.mu.Lock()
	process := s.process
	s.mu.Unlock()
	if process == nil {
		return 0
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ") // after the name, which may have spaces
	fields := strings.Fields(rest)
	const user, system = 11, 12
	if len(fields) <= system {
		return 0
	}
	total := time.Duration(0)
	for _, field := range []string{fields[user], fields[system]} {
		count, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0
		}
		total += time.Duration(count) * ticks
	}
	return total
}

func (s *Service) signal(number syscall.Signal) error {
	s.mu.Lock()
	process, ended := s.process, s.ended
	s.mu.Unlock()
	if process == nil {
		return nil
	}
	select {
	case <-ended:
		return nil
	default:
	}
	return process.Process.Signal(number)
}

// Kill ends the service with SIGKILL.
func (s *Service) Kill() error { return s.end(syscall.SIGKILL) }

// Stop ends the service with SIGTERM.
func (s *Service) Stop() error { return s.end(syscall.SIGTERM) }

func (s *Service) end(number syscall.Signal) error {
	if err := s.signal(number); err != nil {
		return err
	}
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("the service did not end in %s", stopTimeout)
	}
}
