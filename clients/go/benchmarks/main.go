// Command benchmarks measures the client against a real service, and prints one line of JSON for each
// figure.
//
//	go run ./benchmarks
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime/pprof"
	"syscall"
	"time"

	"flowspan.dev/go"
	"flowspan.dev/go/internal/testservice"
)

const transitionsOfTask = 3

type figure struct {
	Client string  `json:"client"`
	Figure string  `json:"figure"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Count  int     `json:"count"`
}

func main() {
	tasks := flag.Int("tasks", 200_000, "tasks in the measurement of throughput")
	profile := flag.String("cpuprofile", "", "write a profile of the client's CPU to this file")
	flag.Parse()
	if err := measure(*tasks, *profile); err != nil {
		log.Fatal(err)
	}
}

func measure(tasks int, profile string) (err error) {
	home, err := os.MkdirTemp("", "flowspan-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	service := testservice.New(home)
	if err := service.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, service.Stop()) }()
	ctx := context.Background()
	client, err := flowspan.Connect(ctx, flowspan.WithAddress(service.Address), flowspan.WithFlushTimeout(time.Minute))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close(ctx)) }()
	if _, err := throughput(ctx, client, min(tasks, 10_000)); err != nil { // warm up
		return err
	}
	if profile != "" {
		stop, err := startProfile(profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	own, theirs := cpuOfSelf(), service.CPU()
	took, err := throughput(ctx, client, tasks)
	if err != nil {
		return err
	}
	for _, each := range []figure{
		{"go", "acked_transitions_per_second", float64(tasks*transitionsOfTask) / took.Seconds(), "1/s", tasks * transitionsOfTask},
		{"go", "client_cpu_per_task", micros(cpuOfSelf()-own, tasks), "µs", tasks},
		{"go", "service_cpu_per_task", micros(service.CPU()-theirs, tasks), "µs", tasks},
	} {
		if err := show(each); err != nil {
			return err
		}
	}
	return overhead(ctx, client)
}

func micros(total time.Duration, count int) float64 {
	return float64(total.Microseconds()) / float64(count)
}

// cpuOfSelf returns the CPU time of this process.
func cpuOfSelf() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func startProfile(path string) (stop func() error, err error) {
	file, err := os.Create(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error { pprof.StopCPUProfile(); return file.Close() }, nil
}

// throughput runs tasks that do nothing, one after the other, and returns the time until all are
// stored.
func throughput(ctx context.Context, client *flowspan.Client, tasks int) (time.Duration, error) {
	began := time.Now()
	_, err := flowspan.Flow(ctx, client, "throughput", func(ctx context.Context) (int, error) {
		for range tasks {
			if _, err := flowspan.Task(ctx, "nothing", nothing); err != nil {
				return 0, err
			}
		}
		return 0, client.Flush(ctx)
	})
	return time.Since(began), err
}

// overhead measures what a task costs its caller, while the outbox has space.
func overhead(ctx context.Context, client *flowspan.Client) error {
	const tasks, rounds = 2_000, 10
	best := time.Duration(1 << 62)
	_, err := flowspan.Flow(ctx, client, "overhead", func(ctx context.Context) (int, error) {
		for range rounds {
			began := time.Now()
			for range tasks {
				if _, err := flowspan.Task(ctx, "nothing", nothing); err != nil {
					return 0, err
				}
			}
			best = min(best, time.Since(began))
			if err := client.Flush(ctx); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
	if err != nil {
		return err
	}
	return show(figure{"go", "task_overhead", float64(best.Nanoseconds()) / tasks / 1000, "µs", tasks})
}

func nothing(context.Context) (int, error) { return 0, nil }

func show(one figure) error {
	data, err := json.Marshal(one)
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(data))
	return err
}
