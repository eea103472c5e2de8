//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// grace is how long an interrupted Python process may take to end by itself.
const grace = 2 * time.Second

// runGroup runs a command made with a context in a process group of its own, and leaves none of the
// group behind. When the command's context ends, the group is interrupted, as Ctrl-C would, and what is
// still there after the grace is killed.
func runGroup(command *exec.Cmd) error {
	command.SysProcAttr = groupAttributes()
	command.WaitDelay = grace
	command.Cancel = func() error { return signalGroup(command, syscall.SIGINT) }

	done := make(chan error, 1)
	go func() {
		// The kernel ties a parent-death signal to the thread that started the child, not to the
		// process: the thread has to stay for as long as the child does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		if err == nil {
			err = command.Wait()
			if errors.Is(err, exec.ErrWaitDelay) {
				// It ended well, and something it started still holds its output: that ends now.
				err = nil
			}
			if killErr := signalGroup(command, syscall.SIGKILL); err == nil {
				err = killErr
			}
		}
		done <- err
	}()
	return <-done
}

// endOwnGroup ends what a toolchain started without a group of its own, such as pip. The engine makes each
// plug-in the leader of a group; in anyone else's group there is nothing to end.
func endOwnGroup() error {
	if syscall.Getpgrp() != os.Getpid() {
		return nil
	}
	signal.Ignore(syscall.SIGTERM)
	return syscall.Kill(0, syscall.SIGTERM)
}

func signalGroup(command *exec.Cmd, number syscall.Signal) error {
	err := syscall.Kill(-command.Process.Pid, number)
	if errors.Is(err, syscall.ESRCH) { // nobody is left
		return nil
	}
	return err
}
