// Program compression has the interop cases about compressed messages, as a client and as a server, on
// grpc-go's library: its own interop binaries leave them out. Whether a message came compressed is
// what the library tells its stats handler. It compresses all messages of a call in one direction, or none.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

const (
	largeRequest = 271828
	largeReply   = 314159
	squeezed     = 27182
	plain        = 45904
	firstReply   = 31415
	secondReply  = 92653
)

var (
	host     = flag.String("server_host", "localhost", "client: where the server is")
	toPort   = flag.Int("server_port", 10000, "client: its port")
	testCase = flag.String("test_case", "", "client: the case")
	port     = flag.Int("port", 0, "serve on this port, and be no client")
)

// received notes, for one call, whether each message came compressed.
type received struct{ compressed []bool }

func (r *received) last() bool { return len(r.compressed) > 0 && r.compressed[len(r.compressed)-1] }

type key struct{}

func receivedBy(ctx context.Context) *received {
	found, _ := ctx.Value(key{}).(*received)
	return found
}

// watcher is a stats handler that fills in a call's received.
type watcher struct{}

func (watcher) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	if receivedBy(ctx) != nil {
		return ctx
	}
	return context.WithValue(ctx, key{}, &received{})
}

func (watcher) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InPayload); ok {
		notes := receivedBy(ctx)
		notes.compressed = append(notes.compressed, in.CompressedLength != in.Length)
	}
}

func (watcher) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (watcher) HandleConn(context.Context, stats.ConnStats)                       {}

func payload(size int32) *pb.Payload { return &pb.Payload{Body: make([]byte, size)} }

func boolean(value bool) *pb.BoolValue { return &pb.BoolValue{Value: value} }

// ---- server

type server struct {
	pb.UnimplementedTestServiceServer
}

func expectFlag(ctx context.Context, expected *pb.BoolValue) error {
	if expected != nil && expected.Value != receivedBy(ctx).last() {
		return status.Errorf(codes.InvalidArgument, "the request's compressed flag is not %v", expected.Value)
	}
	return nil
}

func (server) UnaryCall(ctx context.Context, request *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if err := expectFlag(ctx, request.ExpectCompressed); err != nil {
		return nil, err
	}
	if request.ResponseCompressed.GetValue() {
		if err := grpc.SetSendCompressor(ctx, gzip.Name); err != nil {
			return nil, err
		}
	} else if err := grpc.SetSendCompressor(ctx, "identity"); err != nil {
		return nil, err
	}
	return &pb.SimpleResponse{Payload: payload(request.ResponseSize)}, nil
}

func (server) StreamingInputCall(stream pb.TestService_StreamingInputCallServer) error {
	var size int32
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: size})
		}
		if err != nil {
			return err
		}
		if err := expectFlag(stream.Context(), request.ExpectCompressed); err != nil {
			return err
		}
		size += int32(len(request.Payload.GetBody()))
	}
}

func serve() error {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return err
	}
	serving := grpc.NewServer(grpc.StatsHandler(watcher{}))
	pb.RegisterTestServiceServer(serving, server{})
	return serving.Serve(listener)
}

// ---- client

func unary(stub pb.TestServiceClient, request *pb.SimpleRequest, options ...grpc.CallOption) (*received, error) {
	notes := &received{}
	request.ResponseSize, request.Payload = largeReply, payload(largeRequest)
	reply, err := stub.UnaryCall(context.WithValue(context.Background(), key{}, notes), request, options...)
	if err == nil && len(reply.Payload.GetBody()) != largeReply {
		err = fmt.Errorf("a reply of %d bytes", len(reply.Payload.GetBody()))
	}
	return notes, err
}

func clientCompressedUnary(stub pb.TestServiceClient) error {
	_, err := unary(stub, &pb.SimpleRequest{ExpectCompressed: boolean(true)})
	if status.Code(err) != codes.InvalidArgument {
		return fmt.Errorf("the probe ended with %v", err)
	}
	if _, err = unary(stub, &pb.SimpleRequest{ExpectCompressed: boolean(true)}, grpc.UseCompressor(gzip.Name)); err != nil {
		return err
	}
	_, err = unary(stub, &pb.SimpleRequest{ExpectCompressed: boolean(false)})
	return err
}

func serverCompressedUnary(stub pb.TestServiceClient) error {
	for _, wanted := range []bool{true, false} {
		notes, err := unary(stub, &pb.SimpleRequest{ResponseCompressed: boolean(wanted)})
		if err != nil {
			return err
		}
		if notes.last() != wanted {
			return fmt.Errorf("the reply's compressed flag is not %v", wanted)
		}
	}
	return nil
}

func upload(stub pb.TestServiceClient, size int32, expected bool, options ...grpc.CallOption) error {
	stream, err := stub.StreamingInputCall(context.Background(), options...)
	if err != nil {
		return err
	}
	request := &pb.StreamingInputCallRequest{Payload: payload(size), ExpectCompressed: boolean(expected)}
	if err := stream.Send(request); err != nil && err != io.EOF {
		return err
	}
	reply, err := stream.CloseAndRecv()
	if err == nil && reply.AggregatedPayloadSize != size {
		err = fmt.Errorf("%d of %d bytes arrived", reply.AggregatedPayloadSize, size)
	}
	return err
}

func clientCompressedStreaming(stub pb.TestServiceClient) error {
	if err := upload(stub, squeezed, true); status.Code(err) != codes.InvalidArgument {
		return fmt.Errorf("the probe ended with %v", err)
	}
	if err := upload(stub, squeezed, true, grpc.UseCompressor(gzip.Name)); err != nil {
		return err
	}
	return upload(stub, plain, false)
}

func serverCompressedStreaming(stub pb.TestServiceClient) error {
	notes := &received{}
	stream, err := stub.StreamingOutputCall(context.WithValue(context.Background(), key{}, notes), &pb.StreamingOutputCallRequest{
		ResponseParameters: []*pb.ResponseParameters{
			{Size: firstReply, Compressed: boolean(true)},
			{Size: secondReply, Compressed: boolean(false)},
		},
	})
	if err != nil {
		return err
	}
	for position, wanted := range []int{firstReply, secondReply} {
		reply, err := stream.Recv()
		if err != nil {
			return err
		}
		if size := len(reply.Payload.GetBody()); size != wanted {
			return fmt.Errorf("a reply of %d bytes, not %d", size, wanted)
		}
		if compressed := notes.last(); compressed != (position == 0) {
			return fmt.Errorf("reply %d has the compressed flag %v", position, compressed)
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("the call ended with %v", err)
	}
	return nil
}

var cases = map[string]func(pb.TestServiceClient) error{
	"client_compressed_unary":     clientCompressedUnary,
	"server_compressed_unary":     serverCompressedUnary,
	"client_compressed_streaming": clientCompressedStreaming,
	"server_compressed_streaming": serverCompressedStreaming,
}

func call() error {
	run, ok := cases[*testCase]
	if !ok {
		return fmt.Errorf("no case %q", *testCase)
	}
	connection, err := grpc.NewClient(
		fmt.Sprintf("passthrough:///%s:%d", *host, *toPort),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(watcher{}),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	return run(pb.NewTestServiceClient(connection))
}

func main() {
	flag.Parse()
	task := call
	if *port != 0 {
		task = serve
	}
	if err := task(); err != nil {
		log.Fatal(err)
	}
}
