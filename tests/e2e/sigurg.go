// SPDX-License-Identifier: Apache-2.0

// sigurg reads a file while SIGURG rains on its own process, as Go's scheduler rains it on itself all the time:
//
//	sigurg FILE    prints "raining" once it rains, then the file's SHA-256
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

func main() {
	go func() {
		for i := 0; ; i++ {
			if err := syscall.Kill(os.Getpid(), syscall.SIGURG); err != nil {
				panic(err)
			}
			tasks, err := os.ReadDir("/proc/self/task")
			if err != nil {
				panic(err)
			}
			for _, task := range tasks { // each thread for itself too
				var tid int
				fmt.Sscan(task.Name(), &tid)
				_, _, _ = syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(tid), uintptr(syscall.SIGURG))
			}
			if i == 20 {
				fmt.Println("raining")
			}
			time.Sleep(time.Millisecond)
		}
	}()
	file, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%x\n", hash.Sum(nil))
}
