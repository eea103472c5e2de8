package main

import "syscall"

// groupAttributes also has the kernel kill the child when this process is killed.
func groupAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
