// Package program has what each program of the idiom tier begins and ends with.
package program

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"

	"flowspan.dev/go"
)

var input = bufio.NewReader(os.Stdin)

// Main connects, runs a program, and closes the client. A failed flow is no error of the program.
func Main(run func(ctx context.Context, client *flowspan.Client) error) {
	ctx := context.Background()
	slog.SetDefault(slog.New(flowspan.NewLogHandler(slog.DiscardHandler)))
	client, err := flowspan.Connect(ctx)
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
