package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/version"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/emptypb"
)

// executorName is the Python script of the SDK that runs a program inside the Pulumi runtime.
const executorName = "pulumi-language-python-exec"

// host serves the LanguageRuntime methods. Code generation (GenerateProgram, GenerateProject,
// GeneratePackage, Pack, Link) is left to the embedded server, which answers Unimplemented.
type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer

	executor string

	mu      sync.Mutex
	address string // the engine's, passed on to programs
	stopped bool
	cancels map[int]context.CancelFunc
	next    int
	calls   sync.WaitGroup
}

func newHost(address, executor string) *host {
	return &host{address: address, executor: executor, cancels: map[int]context.CancelFunc{}}
}

// findExecutor looks beside this program first, so that a host never runs another release's script.
func findExecutor() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	beside := filepath.Join(filepath.Dir(self), executorName)
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	onPath, err := exec.LookPath(executorName)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside %s nor on PATH: install the engine again", executorName, self)
	}
	return onPath, nil
}

// begin ties a call that starts processes to the host's own life: the context it returns ends with the
// call's, with Cancel, and with stop. The returned function must be called when the call is over.
func (h *host) begin(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		cancel()
		return ctx, func() {}
	}
	id := h.next
	h.next++
	h.cancels[id] = cancel
	h.calls.Add(1)
	return ctx, func() {
		cancel()
		h.mu.Lock()
		delete(h.cancels, id)
		h.mu.Unlock()
		h.calls.Done()
	}
}

func (h *host) cancelAll(stopping bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = h.stopped || stopping
	for _, cancel := range h.cancels {
		cancel()
	}
}

// stop cancels every call and waits for their processes to end; false when some did not in time.
// The engine gives its plug-ins five seconds before it kills them.
func (h *host) stop() bool {
	h.cancelAll(true)
	done := make(chan struct{})
	go func() {
		h.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(grace + 2*time.Second):
		return false
	}
}

func (h *host) engineAddress() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.address
}

// Handshake gives a host that an engine attaches to the engine's address.
func (h *host) Handshake(
	_ context.Context, request *pulumirpc.LanguageHandshakeRequest,
) (*pulumirpc.LanguageHandshakeResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.address = request.EngineAddress
	return &pulumirpc.LanguageHandshakeResponse{}, nil
}

// GetPluginInfo answers with the engine's version: the two are built together.
func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version.Version}, nil
}

// Cancel ends what is running. The host itself stays, for the engine may still ask it things.
func (h *host) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	h.cancelAll(false)
	return &emptypb.Empty{}, nil
}

// RuntimeOptionsPrompts asks nothing of who runs `pulumi new`: the options have good defaults.
func (h *host) RuntimeOptionsPrompts(
	context.Context, *pulumirpc.RuntimeOptionsRequest,
) (*pulumirpc.RuntimeOptionsResponse, error) {
	return &pulumirpc.RuntimeOptionsResponse{}, nil
}
