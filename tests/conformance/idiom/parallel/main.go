// Command parallel is a program of the idiom tier.
package main

import (
	"context"
	"log/slog"
	"sync"

	"flowspan.dev/conformance/program"
	"flowspan.dev/go"
)

func main() {
	program.Main(func(ctx context.Context, client *flowspan.Client) error {
		sum, err := flowspan.Flow(ctx, client, "etl", func(ctx context.Context) (int, error) {
			var here sync.WaitGroup
			here.Add(3)
			var futures []*flowspan.Future[int]
			for i, name := range []string{"one", "two", "three"} {
				futures = append(futures, flowspan.Go(ctx, name, func(ctx context.Context) (int, error) {
					here.Done()
					here.Wait()
					slog.InfoContext(ctx, "> "+name)
					return i + 1, nil
				}))
			}
			numbers, err := flowspan.WaitAll(ctx, futures)
			sum := 0
			for _, number := range numbers {
				sum += number
			}
			return sum, err
		})
		program.Print(sum)
		return err
	})
}
