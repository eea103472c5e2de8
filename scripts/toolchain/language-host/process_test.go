//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start runs a shell script with runGroup; the script prints the process numbers of what it starts.
func start(ctx context.Context, script string) (string, error) {
	var output bytes.Buffer
	command := exec.CommandContext(ctx, "sh", "-c", script)
	command.Stdout = &output
	err := runGroup(command)
	return output.String(), err
}

func requireGone(t *testing.T, output string) {
	t.Helper()
	numbers := strings.Fields(output)
	if len(numbers) == 0 {
		t.Fatal("the script printed no process number")
	}
	for _, text := range numbers {
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		// The killed child of a shell that is gone too is reaped by init, in its own time.
		end := time.Now().Add(2 * time.Second)
		for syscall.Kill(pid, 0) == nil && !zombie(pid) {
			if time.Now().After(end) {
				t.Fatalf("process %d is still there", pid)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func zombie(pid int) bool {
	state, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.HasPrefix(string(state), "Z")
}

func TestACancelledGroupIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	output, err := start(ctx, `echo $$; exec sleep 60`)
	if err == nil {
		t.Error("a cancelled command has no error")
	}
	if took := time.Since(begin); took > grace {
		t.Errorf("it took %s", took)
	}
	requireGone(t, output)
}

func TestAGroupThatIgnoresTheInterruptIsKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	output, err := start(ctx, `trap '' INT TERM; echo $$; (while :; do sleep 1; done) & echo $!; while :; do sleep 1; done`)
	if err == nil {
		t.Error("a cancelled command has no error")
	}
	if took := time.Since(begin); took > grace+2*time.Second {
		t.Errorf("it took %s", took)
	}
	requireGone(t, output)
}

func TestWhatACommandLeavesBehindEndsWithIt(t *testing.T) {
	output, err := start(context.Background(), `sleep 60 & echo $!`)
	if err != nil {
		t.Error(err)
	}
	requireGone(t, output)
}

func TestAnExitCodeIsKept(t *testing.T) {
	_, err := start(context.Background(), `exit 32`)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != errorShown {
		t.Errorf("%v", err)
	}
	if _, err := start(context.Background(), `exit 0`); err != nil {
		t.Error(err)
	}
}

func TestACommandThatIsNotThere(t *testing.T) {
	if err := runGroup(exec.CommandContext(context.Background(), "/no/such/program")); err == nil {
		t.Error("no error")
	}
}
