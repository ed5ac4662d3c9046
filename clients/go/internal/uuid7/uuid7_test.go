package uuid7

import (
	"strings"
	"sync"
	"testing"
)

func TestIDsIncrease(t *testing.T) {
	// A clock that jumps back and forth.
	times := []int64{5e9, 5e9, 6e9, 1e9, -3, 7e9}
	n := 0
	generator := NewGenerator(func() int64 { n++; return times[n%len(times)] })
	last := ""
	for range 10_000 {
		id := generator.Next().String()
		if id <= last {
			t.Fatal(last, id)
		}
		if len(id) != Size || id[14] != '7' || !strings.ContainsRune("89ab", rune(id[19])) {
			t.Fatal(id)
		}
		last = id
	}
}

func TestIDsAreUniqueAmongGoroutines(t *testing.T) {
	generator := NewGenerator(func() int64 { return 1e18 })
	var seen sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if _, again := seen.LoadOrStore(generator.Next(), true); again {
					t.Error("an id twice")
				}
			}
		})
	}
	all.Wait()
}

func TestParse(t *testing.T) {
	id := NewGenerator(func() int64 { return 1e18 }).Next()
	for _, text := range []string{id.String(), id.Hex(), strings.ToUpper(id.String())} {
		if got, err := Parse(text); err != nil || got != id {
			t.Error(text, err)
		}
	}
	for _, text := range []string{"", "x", id.String()[1:], strings.Replace(id.String(), "-", "x", 1), id.Hex()[:31] + "g"} {
		if _, err := Parse(text); err == nil {
			t.Error(text)
		}
	}
}
