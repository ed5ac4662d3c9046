module flowspan.dev/conformance

go 1.25.0

require flowspan.dev/go v0.0.0

replace flowspan.dev/go => ../../clients/go
