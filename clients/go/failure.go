package flowspan

import (
	"fmt"
	"reflect"
	"runtime"
	"sync"

	"flowspan.dev/go/flowspanpb"
	"flowspan.dev/go/internal/wire"
)

// failureOf returns an error with its causes, as flowspan.v1.Failure.
func failureOf(err error) *flowspanpb.Failure {
	left := wire.MaxFailures
	return failureIn(err, wire.MaxFailureChain, &left)
}

// failureIn returns nil if no more errors fit.
func failureIn(err error, depth int, left *int) *flowspanpb.Failure {
	if depth == 0 || *left == 0 || err == nil {
		return nil
	}
	*left--
	failure := &flowspanpb.Failure{
		Type:       wire.Clip(typeName(err), wire.MaxFailureType),
		Message:    wire.Shorten(shown(err), wire.MaxMessage),
		StackTrace: wire.Shorten(stackOf(err), wire.MaxStackTrace),
	}
	switch wrapper := err.(type) { //nolint:errorlint // the error itself, one step at a time
	case interface{ Unwrap() error }:
		failure.Cause = failureIn(wrapper.Unwrap(), depth-1, left)
	case interface{ Unwrap() []error }:
		for _, each := range wrapper.Unwrap() {
			if other := failureIn(each, depth-1, left); other != nil {
				failure.OtherCauses = append(failure.OtherCauses, other)
			}
		}
	}
	return failure
}

func panicFailure(out *outcome) *flowspanpb.Failure {
	failure := &flowspanpb.Failure{Type: wire.Clip(fmt.Sprintf("%T", out.value), wire.MaxFailureType)}
	if err, ok := out.value.(error); ok {
		failure = failureOf(err)
	} else {
		failure.Message = wire.Shorten(shown(out.value), wire.MaxMessage)
	}
	failure.StackTrace = wire.Shorten(string(out.stack), wire.MaxStackTrace)
	return failure
}

// typeName returns the type of an error with its package, as Go prints it.
func typeName(err error) string { return fmt.Sprintf("%T", err) }

// stackOf returns the stack of an error that has one, as those of github.com/pkg/errors: their verb %+v
// prints it.
func stackOf(err error) (stack string) {
	defer func() {
		if recover() != nil {
			stack = ""
		}
	}()
	if _, ok := reflect.TypeOf(err).MethodByName("StackTrace"); !ok {
		return ""
	}
	return fmt.Sprintf("%+v", err)
}

var codeLocations sync.Map // program counter → *flowspanpb.CodeLocation

// codeOf returns where a function stands.
func codeOf(pc uintptr) *flowspanpb.CodeLocation {
	if known, ok := codeLocations.Load(pc); ok {
		location, _ := known.(*flowspanpb.CodeLocation)
		return location
	}
	location := &flowspanpb.CodeLocation{}
	if function := runtime.FuncForPC(pc); function != nil {
		file, line := function.FileLine(pc)
		location.FilePath = wire.Clip(file, wire.MaxFilePath)
		location.Line = int32(min(line, 1<<30))
		location.Function = wire.Clip(function.Name(), wire.MaxName)
	}
	codeLocations.Store(pc, location)
	return location
}

type definitionKey struct {
	pc                   uintptr
	version, description string
	retries              int
}

// maxDefinitions bounds the cache: a description may differ from run to run.
const maxDefinitions = 1000

var definitions struct {
	sync.RWMutex
	known map[definitionKey][]byte
}

// definitionOf returns the encoded fields that all runs of a function share.
func definitionOf(pc uintptr, code *flowspanpb.CodeLocation, o *runOptions) []byte {
	key := definitionKey{pc, o.version, o.description, o.retries}
	definitions.RLock()
	known, ok := definitions.known[key]
	definitions.RUnlock()
	if ok {
		return known
	}
	data := wire.Definition(o.version, o.description, o.retries+1, code)
	definitions.Lock()
	defer definitions.Unlock()
	if definitions.known == nil || len(definitions.known) >= maxDefinitions {
		definitions.known = map[definitionKey][]byte{}
	}
	definitions.known[key] = data
	return data
}
