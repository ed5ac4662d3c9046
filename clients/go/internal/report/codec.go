package report

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// frame is an encoded ReportRequest in parts.
type frame [][]byte

func (f frame) size() int {
	size := 0
	for _, part := range f {
		size += len(part)
	}
	return size
}

// codec sends encoded frames without another copy, and decodes generated messages.
type codec struct{}

var _ encoding.CodecV2 = codec{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	parts, ok := v.(frame)
	if !ok {
		return nil, fmt.Errorf("flowspan: the report stream sends frames, not %T", v)
	}
	buffers := make(mem.BufferSlice, len(parts))
	for i, part := range parts {
		buffers[i] = mem.SliceBuffer(part)
	}
	return buffers, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("flowspan: the report stream receives messages, not %T", v)
	}
	return proto.Unmarshal(data.Materialize(), message)
}
