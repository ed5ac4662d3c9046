// Package wire encodes events for the report stream, within the limits of the protocol.
package wire

// The limits that the comments of the protos promise. Sizes are in bytes of UTF-8.
const (
	kib = 1 << 10
	mib = 1 << 20

	MaxName             = 256
	MaxTags             = 64
	MaxLabels           = 64
	MaxLabelKey         = 64
	MaxStateName        = 128
	MaxMessage          = 32 * kib
	MaxFailureType      = kib
	MaxStackTrace       = 64 * kib
	MaxFailureChain     = 16
	MaxFailures         = 64
	MaxDescription      = 4 * kib
	MaxInputs           = 1000
	MaxFilePath         = kib
	MaxFlowParameters   = 512 * kib
	MaxTaskParameters   = 64 * kib
	MaxPayload          = mib
	MaxTraceState       = 512
	MaxURL              = kib
	MaxLogMessage       = 256 * kib
	MaxArtifactText     = 32 * kib
	MaxArtifactType     = 64
	MaxClientField      = 64
	MaxResource         = 64
	MaxResourceKey      = 256
	MaxResourceValue    = kib
	SecretSize          = 16
	EncodingJSON        = "json"
	EncodingOfArtifacts = EncodingJSON
)
