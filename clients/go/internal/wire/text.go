package wire

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	nul            = "\x00"
	visibleNul     = "␀"
	replacement    = "\uFFFD"
	ellipsis       = "…"
	reservedForCut = 64
)

// Clean returns the text as the service takes it: valid UTF-8 without NUL characters.
func Clean(text string) string {
	text = Valid(text)
	if strings.Contains(text, nul) {
		text = strings.ReplaceAll(text, nul, visibleNul)
	}
	return text
}

// Valid returns the text with invalid UTF-8 replaced by U+FFFD.
func Valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return strings.ToValidUTF8(text, replacement)
}

// Clip returns the cleaned text, cut at its end to a number of bytes.
func Clip(text string, maxBytes int) string {
	if len(text) > maxBytes*2 {
		text = text[:maxBytes*2] // cleaning a very long text would be for nothing
	}
	text = Clean(text)
	if len(text) <= maxBytes {
		return text
	}
	return head(text, maxBytes-len(ellipsis)) + ellipsis
}

// Shorten returns the cleaned text with its middle left out if it exceeds a number of bytes.
func Shorten(text string, maxBytes int) string {
	text = Clean(text)
	if len(text) <= maxBytes {
		return text
	}
	half := (maxBytes - reservedForCut) / 2
	begin, end := head(text, half), tail(text, half)
	return fmt.Sprintf("%s\n… %d bytes left out …\n%s", begin, len(text)-len(begin)-len(end), end)
}

// Pieces splits a text at character boundaries into pieces of a number of bytes at most. An empty
// text is one piece.
func Pieces(text string, maxBytes int) []string {
	var pieces []string
	for len(text) > maxBytes {
		piece := head(text, maxBytes)
		pieces = append(pieces, piece)
		text = text[len(piece):]
	}
	return append(pieces, text)
}

func head(text string, size int) string {
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size]
}

func tail(text string, size int) string {
	start := len(text) - size
	for start < len(text) && !utf8.RuneStart(text[start]) {
		start++
	}
	return text[start:]
}
