// Echo server and clients on grpc-go, for bench/rpc.py; the words are those of bench/_rpc_peers.py.
//
// BytesValue has the same bytes on the wire as EchoRequest and EchoReply: field 1, of bytes.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	unaryPath  = "/trioraft.testing.Echo/Unary"
	expandPath = "/trioraft.testing.Echo/Expand"
	chatPath   = "/trioraft.testing.Echo/Chat"
)

var request = &wrapperspb.BytesValue{Value: []byte("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")}

func unary(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(wrapperspb.BytesValue)
	if err := decode(in); err != nil {
		return nil, err
	}
	return &wrapperspb.BytesValue{Value: in.Value}, nil
}

func chat(_ any, stream grpc.ServerStream) error {
	for {
		in := new(wrapperspb.BytesValue)
		if err := stream.RecvMsg(in); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(&wrapperspb.BytesValue{Value: in.Value}); err != nil {
			return err
		}
	}
}

// expand answers with the request's payload as often as its field 2 says.
func expand(_ any, stream grpc.ServerStream) error {
	in := new(wrapperspb.BytesValue)
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	unknown := in.ProtoReflect().GetUnknown()
	_, _, tag := protowire.ConsumeTag(unknown)
	count, _ := protowire.ConsumeVarint(unknown[tag:])
	for range count {
		if err := stream.SendMsg(&wrapperspb.BytesValue{Value: in.Value}); err != nil {
			return err
		}
	}
	return nil
}

func bulk(channel *grpc.ClientConn, count int) {
	stream, err := channel.NewStream(context.Background(), &expandDesc, expandPath)
	if err != nil {
		log.Fatal(err)
	}
	asked := &wrapperspb.BytesValue{Value: make([]byte, 1<<20)}
	field := protowire.AppendTag(nil, 2, protowire.VarintType)
	asked.ProtoReflect().SetUnknown(protowire.AppendVarint(field, uint64(count)))
	if err := stream.SendMsg(asked); err != nil {
		log.Fatal(err)
	}
	_ = stream.CloseSend()
	for range count {
		if err := stream.RecvMsg(new(wrapperspb.BytesValue)); err != nil {
			log.Fatal(err)
		}
	}
}

var expandDesc = grpc.StreamDesc{StreamName: "Expand", Handler: expand, ServerStreams: true}
var chatDesc = grpc.StreamDesc{StreamName: "Chat", Handler: chat, ServerStreams: true, ClientStreams: true}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "trioraft.testing.Echo",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Unary", Handler: unary}},
		Streams:     []grpc.StreamDesc{expandDesc, chatDesc},
	}, nil)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}

func call(channel *grpc.ClientConn) {
	reply := new(wrapperspb.BytesValue)
	if err := channel.Invoke(context.Background(), unaryPath, request, reply); err != nil {
		log.Fatal(err)
	}
}

func manyCalls(channel *grpc.ClientConn, count, width int) {
	var running sync.WaitGroup
	for range width {
		running.Go(func() {
			for range count / width {
				call(channel)
			}
		})
	}
	running.Wait()
}

func latencies(channel *grpc.ClientConn, count int) {
	for range min(200, count) {
		call(channel)
	}
	times := make([]float64, 0, count)
	for range count {
		start := time.Now()
		call(channel)
		times = append(times, time.Since(start).Seconds())
	}
	slices.Sort(times)
	fmt.Println(times[len(times)/2], times[len(times)*99/100])
}

func echoes(channel *grpc.ClientConn, count, width int) {
	stream, err := channel.NewStream(context.Background(), &chatDesc, chatPath)
	if err != nil {
		log.Fatal(err)
	}
	room := make(chan struct{}, width)
	go func() {
		for range count {
			room <- struct{}{}
			if err := stream.SendMsg(request); err != nil {
				log.Fatal(err)
			}
		}
		_ = stream.CloseSend()
	}()
	reply := new(wrapperspb.BytesValue)
	for range count {
		if err := stream.RecvMsg(reply); err != nil {
			log.Fatal(err)
		}
		<-room
	}
}

func number(place int) int {
	if place >= len(os.Args) {
		return 1
	}
	found, err := strconv.Atoi(os.Args[place])
	if err != nil {
		log.Fatal(err)
	}
	return found
}

func main() {
	work := os.Args[1]
	if work == "serve" {
		serve()
		return
	}
	port, count, width := number(3), number(4), number(5)
	credentials := grpc.WithTransportCredentials(insecure.NewCredentials())
	limit := grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16 << 20))
	channel, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", port), credentials, limit)
	if err != nil {
		log.Fatal(err)
	}
	defer channel.Close()
	call(channel)
	if work == "latency" {
		latencies(channel, count)
		return
	}
	start := time.Now()
	if work == "unary" {
		manyCalls(channel, count, width)
	} else if work == "bulk" {
		bulk(channel, count)
	} else {
		echoes(channel, count, width)
	}
	fmt.Println(time.Since(start).Seconds())
}
