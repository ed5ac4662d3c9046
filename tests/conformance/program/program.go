// Package program has what each program of the idiom tier begins and ends with.
package program

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"log/slog"
	"os"

	"google.golang.org/genproto/googleapis/rpc/code"

	"flowspan.dev/go"
)

var input = bufio.NewReader(os.Stdin)

// Main connects, runs a program, and closes the client. A failed flow is no error of the program.
func Main(run func(ctx context.Context, client *flowspan.Client) error) {
	ctx := context.Background()
	slog.SetDefault(slog.New(flowspan.NewLogHandler(slog.DiscardHandler)))
	client, err := flowspan.Connect(ctx, Options()...)
	if err != nil {
		log.Fatal(err)
	}
	if err := run(ctx, client); err != nil {
		log.Fatal(err)
	}
	if err := client.Close(ctx); err != nil {
		log.Fatal(err)
	}
}

// Options returns the options with the certificates that the environment names, as for Python.
func Options() []flowspan.Option {
	if os.Getenv("FLOWSPAN_TLS") == "" {
		return nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := os.Getenv("FLOWSPAN_TLS_CA"); file != "" {
		ca, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		settings.RootCAs = x509.NewCertPool()
		settings.RootCAs.AppendCertsFromPEM(ca)
	}
	if file := os.Getenv("FLOWSPAN_TLS_CLIENT_CERT"); file != "" {
		own, err := tls.LoadX509KeyPair(file, os.Getenv("FLOWSPAN_TLS_CLIENT_KEY"))
		if err != nil {
			log.Fatal(err)
		}
		settings.Certificates = []tls.Certificate{own}
	}
	return []flowspan.Option{flowspan.WithTLS(settings)}
}

// Advice returns a word for whether an error says what to do.
func Advice(err *flowspan.Error) string {
	if err.Advice == "" {
		return "no advice"
	}
	return "advice"
}

// CodeName returns the name of the code of an error: NOT_FOUND.
func CodeName(err *flowspan.Error) string {
	return code.Code(err.Code).String()
}

// Print writes a line that the test reads.
func Print(values ...any) {
	fmt.Println(append([]any{">"}, values...)...)
}

// Line waits for a line of the test.
func Line() string {
	line, err := input.ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	return line[:len(line)-1]
}
