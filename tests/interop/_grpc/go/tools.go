//go:build tools

// Package interop names the programs that the interop tests build, so that `go mod tidy` keeps what they need.
package interop

import (
	_ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
	_ "google.golang.org/grpc/interop/client"
	_ "google.golang.org/grpc/interop/http2"
	_ "google.golang.org/grpc/interop/server"
)
