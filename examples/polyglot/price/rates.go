package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"flowspan.dev/go"
)

// rates are the prices of a euro in other currencies.
var rates = map[string]float64{"EUR": 1, "USD": 1.25, "JPY": 160}

// serveRates answers GET /CURRENCY on a free port of this machine as long as the process lives, and
// returns the URL. Each answer is a run, below the run that the headers of the request name.
func serveRates(client *flowspan.Client) (url string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{currency}", func(w http.ResponseWriter, r *http.Request) {
		currency := r.PathValue("currency")
		ctx := flowspan.Extract(r.Context(), r.Header)
		rate, err := flowspan.Flow(ctx, client, "rate", func(ctx context.Context) (float64, error) {
			return rateOf(ctx, currency)
		}, flowspan.Parameters(map[string]any{"currency": currency}))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		if err := json.NewEncoder(w).Encode(rate); err != nil {
			slog.Warn("the client has gone", "error", err)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // until the process ends
	return "http://" + listener.Addr().String(), nil
}

func rateOf(ctx context.Context, currency string) (float64, error) {
	rate, ok := rates[currency]
	if !ok {
		return 0, fmt.Errorf("there is no rate for %q", currency)
	}
	slog.InfoContext(ctx, "asked for a rate", "currency", currency, "rate", rate)
	return rate, nil
}
