// Package uuid7 makes UUIDs of version 7 (RFC 9562) that increase within the process.
package uuid7

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
)

// Size is the length of an id as text.
const Size = 36

const (
	nanosPerMilli = 1_000_000
	// counterMask keeps the counter in the low half of its 62 bits, so that it cannot overflow
	// within a millisecond.
	counterMask = 1<<61 - 1
	variantBits = 1 << 63
	versionBits = 0x7000
	randomBits  = 0x0fff
)

// ErrInvalid is returned for a text that is not a UUID in canonical form.
var ErrInvalid = errors.New("not a UUID")

// ID is a UUID.
type ID [16]byte

// Generator makes ids. It is safe for concurrent use.
type Generator struct {
	now func() int64

	mu      sync.Mutex
	millis  int64
	random  uint16
	counter uint64
}

// NewGenerator returns a generator with a clock in nanoseconds since 1970. The clock may go back:
// the ids do not.
func NewGenerator(now func() int64) *Generator {
	return &Generator{now: now, millis: -1}
}

// Next returns a new id, greater than all before.
func (g *Generator) Next() ID {
	// A UUIDv7 cannot express times before 1970.
	millis := max(g.now()/nanosPerMilli, 0)
	g.mu.Lock()
	if millis > g.millis {
		g.millis = millis
		g.reseed()
	}
	g.counter++
	millis, random, counter := g.millis, g.random, g.counter
	g.mu.Unlock()
	var id ID
	binary.BigEndian.PutUint64(id[:8], uint64(millis)<<16|uint64(versionBits|random))
	binary.BigEndian.PutUint64(id[8:], variantBits|counter)
	return id
}

func (g *Generator) reseed() {
	var bits [10]byte
	_, _ = rand.Read(bits[:]) // never fails (crypto/rand)
	g.counter = binary.BigEndian.Uint64(bits[:8]) & counterMask
	g.random = binary.BigEndian.Uint16(bits[8:]) & randomBits
}

// String returns the canonical form: 36 lower-case characters.
func (id ID) String() string {
	var text [Size]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// Hex returns the 32 hex digits of the id.
func (id ID) Hex() string {
	return hex.EncodeToString(id[:])
}

// IsV7 reports whether the id is a UUIDv7. The service accepts no other ids of runs.
func (id ID) IsV7() bool { return id[6]>>4 == 7 && id[8]>>6 == 2 }

// Parse reads an id, with or without dashes.
func Parse(text string) (ID, error) {
	var id ID
	if len(text) == Size && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-' {
		text = strings.ReplaceAll(text, "-", "")
	}
	if len(text) != hex.EncodedLen(len(id)) {
		return id, ErrInvalid
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return ID{}, ErrInvalid
	}
	return id, nil
}
