// Command price adds prices to an order, and calls the TypeScript program `render` with it. It reads the
// order from its standard input, and writes the receipt to its standard output.
//
// The program that starts it names its run in the environment (FLOWSPAN_RUN, TRACEPARENT), so the flow
// here is a child of that run, without any code.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"flowspan.dev/go"
)

type line struct {
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
	// Cents is the price of the whole line, in cents of a euro.
	Cents int `json:"cents"`
}

type order struct {
	Number      int     `json:"number"`
	Customer    string  `json:"customer"`
	Currency    string  `json:"currency"`
	Lines       []line  `json:"lines"`
	TapeSeconds float64 `json:"tapeSeconds"`
	// RatesURL is where the program that gets the order asks for exchange rates.
	RatesURL string `json:"ratesUrl"`
}

// cents are the prices of one piece, in cents of a euro.
var cents = map[string]int{"teapot": 2450, "cup": 690, "tea": 1280}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "price:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	slog.SetDefault(slog.New(flowspan.NewLogHandler(slog.NewTextHandler(os.Stderr, nil))))
	var given order
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	client, err := flowspan.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close(ctx)) }()
	given.RatesURL, err = serveRates(client)
	if err != nil {
		return err
	}
	receipt, err := flowspan.Flow(ctx, client, "price", func(ctx context.Context) ([]byte, error) {
		return price(ctx, given)
	}, flowspan.Parameters(map[string]any{"order": given.Number}))
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(receipt)
	return err
}

func price(ctx context.Context, given order) ([]byte, error) {
	total := 0
	priced := flowspan.Map(ctx, "price_line", given.Lines, priceLine)
	given.Lines = nil
	for _, future := range priced {
		line, err := future.Wait(ctx)
		if err != nil {
			return nil, err
		}
		total += line.Cents
		given.Lines = append(given.Lines, line)
	}
	slog.InfoContext(ctx, "the order is priced", "order", given.Number, "cents", total)
	return flowspan.Task(ctx, "call_render", func(ctx context.Context) ([]byte, error) {
		return callRender(ctx, given)
	})
}

func priceLine(_ context.Context, line line) (line, error) {
	each, ok := cents[line.Item]
	if !ok || line.Quantity < 1 {
		return line, fmt.Errorf("there is no price for %d × %q", line.Quantity, line.Item)
	}
	line.Cents = line.Quantity * each
	return line, nil
}

// callRender calls the TypeScript program. Its runs become children of the run of ctx.
func callRender(ctx context.Context, priced order) ([]byte, error) {
	input, err := json.Marshal(priced)
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("render"); err != nil {
		slog.WarnContext(ctx, "the chain ends here: there is no program `render`")
		return input, nil
	}
	command := exec.CommandContext(ctx, "render")
	command.Env = append(os.Environ(), flowspan.Environ(ctx)...)
	command.Stdin, command.Stderr = bytes.NewReader(input), os.Stderr
	// If this run is cancelled, the service cancels the runs of the program as well. Killing it at once,
	// as CommandContext does, would make them Crashed instead of Cancelled.
	command.Cancel = func() error { return nil }
	command.WaitDelay = 10 * time.Second
	return command.Output()
}
