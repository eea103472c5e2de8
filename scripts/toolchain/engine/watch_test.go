package engine

import (
	"context"
	"net"
	"testing"
	"time"
)

func TestWatchReturnsSoonAfterTheEngineIsGone(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // which accepts nothing, as a stopped engine
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- Watch(context.Background(), listener.Addr().String()) }()
	select {
	case err := <-gone:
		t.Fatalf("the engine is there, and Watch returned %v", err)
	case <-time.After(3 * interval):
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-gone:
		if err == nil {
			t.Error("a gone engine is an error")
		}
	case <-time.After(5 * time.Second):
		t.Error("Watch did not notice")
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Watch(ctx, "127.0.0.1:1"); err != nil {
		t.Error(err)
	}
}

func TestAnAddressThatIsNoneIsAnError(t *testing.T) {
	if err := Watch(context.Background(), "nowhere"); err == nil {
		t.Error("it was taken")
	}
}
